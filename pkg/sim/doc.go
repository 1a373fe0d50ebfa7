// Package sim runs many pods in one process, by seed: on disks that lose power, over a network that delays, loses, doubles and
// reorders messages and falls into parts, with clocks that are wrong. The packages of the product run in it unchanged: only clock, network
// and disk are swapped. When all is well again, oracles say whether what the product promises holds.
//
// # Kinds
//
// State: pods are state.DBs that exchange commits. One goroutine does all, so that a seed does the same each time (RunState).
// Stack: pods are pod.Pods with files, fsyncs and blocks (RunStack). Their goroutines run as Go lets them, so a seed repeats what users,
// network and disks do, but not who is faster. Disks lose power, are full, or slow for what others ask of them; pods join late, are drained and used again. In the end all is as safe as its policy says, and who is drained
// is empty.
//
// Placement: pods hold sets of chunks, and each plans by what it sees (package placement) and does its part; one goroutine does all (RunPlacement). They join, are drained, crash, lose
// their disks, and the network parts. Disks have so many bytes; others fill them, and what is on its way to a slow one a crash undoes. Oracles: what was shown as safe bears as many losses as was promised, less those that there were since; all comes to rest,
// drained pods empty and everything where it belongs; a join, a drain and a loss move what they must, no more than 1.1 times; a pod that reaches half of the pods or less has nothing made again outside of its place;
// a pod that comes and goes is made up for twice at most; each disk has the bytes of its part in the end, and shares are as weights say, within 15 %.
//
// # Oracles of the state
//
//   - pods with the same changes have one state root and one tree root, and so has a pod that hears of all at the end;
//   - the rows are those that the commits leave by the rules, computed without pkg/state's log or index (history.go);
//   - the view is the one that the rows give, computed whole by the pure functions (fullview.go), and what state.Check compares;
//   - a text that was acknowledged as durable, and that nobody who saw it replaced or removed, is in the view;
//   - what was removed by somebody who had seen all of it is gone, with backups and clones too;
//   - no name comes twice or is over 255 bytes, no folder is in itself, all that is alive is reachable;
//   - no actor signs two commits of one number, no published commit is lost, no number is given out twice, and nobody but users changes a row.
//
// Trace tells what happened, a line for each thing.
package sim
