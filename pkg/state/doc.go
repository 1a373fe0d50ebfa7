// Package state is the replicated namespace: rows in Pebble, the changes that make them (commits), the
// view that users see, and checkpoints of it.
package state
