package health

import (
	"fmt"
	"time"
)

// Facts are what warnings are found by. The zero value is a pod with which nothing is wrong.
type Facts struct {
	Pods []Pod // of the network, this one among them

	UnsafeBytes      int64 // below their policy although there are pods enough
	UnavailableBytes int64
	DegradedBytes    int64
	SpreadingBytes   int64         // on the way, those that are here alone among them
	DamagedBlocks    int           // on this pod's disk, and no connected pod has a good one
	SuspectAfter     time.Duration // how long a pod is silent when it counts as suspect; 0: not known
	Copies           int           // that the root's policy asks for; 0: not known

	StoredBytes int64  // by this pod; 0 with FreeBytes 0: not known
	CacheBytes  int64  // of them; they make room by themselves
	FreeBytes   int64  // that it may still store
	DiskError   string // why this pod takes nothing now; "": it does

	ClockBehind time.Duration // of the other pods; negative: ahead. 0: it is right
	NoKey       bool          // of an encrypted network, which this pod should have
	KeyAwaited  bool          // the key was changed, and this pod has not got the new one
	ShutOut     string        // by whom this pod was revoked; "": it was not
	Demoted     string        // the role that this pod has, which could write once; "": it may write, or never might
	Uncounted   string        // whose changes are here, don't count, and wait to be taken back; "": nobody's
	Minority    string        // what holds, since this pod sees half of those that store data or less; "": it sees more
	GCStopped   string        // why; "": it is not

	MembershipEnds, MembershipEnded string // when this pod's certificate ends, soon, or has ended; "": it does not

	Conflicts int
	Mounts    []Mount // that should be, and are not
	Version   string  // of this program; "": not known
	// UnknownRules is how many rules an admin has set for the network that this program does not know, and so does not follow; UnknownPathRules is the same of paths.
	UnknownRules, UnknownPathRules int
}

// Pod is one pod of the network.
type Pod struct {
	Name                 string
	Self                 bool
	Stores               bool   // data of others
	Blind                bool   // it holds sealed chunks alone, and is told no names
	Writer               string // whose word it is what is needed no more; "": this pod may not write
	State                string // up, suspect, down, out, draining
	LastSeen             time.Time
	UsedBytes, FreeBytes int64
	HeldUntil            time.Time // until when what was made in its place stays, since it came back several times of late; zero: it does not
	Expired              string    // when its certificate ended, for which it was refused here; "": it was not
	Diverged             bool      // it shows another state of the same history
	Untold               int       // changes that it told others of, and that have not come here
	Future               bool      // its newest changes are refused: they are stamped ahead of this machine's clock
	Version              string    // "": not known
}

// Mount is a folder of the host.
type Mount struct{ Dir, Why string }

// Shares of the space below which it counts as low. The first is that of ext4's reserve for root, mke2fs(8).
const (
	lowShare = 20       // a twentieth
	lowMin   = 64 << 20 // bytes; a pod with less room than this takes no large file
	fullMin  = 4 << 20  // bytes; a pod with less room than this takes not every block
)

// finder collects what holds.
type finder struct{ out []Warning }

func (w *finder) add(code Code, subject, format string, args ...any) {
	w.out = append(w.out, Warning{Definition: define(code), Subject: subject, Text: fmt.Sprintf(format, args...)})
}

