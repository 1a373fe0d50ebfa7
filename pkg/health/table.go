package health

import (
	"slices"
	"time"
)

// The codes.
const (
	CodePodDown        Code = "pod_down"
	CodePodSuspect     Code = "pod_suspect"
	CodePodFlaps       Code = "pod_flaps"
	CodePodDiverged    Code = "pod_diverged"
	CodeChangesAway    Code = "changes_elsewhere"
	CodeUnsafe         Code = "bytes_unsafe"
	CodeUnavailable    Code = "bytes_unavailable"
	CodeDegraded       Code = "bytes_degraded"
	CodeSpreading      Code = "spreading_long"
	CodeDamaged        Code = "blocks_damaged"
	CodeFewPods        Code = "few_pods"
	CodeOneReader      Code = "one_reader"
	CodeOneWriter      Code = "one_writer"
	CodeNetworkFull    Code = "network_full"
	CodeNoRoomToRepair Code = "no_room_to_repair"
	CodeDiskFull       Code = "disk_full"
	CodeDiskLow        Code = "disk_low"
	CodeClock          Code = "clock"
	CodeFuture         Code = "changes_from_future"
	CodeNoKey          Code = "no_key"
	CodeKeyAwaited     Code = "key_awaited"
	CodeShutOut        Code = "shut_out"
	CodeMayNotWrite    Code = "may_not_write"
	CodeUncounted      Code = "changes_dont_count"
	CodeMountMissing   Code = "mount_missing"
	CodeConflicts      Code = "conflicts"
	CodeGCStopped      Code = "gc_stopped"
	CodeMinority       Code = "minority"
	CodeOtherVersion   Code = "other_version"
	CodeUnknownRules   Code = "unknown_rules"

	CodeMembershipEnds  Code = "membership_ends"
	CodeMembershipEnded Code = "membership_ended"
	CodePodExpired      Code = "pod_expired"
)

// flap is how long most conditions must be over before people hear of it.
const flap = time.Minute

