package sim

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// stackText is a text that a user wrote into a file: the beginning of the stream that its tag makes.
type stackText struct {
	pod     int
	size    int // bytes that were written; 0: others changed how many
	durable bool
	dropped bool // somebody who saw it replaced or removed it
	ino     vfs.NodeID
	at      time.Time // when it was written
	spot    spot      // where its file was put last
}

// spot is a name in a folder.
type spot struct {
	parent vfs.NodeID
	name   string
}

// meanwhile is how old a text of another pod is at most that may come to a pod between a look at its file and the change that follows: longer than messages are on
// their way where nothing is cut off.
const meanwhile = 10 * time.Second

// streamMax is the most of a stream that is in a file.
const streamMax = 1 << 20

// stream is the first bytes of what a tag makes: the tag, a line feed, and noise.
func stream(tag string, size int) []byte {
	out := make([]byte, size)
	n := copy(out, tag+"\n")
	h := fnv.New64a()
	_, _ = io.WriteString(h, tag) // a hash takes everything
	s := h.Sum64()
	noise := rand.NewChaCha8([32]byte{byte(s), byte(s >> 8), byte(s >> 16), byte(s >> 24), byte(s >> 32), byte(s >> 40)})
	_, _ = noise.Read(out[n:]) // it never fails
	return out
}

// tagOf is the first line.
func tagOf(text string) string {
	tag, _, _ := strings.Cut(text, "\n")
	return tag
}

// isText says whether a text is the beginning of its tag's stream.
func isText(tag, text string) bool { return text == string(stream(tag, len(text))) }

// text is a new tag and a size.
func (p *stackPod) text() (tag string, size int) {
	p.w.count++
	tag = fmt.Sprintf("text %d of pod %d", p.w.count, p.n)
	return tag, []int{len(tag) + 1, 500, 3000, 5000, 5000, 70_000, 70_000, 400_000}[p.w.rng.IntN(8)]
}

// wrote notes a text whose bytes a file has now.
func (p *stackPod) wrote(id vfs.NodeID, at spot, tag string, size int) *stackText {
	t := &stackText{pod: p.n, size: size, ino: id, at: clock.Real{}.Now(), spot: at}
	p.w.texts[tag] = t
	p.fresh = append(p.fresh, t)
	return t
}

// changed notes that the text that a node shows is, by this user, replaced or removed.
func (p *stackPod) changed(ctx context.Context, a vfs.Attr, gone bool) error {
	if a.Kind != vfs.KindFile || gone && a.NLink > 1 {
		return nil
	}
	text, err := p.read(ctx, a.ID)
	if err != nil {
		return err
	}
	if t := p.w.texts[tagOf(text)]; t != nil {
		t.dropped = true
	}
	for _, t := range p.w.texts { // the network goes on
		t.dropped = t.dropped || t.ino == a.ID && t.pod != p.n && clock.Since(clock.Real{}, t.at) < meanwhile
	}
	return nil
}

// taken notes that a name is taken, from whatever is there then: it may be what came from another pod since this user looked.
func (p *stackPod) taken(at spot) {
	for _, t := range p.w.texts {
		t.dropped = t.dropped || t.spot == at && t.pod != p.n && clock.Since(clock.Real{}, t.at) < meanwhile
	}
}

// moved notes where a file is put.
func (p *stackPod) moved(id vfs.NodeID, to spot) {
	for _, t := range p.w.texts {
		if t.ino == id {
			t.spot = to
		}
	}
}
