package store

import (
	"sync"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/form"
)

// codec makes and opens the forms of blocks.
type codec struct{ form.Codec }

// encode appends the form in which plain is best stored to b, and says which that is.
func (c *codec) encode(b, plain []byte) ([]byte, block.Header, error) {
	b, f, err := c.Encode(b, plain)
	return b, block.Header{Form: f, PlainLen: uint32(len(plain))}, err
}

// open decodes a form, into dst where that has room and the form is not raw, and verifies it against the ID.
func (c *codec) open(id block.ID, h block.Header, stored, dst []byte) ([]byte, error) {
	plain, err := c.Decode(h, stored, dst)
	if err != nil {
		return nil, err
	}
	return plain, id.Verify(plain)
}

// buffers lends the memory in which records are built and read.
type buffers struct{ pool sync.Pool }

// get is a buffer of n bytes; its contents are undefined.
func (p *buffers) get(n int) *[]byte {
	b, _ := p.pool.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

func (p *buffers) put(b *[]byte) { p.pool.Put(b) }
