package state

import (
	"github.com/zeebo/blake3"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Tip is the last commit of an actor that a pod has applied.
type Tip struct {
	Dot
	Digest [32]byte
}

// AppendTips appends encoded tips, sorted by actor, to b: [[actor, seq, digest]…].
func AppendTips(b []byte, tips []Tip) []byte {
	tips = sorted(tips, byTipActor)
	b = cbor.AppendArray(b, len(tips))
	for i := range tips {
		b = cbor.AppendArray(b, 3)
		b = cbor.AppendUint(b, tips[i].Actor.Uint())
		b = cbor.AppendUint(b, tips[i].Seq)
		b = cbor.AppendBytes(b, tips[i].Digest[:])
	}
	return b
}

// DecodeTips reads what AppendTips writes, and nothing else. The error is block.ErrCorrupt.
func DecodeTips(b []byte) ([]Tip, error) {
	r := cbor.NewReader(b)
	tips := list(r, VVMax, byTipActor, func() (t Tip) {
		r.Tuple(3)
		t.Actor, t.Seq, t.Digest = readActor(r), r.Uint(), readDigest(r)
		if r.Err() == nil && (t.Actor.Member == 0 || t.Seq == 0) {
			r.Fail("tip of no actor or no commit")
		}
		return t
	})
	if err := r.Done(); err != nil {
		return nil, corrupt("tips", err)
	}
	return tips, nil
}

func byTipActor(a, b Tip) int { return a.Actor.Compare(b.Actor) }

// Tips are the last commits that were applied and are durable here, sorted by actor.
func (d *DB) Tips() ([]Tip, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.closed {
		return nil, vfs.ErrClosed
	}
	d.opMu.Lock()
	defer d.opMu.Unlock()
	d.mu.Lock()
	vv := d.published.Clone()
	d.mu.Unlock()
	applied := d.applied()
	var tips []Tip
	for _, a := range vv.Actors() {
		digest, ok, err := applied.digestAt(a, vv[a])
		if err != nil {
			return nil, err
		}
		if ok {
			tips = append(tips, Tip{Dot: Dot{a, vv[a]}, Digest: digest})
		}
	}
	return tips, nil
}

// TipsSum is what pods with equal vectors compare: the first 8 bytes of BLAKE3-256 of the encoded tips.
func TipsSum(tips []Tip) (sum [8]byte) {
	all := blake3.Sum256(AppendTips(nil, tips))
	copy(sum[:], all[:])
	return sum
}

// tipVV is the version vector of tips.
func tipVV(tips []Tip) VV {
	vv := make(VV, len(tips))
	for _, t := range tips {
		vv[t.Actor] = t.Seq
	}
	return vv
}

// tipOf is an actor's tip; zero if there is none.
func tipOf(tips []Tip, a ident.Actor) Tip {
	for _, t := range tips {
		if t.Actor == a {
			return t
		}
	}
	return Tip{}
}
