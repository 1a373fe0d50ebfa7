package pod

import (
	"bytes"
	"slices"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/seal"
)

// Which data key an encrypted network seals new chunks under, and who has which, is a function of the set of statements (docs/adr/0016): the settings name the first key, each statement
// of kind rekey another, and those of kind key say to whom one was sealed.

// addRekey takes in that the data key was changed. All of them are kept, so that the same one counts on all pods, in whatever order they and the ends of their signers come.
func (r *registry) addRekey(body []byte) (what, error) {
	k, err := member.DecodeRekey(body)
	if err == nil {
		err = k.Verify(r.network)
	}
	if err != nil {
		return what{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.rekeys, func(old member.Rekey) bool { return bytes.Equal(old.Encode(), body) }) {
		return what{}, nil
	}
	r.rekeys = append(r.rekeys, k)
	return what{keys: true}, nil
}

// countsLocked says whether who changed the data key could do that then: it may do it still, or its right ended later, as far as the versions say so. mu is held.
func (r *registry) countsLocked(k member.Rekey) bool {
	by := k.Signer.Leaf()
	if _, unkept := r.unkept(k.Signer); unkept {
		return false
	}
	return !slices.ContainsFunc(r.ends[by.Pod()], func(v member.Revoke) bool { return k.Version > v.Version })
}

// rekeyLocked is the newest change of the data key that counts; false: there was none. mu is held.
func (r *registry) rekeyLocked() (newest member.Rekey, found bool) {
	for _, k := range r.rekeys {
		if r.countsLocked(k) && (!found || k.Newer(newest)) {
			newest, found = k, true
		}
	}
	return newest, found
}

// rekey is the newest change of the data key that counts; false: there was none.
func (r *registry) rekey() (newest member.Rekey, found bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.rekeyLocked()
}

// currentKey names the data key under which new chunks are sealed.
func (r *registry) currentKey() seal.ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.currentKeyLocked()
}

func (r *registry) currentKeyLocked() seal.ID {
	if k, found := r.rekeyLocked(); found {
		return seal.ID(k.KeyID)
	}
	return seal.ID(r.settings.KeyID)
}

// keyIDs are the names of all data keys that statements tell of.
func (r *registry) keyIDs() map[seal.ID]bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids := map[seal.ID]bool{seal.ID(r.settings.KeyID): true}
	for _, k := range r.rekeys {
		ids[seal.ID(k.KeyID)] = true
	}
	for _, list := range r.keys {
		for _, k := range list {
			ids[seal.ID(k.KeyID)] = true
		}
	}
	return ids
}

// mayReadLocked says whether a pod may have the data key. mu is held.
func (r *registry) mayReadLocked(pod ident.Pod) bool {
	return r.roleLocked(pod).MayRead() && !r.revokedLocked(pod)
}

// outgrown are the members that have the data key of now and may not read any more: it is to be changed. One of which no certificate is known may be known later.
func (r *registry) outgrown() []ident.Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	current := r.currentKeyLocked()
	var out []ident.Pod
	for pod, list := range r.keys {
		if _, known := r.chains[pod]; known && !r.mayReadLocked(pod) && hasKey(list, current) {
			out = append(out, pod)
		}
	}
	return out
}

func hasKey(list []member.SealedKey, id seal.ID) bool {
	return slices.ContainsFunc(list, func(k member.SealedKey) bool { return seal.ID(k.KeyID) == id })
}

// lacking are the pods that may read, and to which a data key was not sealed yet.
func (r *registry) lacking(id seal.ID) []ident.Pod {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []ident.Pod
	for pod := range r.chains {
		if r.mayReadLocked(pod) && !hasKey(r.keys[pod], id) {
			out = append(out, pod)
		}
	}
	slices.SortFunc(out, func(a, b ident.Pod) int { return bytes.Compare(a[:], b[:]) })
	return out
}

// sealedTo are the data keys that were sealed to a pod.
func (r *registry) sealedTo(pod ident.Pod) []member.SealedKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.keys[pod])
}
