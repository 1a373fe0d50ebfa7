package vfs

import "context"

// onceKey is the context key of ReadOnce. Like the id of a trace it goes along with the work and changes no result.
type onceKey struct{}

// ReadOnce says that what is read under the context is likely not read again: it need not be kept near.
func ReadOnce(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// IsReadOnce tells whether ReadOnce was said.
func IsReadOnce(ctx context.Context) bool { return ctx.Value(onceKey{}) != nil }
