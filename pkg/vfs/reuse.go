package vfs

import "context"

// Reuse is whether what is read is read again, as far as who reads it can tell. Like the id of a trace it goes along with the work in a context, and changes no result.
type Reuse uint8

// The kinds of reuse. What a context says nothing of may be read again.
const (
	ReadOften Reuse = iota
	ReadKept        // who reads it keeps it in memory, as the kernel does for a mount: it need not be in memory below, too
	ReadOnce        // likely not again: it need not be kept near
)

type reuseKey struct{}

// WithReuse says so of what is read under the context.
func WithReuse(ctx context.Context, r Reuse) context.Context {
	return context.WithValue(ctx, reuseKey{}, r)
}

// ReuseOf tells what was said.
func ReuseOf(ctx context.Context) Reuse {
	r, _ := ctx.Value(reuseKey{}).(Reuse)
	return r
}
