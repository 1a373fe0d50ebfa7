// Package pod is the engine: one machine's membership of one network. It is the one package that knows all
// mechanisms (chunker, dag, store, state, member, placement, p2p) and connects them.
//
// # What it guarantees
//
// A change made through FS is visible at once to all surfaces of this pod. It is durable here after File.Sync, SyncFS
// or Settle, and else within some 20 ms of the last close; other pods see it then too, or a second after an fsync, never before it is
// durable here (I2).
// A content is named in the state only after its chunks were synced (I2a), so that no row names bytes that a loss of power
// could take back. A file's name never changes while its newest contents wait to be named, and no commit has a file's row while bytes that
// were synced into it are in the journal alone (I4).
// Bytes that are not here are fetched when they are read, only the chunks that are read, from whichever connected pods
// hold them, whole or as fragments (gather.go); each block is verified against its CID.
//
// # How a write goes
//
// WriteAt keeps bytes in memory (node.go, extents.go). An fsync of few of them writes a record of the state's journal and waits for one sync
// (journal.go); Open replays what is left of it (replay.go). When they are many they are cut into chunks that the store appends (cut.go,
// batch.go), behind the writer that goes on (cutbehind.go); at a close, or soon after an fsync, the rest is cut, and the contents are staged. The barrier (barrier.go) syncs the store, names what was staged
// before, commits, and publishes the commit (publish.go). The spreader (spread.go) brings blocks to the pods
// where the policy wants them.
//
// PutFile's new files go a shorter way (newfile.go): their chunks are put, and the barrier makes them with their contents,
// many in one change of the state, after the sync of their bytes.
//
// # How a change of another pod arrives
//
// Its head comes with its newest commits (pull.go); what is missing is asked for. The state applies commits in their
// causal order, and surfaces are told what changed (view.go). Where the log of the other pod does not reach back (truncate.go), or
// is the longer way, the nodes of its tree that are not here are fetched, level by level, and joined (catchup.go).
//
// # Concurrency
//
// All methods are safe for concurrent use. Goroutines are started and waited for by Run alone. Locks, in the order in
// which they may be taken: removing, unlinking, node.mu, then any one of nodes.mu, barrier.mu, watchers.mu, registry.mu, peerBook.mu, which
// are leaves. The state's and the store's own locks are below all of them. What the state calls back may take barrier.mu and watchers.mu, never nodes.mu.
package pod
