package state

import "github.com/wormhole-fs/wormhole/pkg/ident"

// AppendWish appends an encoded wish to b.
func AppendWish(b []byte, w *Wish) []byte {
	e := encoder{b: b}
	e.wish(w)
	return e.b
}

// DecodeWish reads what AppendWish writes, and nothing else; the error is block.ErrCorrupt. Values of later fields alias b.
func DecodeWish(b []byte) (*Wish, error) {
	d := newDecoder(b)
	if len(b) > InodeMax {
		d.Fail("%d bytes, over the limit of %d", len(b), InodeMax)
	}
	w := d.wish()
	if err := d.Done(); err != nil {
		return nil, corrupt("wish", err)
	}
	return w, nil
}

func (e *encoder) wish(w *Wish) {
	e.array(8)
	e.name(w.Policy.Value)
	e.ts(w.Policy.TS)
	e.name(w.Durability.Value)
	e.ts(w.Durability.TS)
	e.array(len(w.Homes.Value))
	for _, p := range w.Homes.Value {
		e.bytes(p[:])
	}
	e.ts(w.Homes.TS)
	pins := sorted(w.Pins, byPod)
	e.array(len(pins))
	for _, p := range pins {
		e.array(3)
		e.bytes(p.Pod[:])
		e.bool(p.Gone)
		e.ts(p.TS)
	}
	e.ext(w.Ext)
}

func (d *decoder) wish() *Wish {
	w := new(Wish)
	d.Tuple(8)
	w.Policy = Reg[string]{Value: d.Name(PolicyMax), TS: d.ts()}
	w.Durability = Reg[string]{Value: d.Name(PolicyMax), TS: d.ts()}
	w.Homes.Value = list(&d.Reader, HomesMax, nil, d.pod)
	w.Homes.TS = d.ts()
	w.Pins = list(&d.Reader, PinsMax, byPod, func() Pin {
		d.Tuple(3)
		return Pin{Pod: d.pod(), Gone: d.Bool(), TS: d.ts()}
	})
	w.Ext = d.ext()
	return w
}

func (d *decoder) pod() (p ident.Pod) {
	b := d.Bytes(len(p))
	if d.Err() == nil && len(b) != len(p) {
		d.Fail("pod of %d bytes instead of %d", len(b), len(p))
	}
	copy(p[:], b)
	return p
}
