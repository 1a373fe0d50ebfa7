// Package erasure cuts the stored form of a block into k fragments of data and m of parity, any k of which give it back, and makes
// lost ones again (Reed and Solomon, "Polynomial Codes over Certain Finite Fields", 1960).
//
// What is cut is a block as it is sent: its header and its form, one piece of bytes, here called the form. A Set holds the fragments of one
// stripe (block.Stripe); a Codec cuts, joins and rebuilds them.
//
// # What it guarantees
//
// The bytes of a fragment are determined by the form, k, m and i alone: docs/format/erasure.md tells how. Fragments of other stripes, or with
// another stripe record, never come into a Set. What Join returns has the digest that the stripe's name holds, whatever the record
// claims. Rebuild hands out nothing before the caller's check of the whole form, against the block's ID, has passed (I7): a fragment
// made of wrong bytes would carry the mistake on under a good digest.
//
// # Concurrency
//
// A Codec is safe for concurrent use; a Set is one goroutine's. The work is done by the caller's goroutine.
package erasure
