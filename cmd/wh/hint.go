package main

import "github.com/wormhole-fs/wormhole/pkg/api"

// hints say what to do next about errors that don't say it themselves.
var hints = map[api.Code]string{
	"block_not_found": "wh where PATH says who holds a file; the machine that has it may be off: wh pods",
	"corrupt":         "wh fsck --repair gets good copies from other pods",
	"unavailable":     "start the machines that hold it: wh where PATH names them, wh pods says which are down",
	"no_space":        "free space on this machine's disk, or what was deleted in Wormhole: wh gc --now; snapshots keep what they name: wh snapshot rm",
	"quota":           "delete something there, or raise it: wh policy set /PATH --quota SIZE; wh policy ls lists the quotas",
	"store_full":      "free space on this machine's disk, or what was deleted in Wormhole: wh gc --now; snapshots keep what they name: wh snapshot rm",
	"peer_full":       "another pod's disk is full: wh pods says whose",
	"expired":         "ask an admin for a new token (wh invite), or to renew what ended (wh member renew)",
	"used":            "a token is good for one machine: ask for a new one: wh invite, on a pod of the network",
	"denied":          "ask an admin of the network for a new token (wh invite), or to add your key (wh member add)",
	"passphrase":      "type it on a terminal, put it into WH_PASSPHRASE or a file that WH_PASSPHRASE_FILE names, or use an ssh-agent: --identity KEY.pub",
	"no_agent":        "ssh-add KEY puts a key into the agent; or name the private key file itself",
	"bad_key":         "ssh-keygen -t ed25519 makes a key; its public half is in the file that ends in .pub",
	"disk_locked":     "the key that locked it opens it: wh up --identity FILE, or FILE.pub for one in an ssh-agent; its passphrase is asked on a terminal, or read from the file that WH_PASSPHRASE_FILE names",
	"bad_lock":        "bring the file back from a backup; without it the disk stays unreadable, and this machine joins again (wh join): other pods have the data",
	"weak_key":        "use an Ed25519 key in a file, or in an agent that signs as RFC 8032 says",
	"bad_token":       "copy the whole last line that wh invite printed",
	"unreachable":     "is wh up running there, and can this machine reach it? wh pods says who is up",
	"blind":           "look at the tree on a pod that may read; or have an admin run wh member set-role NAME reader, and this pod joins the tree",
	"no_key":          "wh health says whether the new key is on its way; a machine that lost all keys needs a new token (wh invite) and joins again; other pods keep the data",
	"bad_policy":      "replica:2 keeps two copies, rs:4+2 bears the loss of any two of six pods: wh help policy set",
	"no_such_pod":     "wh pods lists the pods of the network",
	"exist":           "choose another name, or see what is there: wh ls -l /FOLDER",
	"bad_config":      "wh config template machine, pod or network explains each key",
	"not_folder":      "wh ls -l /FOLDER says what is a folder and what a file",
	"is_folder":       "wh ls /FOLDER lists what is in it",
	"not_empty":       "name a folder that is empty, or that is not there yet",
	"host_not_exist":  "is the name right, and does it begin where this command runs?",
	"host_denied":     "this user may not do that here: another user, or other permissions",
	"not_safe":        "wh pods says who is up; wh where PATH says which copies there are",
	"pod_exists":      "choose another name with --name, or another WH_HOME",
	"not_exist":       "wh ls /FOLDER lists what is there",
	"store_poisoned":  "the disk failed to write: check it (dmesg), then restart with wh down and wh up",
	"fork":            "two pods run with one identity, as after a restored backup: stop one, and join anew",
}

// hintOf is what to do next about an error: its own word, or that for its kind; "" if there is none.
func hintOf(err error) string {
	if hint := api.HintOf(err); hint != "" {
		return hint
	}
	return hints[api.CodeOf(err)]
}
