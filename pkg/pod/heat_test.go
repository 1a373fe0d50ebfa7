package pod

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/pace"
)

// moved is how often a pod took files home.
func (p *testPod) moved() (n int) {
	p.t.Helper()
	err := p.Events(quickly(p.t), time.Time{}, false, func(ev Event) error {
		if ev.Kind == EventMoved {
			n++
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// TestMovesHome breaks if a file that is read mostly on a pod is not at home there after the configured time, if its reads there go over the network
// then, or if it moves although a user chose its home.
func TestMovesHome(t *testing.T) {
	pods := metPods(t, 3)
	a, b, ctx := pods[0], pods[1], quickly(t)
	ruled(t, map[string]string{"policy": "none", "moves": "suggest", "moves_after": "200ms"}, pods...)
	text := randomText(1401, 300<<10)
	a.write("/f", text)
	a.write("/chosen", randomText(1402, 300<<10))
	if err := a.SetHomes(ctx, a.at("/chosen"), []string{a.reg.name(a.id)}); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, pods...)
	read := func() {
		t.Helper()
		for range 10 {
			for _, path := range []string{"/f", "/chosen"} {
				if _, err := b.read(path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	eventually(t, "it is suggested", func() error {
		read()
		hot, err := b.Hot(ctx, 10)
		for _, h := range hot {
			if h.Path == "/chosen" && h.MoveTo != "" {
				t.Fatal("what a user chose is to be changed")
			}
			if h.Path == "/f" && h.MoveTo == b.reg.name(b.id) && h.Pods[0].Pod == b.id {
				return err
			}
		}
		return errors.Join(err, fmt.Errorf("%+v", hot))
	})
	if b.moved() > 0 {
		t.Error("a suggestion moved something")
	}
	ruled(t, map[string]string{"moves": "auto"}, pods...)
	eventually(t, "it is at home where it is read", func() error {
		read()
		if err := b.spread.everything(ctx); err != nil {
			return err
		}
		if b.moved() == 0 {
			return errors.New("it did not move")
		}
		return b.holdsAll("/f", true)
	})
	if _, err := b.CleanCache(ctx); err != nil {
		t.Fatal(err)
	}
	before := b.pace.Moved(pace.Read)
	for range 3 {
		b.forget()
		if got, err := b.read("/f"); err != nil || got != text {
			t.Fatal(err)
		}
	}
	if after := b.pace.Moved(pace.Read); after != before {
		t.Errorf("%d bytes came over the network for reads of what is at home", after-before)
	}
	all, err := a.Pins(ctx, "/chosen")
	if err != nil || len(all) != 1 || all[0].Pod != a.id {
		t.Errorf("the chosen home: %+v, %v", all, err)
	}
}

// TestReadsSurvive: what was read most is known after a restart; and hostile questions about reads are refused.
func TestReadsSurvive(t *testing.T) {
	a := firstPod(t)
	a.write("/f", randomText(1403, 100<<10))
	a.settle()
	for range 3 {
		if _, err := a.read("/f"); err != nil {
			t.Fatal(err)
		}
	}
	bytes := func(p *testPod) int64 {
		t.Helper()
		hot, err := p.Hot(quickly(t), 5)
		i := slices.IndexFunc(hot, func(h Hot) bool { return h.Path == "/f" })
		if err != nil || i < 0 {
			t.Fatalf("%+v, %v", hot, err)
		}
		return hot[i].Bytes
	}
	if got := bytes(a); got < 299<<10 || got > 300<<10 {
		t.Errorf("%d bytes of 300 KiB were read", got)
	}
	a.stop()
	a = openPod(t, a.dir)
	if got := bytes(a); got < 299<<10 || got > 300<<10 {
		t.Errorf("%d bytes of 300 KiB were read before the restart", got)
	}
	for _, body := range [][]byte{nil, {0xff}, cbor.AppendArray(nil, 1<<20), cbor.AppendUint(nil, 3)} {
		if _, err := a.answerHeat(body); err == nil {
			t.Errorf("the question %x is answered", body)
		}
	}
}
