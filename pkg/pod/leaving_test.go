package pod

import (
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/block"
)

// TestLeaving breaks if the end of one intention to give a block up is taken for that of another, which then would be given up while somebody relies on it.
func TestLeaving(t *testing.T) {
	var l leaving
	id, ctx := block.Sum(block.Raw, []byte("x")), quickly(t)
	first := l.mark(id)
	if l.mark(id) != nil {
		t.Error("marked twice")
	}
	if err := l.stay(ctx, id); err != nil || l.has(id) {
		t.Fatal(err)
	}
	second := l.mark(id)
	if !l.begin(id, second) {
		t.Fatal("it can't be given up")
	}
	l.done(id, first) // late
	waited := make(chan error, 1)
	go func() { waited <- l.stay(ctx, id) }()
	select {
	case <-waited:
		t.Error("somebody may rely on a block that is being given up")
	default:
	}
	if l.begin(id, first) || !l.has(id) {
		t.Error("the second intention ended with the first")
	}
	l.done(id, second)
	if err := <-waited; err != nil || l.has(id) {
		t.Error(err)
	}
}
