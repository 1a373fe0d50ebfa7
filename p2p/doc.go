// Package p2p moves opaque signed bytes between the pods of a network over libp2p.
package p2p