// table is the one list of what there is to warn of.
var table = []Definition{
	{
		Code: CodePodDown, Severity: Serious, Title: "A pod is lost", Unhealthy: true, Tell: 2 * time.Minute, Hold: flap,
		Todo: "start that machine, or its daemon (wh up); if it won't come back: wh pod remove NAME --lost",
	},
	{
		Code: CodePodSuspect, Severity: Warned, Title: "A pod is silent", Tell: 5 * time.Minute, Hold: flap,
		Todo: "nothing yet: a pod that sleeps or restarts is back soon; wh peers --why says why it is not connected",
	},
	{
		Code: CodePodFlaps, Severity: Notice, Title: "A pod comes and goes", Hold: flap,
		Todo: "wh events tells when it went; wh pod freeze before a planned stop; wh gc --now gives the space back at once",
	},
	{
		Code: CodePodDiverged, Severity: Serious, Title: "Two pods disagree", Unhealthy: true, Hold: flap,
		Todo: "wh fsck on both pods; the one that finds problems is the faulty one",
	},
	{
		Code: CodeChangesAway, Severity: Warned, Title: "Changes are not here", Tell: 5 * time.Minute, Hold: flap, DependsOn: []Code{CodePodDown, CodePodSuspect},
		Todo: "start that machine: only it has these changes, as far as is known here",
	},
	{
		Code: CodeUnsafe, Severity: Serious, Title: "Data has fewer copies than its policy asks for", Unhealthy: true, Tell: 10 * time.Minute, Hold: flap,
		DependsOn: []Code{CodePodDown, CodeNetworkFull, CodeDiskFull},
		Todo:      "wait: copies are being made; wh sync --wait says when all is safe, wh where PATH what is missing",
	},
	{
		Code: CodeUnavailable, Severity: Serious, Title: "Data can't be reached", Unhealthy: true, Tell: 5 * time.Minute, Hold: flap,
		DependsOn: []Code{CodePodDown, CodePodSuspect},
		Todo:      "start the machines that hold it: wh where PATH names them",
	},
	{
		Code: CodeDegraded, Severity: Warned, Title: "Data waits for pods", Tell: 10 * time.Minute, Hold: flap,
		DependsOn: []Code{CodePodDown, CodePodSuspect, CodeFewPods},
		Todo:      "start missing machines, or add a pod: wh invite",
	},
	{
		Code: CodeSpreading, Severity: Warned, Title: "Copies take long", Delay: 30 * time.Minute, Tell: 30 * time.Minute, Hold: flap,
		DependsOn: []Code{CodePodDown, CodePodSuspect, CodeFewPods, CodeNetworkFull, CodeUnsafe},
		Todo:      "wh peers shows how fast the connections are; much new data takes its time",
	},
	{
		Code: CodeDamaged, Severity: Serious, Title: "Stored blocks are damaged", Unhealthy: true, Tell: 5 * time.Minute, Hold: flap,
		Todo: "check the disk (dmesg, smartctl); wh fsck --repair gets good copies from other pods",
	},
	{
		Code: CodeFewPods, Severity: Notice, Title: "Too few pods for the policy", Hold: flap,
		Todo: "add a pod: wh invite",
	},
	{
		Code: CodeOneReader, Severity: Warned, Title: "One pod alone has the names", Tell: 10 * time.Minute, Hold: flap,
		Todo: "add a pod that reads: wh invite --role reader, or writer",
	},
	{
		Code: CodeOneWriter, Severity: Notice, Title: "Nothing is deleted on storage pods", Tell: time.Hour, Hold: flap, DependsOn: []Code{CodeOneReader},
		Todo: "where the room is wanted back, add a second pod that writes, a portal will do: wh invite --role writer",
	},
	{
		Code: CodeNetworkFull, Severity: Serious, Title: "The network is nearly full", Delay: time.Minute, Tell: 5 * time.Minute, Hold: 10 * time.Minute,
		Todo: "add a pod (wh invite) or a disk, or delete files and then wh gc --now",
	},
	{
		Code: CodeNoRoomToRepair, Severity: Warned, Title: "No room to make up for a lost pod", Delay: time.Minute, Tell: 10 * time.Minute, Hold: 10 * time.Minute,
		DependsOn: []Code{CodePodDown, CodeNetworkFull},
		Todo:      "add a pod (wh invite) or a disk: after a loss the others could not hold all copies",
	},
	{
		Code: CodeDiskFull, Severity: Serious, Title: "This machine's disk is full", Hold: flap,
		Todo: "free space on the disk, or what was deleted in Wormhole: wh gc --now; until then nothing is taken here",
	},
	{
		Code: CodeDiskLow, Severity: Warned, Title: "This machine's disk is nearly full", Delay: 10 * time.Second, Tell: 5 * time.Minute, Hold: 10 * time.Minute,
		DependsOn: []Code{CodeDiskFull},
		Todo:      "free space, or raise capacity_bytes: wh df says what is stored; wh pod drain empties this pod",
	},
	{
		Code: CodeClock, Severity: Warned, Title: "The clock is wrong", Tell: 5 * time.Minute, Hold: flap,
		Todo: "set this machine's clock, and keep it right by NTP: timedatectl set-ntp true",
	},
	{
		Code: CodeFuture, Severity: Warned, Title: "Changes from the future are refused", Tell: 5 * time.Minute, Hold: flap, DependsOn: []Code{CodeClock},
		Todo: "set that machine's clock; its changes come when this machine's clock has reached their time",
	},
	{
		Code: CodeNoKey, Severity: Serious, Title: "No data key", Hold: flap,
		Todo: "ask an admin for a new token (wh invite), and join again; other pods keep the data",
	},
	{
		Code: CodeKeyAwaited, Severity: Warned, Title: "Waiting for the new data key", Tell: time.Minute, Hold: flap, DependsOn: []Code{CodeShutOut},
		Todo: "start an admin's pod, which gives the key by itself as soon as it is connected",
	},
	{
		Code: CodeShutOut, Severity: Serious, Title: "This pod was shut out", Hold: flap,
		Todo: "copy what you need from here; to come back, ask an admin for a token (wh invite) and make a new pod: wh join TOKEN",
	},
	{
		Code: CodeMayNotWrite, Severity: Notice, Title: "This pod may not write any more", Hold: flap,
		Todo: "wh member log says who took the right, and when; an admin gives it back: wh member set-role NAME writer",
	},
	{
		Code: CodeUncounted, Severity: Warned, Title: "Changes here don't count", Tell: time.Minute, Hold: flap,
		Todo: "start a pod that may write: this one then takes that one's tree; copy before that what you want to keep",
	},
	{
		Code: CodeMembershipEnds, Severity: Warned, Title: "This pod's certificate ends soon", Tell: 10 * time.Minute, Hold: flap, DependsOn: []Code{CodeClock},
		Todo: "start an admin's pod, which renews it: wh member ls says who admitted whom; is this machine's clock right?",
	},
	{
		Code: CodeMembershipEnded, Severity: Serious, Title: "This pod's certificate has ended", Tell: time.Minute, Hold: flap, DependsOn: []Code{CodeClock},
		Todo: "if this machine's clock is right, have an admin renew it: wh member renew NAME, on an admin's pod; else set the clock",
	},
	{
		Code: CodePodExpired, Severity: Warned, Title: "A pod is refused, as its certificate has ended", Tell: time.Minute, Hold: flap, DependsOn: []Code{CodeClock},
		Todo: "if this machine's clock is right, wh member renew NAME on an admin's pod lets it in again; else set the clock: it keeps out pods that should be let in",
	},
	{
		Code: CodeMountMissing, Severity: Serious, Title: "A folder is not mounted", Delay: 5 * time.Second, Tell: time.Minute, Hold: flap,
		Todo: "wh mount DIR, or wh unmount DIR --save if it is not wanted; wh doctor says whether FUSE works",
	},
	{
		Code: CodeConflicts, Severity: Warned, Title: "Conflicts", Tell: time.Minute, Hold: flap,
		Todo: "wh conflicts lists them, wh conflicts resolve ends one; no version is lost meanwhile",
	},
	{
		Code: CodeGCStopped, Severity: Warned, Title: "Garbage is not collected", Tell: time.Hour, Hold: flap,
		Todo: "wh gc says what it waits for",
	},
	{
		Code: CodeMinority, Severity: Warned, Title: "This pod is cut off from most", Tell: 2 * time.Minute, Hold: flap, DependsOn: []Code{CodePodDown},
		Todo: "wh peers --why says why the others are not connected; if they won't come back: wh pod remove NAME --lost",
	},
	{
		Code: CodeOtherVersion, Severity: Notice, Title: "Pods run other versions", Delay: time.Hour, Tell: time.Hour, Hold: time.Hour,
		Todo: "install the same version on all machines: wh version",
	},
	{
		Code: CodeUnknownRules, Severity: Notice, Title: "Rules that this version does not know", Tell: time.Hour, Hold: flap,
		Todo: "install the version that the admin who set them runs: wh version",
	},
}

// Definitions are those of all codes.
func Definitions() []Definition { return slices.Clone(table) }

// define is the definition of a code; a code that is in no table has no title.
func define(code Code) Definition {
	for _, d := range table {
		if d.Code == code {
			d.Tell = max(d.Tell, d.Delay)
			return d
		}
	}
	return Definition{Code: code, Severity: Warned}
}