// Find is what holds by the facts, in the order of the table for one subject.
func Find(f Facts) []Warning {
	var w finder
	for _, p := range f.Pods {
		w.pod(p, f)
	}
	w.bytes(f)
	w.sealed(f)
	w.room(f)
	switch behind := f.ClockBehind.Round(time.Second); {
	case behind > 0:
		w.add(CodeClock, "", "this machine's clock is %s behind that of the other pods", behind)
	case behind < 0:
		w.add(CodeClock, "", "this machine's clock is %s ahead of that of the other pods", -behind)
	}
	if f.NoKey {
		w.add(CodeNoKey, "", "the network is encrypted and this pod has no key: files can't be read or written here")
	}
	w.rights(f)
	for _, m := range f.Mounts {
		w.add(CodeMountMissing, m.Dir, "%s should be mounted: %s", m.Dir, m.Why)
	}
	if f.Conflicts > 0 {
		w.add(CodeConflicts, "", "%s changed on several pods apart", count(f.Conflicts, "file or folder was", "files or folders were"))
	}
	if f.Minority != "" {
		w.add(CodeMinority, "", "this pod sees half of the pods that store data or less; nothing is repaired from here until it sees more, and %s", f.Minority)
	}
	if f.MembershipEnds != "" {
		w.add(CodeMembershipEnds, "", "this pod's certificate ends at %s", f.MembershipEnds)
	}
	if f.MembershipEnded != "" {
		w.add(CodeMembershipEnded, "", "other pods refuse this one: its certificate ended at %s", f.MembershipEnded)
	}
	if f.GCStopped != "" {
		w.add(CodeGCStopped, "", "deleted files and old versions keep their space: %s", f.GCStopped)
	}
	if f.UnknownRules > 0 {
		w.add(CodeUnknownRules, "", "this pod does not follow %s, which it does not know; all else works", count(f.UnknownRules, "rule of the network", "rules of the network"))
	}
	if f.UnknownPathRules > 0 {
		w.add(CodeUnknownRules, "paths", "this pod does not follow %s, which it does not know; all else works", count(f.UnknownPathRules, "rule of a path", "rules of paths"))
	}
	return w.out
}

// pod is what is wrong with one pod.
func (w *finder) pod(p Pod, f Facts) {
	if p.Diverged {
		w.add(CodePodDiverged, p.Name, "pod %s shows another state of the same history: one of the two is faulty", p.Name)
	}
	if p.Untold > 0 {
		w.add(CodeChangesAway, p.Name, "pod %s, which is not connected, told others of %s not come here", p.Name, count(p.Untold, "change that has", "changes that have"))
	}
	if p.Expired != "" {
		w.add(CodePodExpired, p.Name, "pod %s is refused: its certificate ended at %s", p.Name, p.Expired)
	}
	if p.Future {
		w.add(CodeFuture, p.Name, "pod %s stamps its changes with a time that is far ahead of this machine's", p.Name)
	}
	if p.Version != "" && f.Version != "" && p.Version != f.Version {
		w.add(CodeOtherVersion, p.Name, "pod %s runs %s, this one %s", p.Name, p.Version, f.Version)
	}
	if p.Self || !p.Stores {
		return // Portals come and go.
	}
	if !p.HeldUntil.IsZero() {
		w.add(CodePodFlaps, p.Name, "pod %s came back several times of late: copies that were made in its place stay until %s, for the case that it goes again", p.Name, p.HeldUntil.UTC().Format(time.RFC3339))
	}
	switch p.State {
	case "down", "out":
		seen := ""
		if !p.LastSeen.IsZero() {
			seen = ", last heard at " + p.LastSeen.UTC().Format(time.RFC3339)
		}
		w.add(CodePodDown, p.Name, "pod %s is %s%s", p.Name, p.State, seen)
	case "suspect":
		w.add(CodePodSuspect, p.Name, "pod %s has not been heard for %s or more", p.Name, f.SuspectAfter)
	}
}

// rights is what this pod may not do, or not any more.
func (w *finder) rights(f Facts) {
	if f.KeyAwaited {
		w.add(CodeKeyAwaited, "", "the data key was changed, and no admin's pod has given this one the new key yet: files can be read here, and not changed")
	}
	if f.ShutOut != "" {
		w.add(CodeShutOut, "", "this pod was shut out of the network by %s: other pods refuse it, and what it does counts nowhere", f.ShutOut)
	}
	if f.Demoted != "" {
		w.add(CodeMayNotWrite, "", "this pod could write, and has the role %s now: nothing can be changed here", f.Demoted)
	}
	if f.Uncounted != "" {
		w.add(CodeUncounted, "", "changes of %s that are here don't count; the tree of a pod that may write takes their place as soon as one is connected that has all that counts", f.Uncounted)
	}
}

