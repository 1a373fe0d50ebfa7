package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseMountOptions: each option is read, and what makes no sense is told with its name.
func TestParseMountOptions(t *testing.T) {
	five := uint32(5)
	for text, want := range map[string]MountSettings{
		"":                                {},
		"allow_other,dev,suid":            {AllowOther: true, Dev: true, SUID: true},
		"ro,noexec":                       {ReadOnly: true, NoExec: true},
		"writeback,uid=5":                 {Writeback: true, UIDs: MountIDs{All: &five}},
		"uid=1001:1000,gid=1:2,gid=3:0":   {UIDs: MountIDs{Pairs: map[uint32]uint32{1001: 1000}}, GIDs: MountIDs{Pairs: map[uint32]uint32{1: 2, 3: 0}}},
		"uid=1000:1001,uid=1001:1000,ro,": {ReadOnly: true, UIDs: MountIDs{Pairs: map[uint32]uint32{1000: 1001, 1001: 1000}}},
	} {
		options := strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		if got, err := ParseMountOptions(options); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: %v, %s", text, err, cmp.Diff(got, want))
		}
	}
	for _, text := range []string{
		"fast", "ro=1", "uid", "uid=", "uid=x", "uid=-1", "uid=4294967295", "uid=4294967296", "gid=1:", "gid=1:2:3", "uid=1,uid=2", "uid=1,uid=2:3", "uid=2:3,uid=1",
		"uid=1:2,uid=1:3", "uid=1:2,uid=3:2", "ro,writeback",
	} {
		name, _, _ := strings.Cut(text, "=")
		if _, err := ParseMountOptions(strings.Split(text, ",")); err == nil || !strings.Contains(err.Error(), strings.Split(name, ",")[0]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
