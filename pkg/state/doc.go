// Package state is the replicated namespace: rows in Pebble, the changes that make them (commits), the
// view that users see, and checkpoints of it (DESIGN section 5).
//
// The pure part knows no disk: the codecs of rows, commits and heads, Fold (what the versions of a row say
// together), ViewNames (which names a folder shows), EffectiveParents (which folders a loop displaces).
// The DB is the rest: it holds the rows, keeps the view's index, runs operations, commits them, applies the
// commits of others, and writes checkpoints.
//
// # Guarantees
//
// An operation is one Pebble batch: all of it or nothing is there after a crash, and readers see all of it or
// nothing. It is durable, and seen by other pods, once a Commit that began after it has returned (I2).
// What was written to a file (Journal) is durable after a Sync. It goes in the very change that sets a content with it, or that
// removes the file's last name, so that a crash brings back neither old bytes nor a removed file. While it is there no commit has the row (I4).
// What an operation observed is fixed when it runs (I1b): a row that arrives on a key with uncommitted changes
// stands beside them. Two DBs that have applied the same commits have the same state root and tree root.
//
// # Concurrency
//
// All methods of DB may be called from any goroutine. Operations run one after the other and never wait for a
// disk; reads run beside them and wait for nothing but the moment in which a batch becomes visible.
//
// # Keys in Pebble
//
// Integers are big-endian: inode numbers 8 bytes, actors 8 (ident.Actor.Uint), under their labels (branches.go). "derived" keys can be made
// again from the others; Check compares them.
//
//	'i' ino               committed versions of an inode: an encoded VerSet
//	'p' ino               committed versions of a wish
//	't' name              committed versions of a snapshot
//	'w' key               the uncommitted change of the row "key": observed dots and the version, or its removal
//	'j' ino gen8          what one fsync wrote to a file, until a content with it is set (JournalRecord)
//	'c' actor seq8        digest (32 bytes), total (u64), and the encoded commit, or its signed header, or nothing: logEntry
//	'e' actor             seq8: of the actor's commits up to this one the log has digests, and some headers
//	'v' actor             seq, digest and HLC of the last commit of an actor that was applied
//	's' hash              a statement
//	'g' actor seq8 digest a fork statement, by the point at which commits parted
//	'b' actor             a branch: where it begins, what comes before it
//	'l' name              a local value, never replicated
//	'n' name              the DB's own local values: network, who commits here, the newest checkpoint
//	'q' seq8              the inode whose contents changed with the seq8-th row that was committed or applied (derived)
//	'x' ino name          derived: the links that stand at a name of a folder
//	'd' ino               derived: a folder: where it is shown, how many entries it has
//	'z' ino name          derived: the name is irregular: it shows something else than the one link that stands there
//	'y' ino               derived: the inode of a conflict copy
//	'm' ino               derived: a folder that a loop displaces
//	'f' epoch8 ino name   the entry changed since the checkpoint of an older epoch; no name: the folder's own attributes
//	'r' epoch8 key        the row changed since then
//	'h' ino               the CID of a folder as of the newest checkpoint
//	'k' ino name          a computed name that the newest checkpoint shows
//	'u' ino kind1         what was done apart with the inode and its row can't tell (conflict_apart.go), never replicated
//	'a' key               a record of another part of the program (Records), which can do without it
//	'o' ino               32 bytes: which file of the host the contents were imported from (NewContent.Origin), never replicated
//
// A name in the view is regular, and costs one look into the index, as long as one link stands there and its inode has
// one content. What else there is in a folder is computed by ViewNames from the irregular names alone.
//
// # Checkpoints
//
// Marks ('f', 'r') say what changed in which epoch; a checkpoint takes those of all epochs up to its own, edits the trees there, and removes them. The
// tree of rows holds keys and encoded VerSets as 'i', 'p', 't' do; one of more than dag.ValueMax bytes is replaced by a link to a raw block
// of it. The state root is the block [2, network, link to the tree or null, vv, branches].
package state
