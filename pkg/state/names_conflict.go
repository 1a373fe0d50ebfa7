package state

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

const (
	conflictMark = ".conflict-"
	// conflictTime is the time in a conflict name, UTC to the second, without colons, which other systems refuse.
	conflictTime = "20060102-150405"
	conflictPod  = 64 // bytes of a pod's name in a conflict name, at most
	extMax       = 16 // bytes of an extension with its dot, at most: what is longer is no extension but a name with a dot in it
)

// ConflictName is the name of a conflict copy of a file: stem.conflict-<pod>-<UTC>-<hex4>.ext.
//
// The extension is what follows the last dot, with the dot, if a stem is before it and it has at most 16 bytes; a ".tar" before it belongs to it
// (.tar.gz). So ".bashrc" and "Makefile" have none. The stem is cut, at a rune of UTF-8, so that the name has 255 bytes at most.
// In the pod's name everything but letters, digits, '-', '_' and '.' becomes '_'; it is cut to 64 bytes; an empty one is "unknown".
func ConflictName(name, pod string, at time.Time, hex4 string) string {
	return conflictName(name, false, podWord(pod), at, hex4)
}

// conflictName is ConflictName; a folder has no extension. pod is a podWord; what follows hex4 in tail, "+2", is kept.
func conflictName(name string, folder bool, pod string, at time.Time, tail string) string {
	stem, ext := name, ""
	if !folder {
		stem, ext = splitExt(name)
	}
	mid := conflictMark + pod + "-" + at.UTC().Format(conflictTime) + "-" + tail
	return cut(stem, vfs.NameMax-len(mid)-len(ext)) + mid + ext
}

// splitExt splits a file's name before its extension.
func splitExt(name string) (stem, ext string) {
	i := strings.LastIndexByte(name, '.')
	if i <= 0 || len(name)-i > extMax || i == len(name)-1 {
		return name, ""
	}
	stem = name[:i]
	if j := len(stem) - len(".tar"); j > 0 && strings.EqualFold(stem[j:], ".tar") {
		i = j
	}
	return name[:i], name[i:]
}

// cut is s in at most n bytes. It doesn't cut a rune in two.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n = max(n, 0)
	for i := n; i > 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n] // not UTF-8
}

// podWord is a pod's name as it stands in a conflict name.
func podWord(pod string) string {
	pod = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("-_.", r):
			return r
		}
		return '_'
	}, pod)
	if pod == "" {
		return "unknown"
	}
	return cut(pod, conflictPod)
}
