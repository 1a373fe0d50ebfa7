// Package placement decides which pods hold a block: weighted rendezvous hashing over the network's layout.
//
// A block belongs to a Group, one of 4096, by its name alone. For a group every pod of the Layout has a score that
// depends on that group, that pod and the pod's weight, and on nothing else; the pods in the order of their scores
// are the group's walk, and the first n of it (zones that are not used yet first) are the set that holds the
// group's blocks. So all pods with the same layout agree with no word said, and when a pod goes only what it held
// moves.
//
// Everything here is a value and a pure function of its arguments, the same on every machine (integers only), and
// safe for concurrent use.
//
// # Arithmetic
//
// All integers are unsigned of 64 bits, big-endian where they are bytes; it is part of the format, and golden walks
// hold it.
//
//	group    = first 12 bits of SHA-256(multihash of the block)
//	h        = first 8 bytes of BLAKE3("wormhole/rendezvous/1" 00 group(u16) pod(32 bytes)), its lowest bit set
//	L        = 64*2^32 - log2(h): -log2(h/2^64) in fixed point with 32 bits after the point, always above 0
//	walk     = pods by L/weight, least first; the lesser pod id on a tie
//
// With u uniform in (0, 1), -ln(u)/weight is exponential with the rate weight, and the least of several is pod i's
// with the probability weight_i over the sum of all: shares follow weights (Efraimidis and Spirakis, "Weighted random
// sampling with a reservoir", 2006; Schindelhauer and Schomaker, "Weighted distributed hash tables", 2005). The base
// of the logarithm cancels out. L/weight is not divided: a before b iff L_a*weight_b < L_b*weight_a, which fits 64
// bits, for L has 39 bits at most and a weight 20.
//
// log2(h) is made one bit at a time: h shifted to 1.63 fixed point is squared 32 times, and each square of 2 or
// more gives a one and is halved. The low half of each product is cut off.
//
// # Layout entry
//
//	body  = [1, network, pod, version, weight, zone, class, drain, capacity, ext]     canonical DAG-CBOR
//	entry = [body, signature]     Ed25519 by the pod's key over "wormhole/layout/1", a zero byte, and the body
//	ext   = [[field u32, bytes]...]     sorted by field, each once; unknown ones are kept
package placement
