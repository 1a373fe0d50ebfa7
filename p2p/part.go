package p2p

import "github.com/wormhole-fs/wormhole/pkg/ident"

// Part ends all connections to a pod and the dials that Know started; why is for those who wait for its hello. It does not block, and keeps nobody
// from connecting again: that is Config.Admit's to refuse.
func (h *Host) Part(pod ident.Pod, why error) {
	h.Forget(pod)
	var list []*conn
	h.mu.Lock()
	for _, c := range h.conns {
		if c.pod == pod {
			list = append(list, c)
		}
	}
	h.mu.Unlock()
	for _, c := range list {
		h.drop(c, why)
	}
}
