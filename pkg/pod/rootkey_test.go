package pod

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// The root key is dropped only by who shows that they have it, and the pod's admin goes on without it.
func TestRootKeyLeaves(t *testing.T) {
	first := firstPod(t)
	key, err := first.RootKey()
	if err != nil {
		t.Fatal(err)
	}
	other := firstPod(t)
	others, err := other.RootKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][]byte{nil, key[1:], others} {
		if err := first.DropRootKey(wrong); !errors.Is(err, ErrOtherKey) {
			t.Errorf("dropped by %d bytes of another: %v", len(wrong), err)
		}
	}
	if err := first.DropRootKey(key); err != nil {
		t.Fatal(err)
	}
	if _, err := first.RootKey(); !errors.Is(err, ErrNoRootKey) {
		t.Errorf("still here: %v", err)
	}
	if err := first.DropRootKey(key); !errors.Is(err, ErrNoRootKey) {
		t.Errorf("dropped again: %v", err)
	}
	first.stop()
	first = openPod(t, first.dir)
	second := joinPod(t, first, "second")
	if err := first.AddUser(quickly(t), public(userKey(9)), "ann", "writer"); err != nil {
		t.Error(err)
	}
	if err := first.Revoke(quickly(t), "second"); err != nil {
		t.Error(err)
	}
	_ = second
}

// By the root key a pod becomes an admin's: it lets in pods whose numbers nobody has, and others believe it. No other key does that, and nothing that a crash
// may leave keeps it from it.
func TestRootKeyMakesAdmin(t *testing.T) {
	first := firstPod(t)
	second := joinPod(t, first, "second")
	third := joinPod(t, first, "third")
	key, err := first.RootKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.UseRootKey(key); !errors.Is(err, vfs.ErrExist) {
		t.Errorf("an admin's: %v", err)
	}
	meet(t, first, second, third) // else nobody is left who tells the two of each other
	first.stop()                  // it is lost
	others, err := firstPod(t).RootKey()
	if err != nil {
		t.Fatal(err)
	}
	ownKey, err := os.ReadFile(filepath.Join(second.dir, fileKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range [][]byte{nil, []byte("key"), others, ownKey} {
		if err := second.UseRootKey(wrong); !errors.Is(err, ErrOtherKey) {
			t.Errorf("%d bytes of another: %v", len(wrong), err)
		}
	}
	if _, err := second.Invite(quickly(t), "writer", 1e9, 1); !errors.Is(err, member.ErrDenied) {
		t.Errorf("an admin by a wrong key: %v", err)
	}
	for _, left := range []string{fileAdmin, fileAdminKey + ".new"} {
		if err := os.WriteFile(filepath.Join(second.dir, left), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.UseRootKey(key); err != nil {
		t.Fatal(err)
	}
	second.stop()
	second = openPod(t, second.dir)
	fourth := joinPod(t, second, "fourth")
	if a, b := fourth.own.chain.Leaf().Member, third.own.chain.Leaf().Member; a == b {
		t.Errorf("number %d was given twice", a)
	}
	fourth.write("/f", "x")
	third.reads("/f", "x")
	if _, err := second.RootKey(); !errors.Is(err, ErrNoRootKey) {
		t.Errorf("the root key was kept: %v", err)
	}
}
