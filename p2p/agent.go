package p2p

import (
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/ident"
)

// agentName begins what a pod says of its program when connections are identified; the version follows.
const agentName = "wormhole/"

// agentMax is the most bytes of a version that are taken from a peer.
const agentMax = 64

// agentOf is the version that a pod says its program has; "" if it says none, or nothing that can be shown.
func (h *Host) agentOf(pod ident.Pod) string {
	id, err := peerID(pod)
	if err != nil {
		return ""
	}
	got, err := h.net.Peerstore().Get(id, "AgentVersion")
	if err != nil {
		return "" // it has not been identified yet
	}
	text, _ := got.(string)
	return parseAgent(text)
}

func parseAgent(text string) string {
	version, ok := strings.CutPrefix(text, agentName)
	strange := func(r rune) bool { return r <= ' ' || r > '~' }
	if !ok || len(version) > agentMax || strings.ContainsFunc(version, strange) {
		return ""
	}
	return version
}