// bytes is what is wrong with the safety of data.
func (w *finder) bytes(f Facts) {
	stores := 0
	for _, p := range f.Pods {
		if p.Stores {
			stores++
		}
	}
	few := f.Copies > stores
	if few {
		w.add(CodeFewPods, "", "%d of %d copies", stores, f.Copies)
	}
	if f.UnsafeBytes > 0 && !few {
		w.add(CodeUnsafe, "", "%s fewer copies than their policy asks for", count(int(f.UnsafeBytes), "byte has", "bytes have"))
	}
	if f.UnavailableBytes > 0 {
		w.add(CodeUnavailable, "", "no pod that can be reached has %s", count(int(f.UnavailableBytes), "byte", "bytes"))
	}
	if f.DegradedBytes > 0 {
		w.add(CodeDegraded, "", "%s on fewer pods than the policy asks for until there are more pods", count(int(f.DegradedBytes), "byte is", "bytes are"))
	}
	if f.SpreadingBytes > 0 {
		w.add(CodeSpreading, "", "%s on the way to other pods", count(int(f.SpreadingBytes), "byte is", "bytes are"))
	}
	if f.DamagedBlocks > 0 {
		w.add(CodeDamaged, "", "%s on this pod's disk damaged, and no connected pod has a good copy", count(f.DamagedBlocks, "block is", "blocks are"))
	}
}

// sealed is what is wrong with who keeps what of an encrypted network.
func (w *finder) sealed(f Facts) {
	blind := 0
	var readers []string
	writers := map[string]bool{}
	for _, p := range f.Pods {
		switch {
		case p.State == "out":
		case p.Blind:
			if p.Stores {
				blind++
			}
		default:
			if p.Stores {
				readers = append(readers, p.Name)
			}
			if p.Writer != "" {
				writers[p.Writer] = true
			}
		}
	}
	if blind == 0 {
		return
	}
	if len(readers) == 1 {
		w.add(CodeOneReader, "", "pod %s alone has the names, small files and lists of chunks: if it were lost, so would be all that is on %s", readers[0], count(blind, "storage pod", "storage pods"))
	}
	if len(writers) == 1 {
		w.add(CodeOneWriter, "", "what is deleted keeps its room on %s: they delete what two writers list, and there is one", count(blind, "storage pod", "storage pods"))
	}
}

// room is what is wrong with space.
func (w *finder) room(f Facts) {
	own := f.StoredBytes + f.FreeBytes
	switch free := f.FreeBytes + f.CacheBytes; {
	case f.DiskError != "":
		w.add(CodeDiskFull, "", "%s", f.DiskError)
	case own > 0 && free < fullMin:
		w.add(CodeDiskFull, "", "only %d KiB can still be stored", free>>10)
	case own > 0 && low(free, own):
		w.add(CodeDiskLow, "", "%d MiB can still be stored", free>>20)
	}
	var total, free, largest int64
	var name string
	stores := 0
	for _, p := range f.Pods {
		if !p.Stores || p.State == "down" || p.State == "out" || p.UsedBytes+p.FreeBytes == 0 {
			continue
		}
		stores++
		total += p.UsedBytes + p.FreeBytes
		free += p.FreeBytes
		if p.UsedBytes > largest {
			largest, name = p.UsedBytes, p.Name
		}
	}
	var others int64
	for _, p := range f.Pods {
		if p.Stores && p.Name != name && p.State != "down" && p.State != "out" {
			others += p.FreeBytes
		}
	}
	switch {
	case stores > 1 && low(free, total):
		w.add(CodeNetworkFull, "", "%d MiB of %d MiB are free on all pods together", free>>20, total>>20)
	case f.Copies > 1 && stores > f.Copies && others < largest: // With no pod to spare nothing could be rebuilt anyway.
		w.add(CodeNoRoomToRepair, "", "if %s were lost, %d MiB of copies would have to go where %d MiB are free", name, largest>>20, others>>20)
	}
}

func low(free, total int64) bool { return free < total/lowShare || free < min(lowMin, total/2) }

// count is a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
