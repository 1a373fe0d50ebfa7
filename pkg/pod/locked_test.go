package pod

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// testLocking locks a disk for an identity of the test's.
func testLocking(t *testing.T) *Locking {
	t.Helper()
	key := diskcrypt.NewKey()
	l, err := diskcrypt.NewLock(key, make(ed25519.PublicKey, ed25519.PublicKeySize), testIdentity)
	if err != nil {
		t.Fatal(err)
	}
	return &Locking{Key: key, Lock: l}
}

func testIdentity(salt []byte) ([diskcrypt.KeyBytes]byte, error) { return sha256.Sum256(salt), nil }

// createLocked makes an encrypted network with its first pod on a locked disk.
func createLocked(t *testing.T) (dir string, lock *Locking) {
	t.Helper()
	dir, lock = filepath.Join(t.TempDir(), "pod"), testLocking(t)
	info, err := Create(quickly(t), dir, CreateOptions{NetworkName: "test", PodName: "first", Encrypt: true, Lock: lock})
	if err != nil || !info.Locked {
		t.Fatal(info, err)
	}
	return dir, lock
}

// joinLocked is joinAs on a disk that is to be locked.
func joinLocked(t *testing.T, by *testPod, name, role string) (dir string, lock *Locking, info Info) {
	t.Helper()
	token, err := by.Invite(quickly(t), role, time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir, lock = filepath.Join(t.TempDir(), "pod"), testLocking(t)
	if info, err = Join(quickly(t), dir, JoinOptions{Token: token, PodName: name, Lock: lock}); err != nil {
		t.Fatal(err)
	}
	return dir, lock, info
}

func runLocked(t *testing.T, dir string, lock *Locking) *testPod {
	t.Helper()
	return runPod(t, Options{Dir: dir, Disk: lock.Key, Listen: []string{"127.0.0.1:0"}})
}

// rawText is all bytes and names in a folder, as a thief has them.
func rawText(t *testing.T, dir string) []byte {
	t.Helper()
	var all bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all.WriteString(d.Name() + "\n")
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.Bytes()
}

// TestLockedDisk breaks if a name, an attribute, contents or a key stands anywhere on a locked disk, of the pod that made the network or of one that
// joined, while they run or after they stopped.
func TestLockedDisk(t *testing.T) {
	dir, lock := createLocked(t)
	a := runLocked(t, dir, lock)
	bDir, bLock, info := joinLocked(t, a, "second", "writer")
	if !info.Locked {
		t.Fatal("who joins is not locked")
	}
	b := runLocked(t, bDir, bLock)
	if !a.Info().Locked || !b.Info().Locked {
		t.Error("info does not say that the disk is locked")
	}
	plant(t, a)
	a.event(Event{Kind: EventReadFailed, Path: "planted-in-an-event", Text: "planted text of an event: 77aa"})
	if err := a.SyncWait(quickly(t), vfs.RootID); err != nil {
		t.Fatal(err)
	}
	sameRoot(t, a, b)
	if err := b.Rekey(quickly(t)); err == nil {
		t.Error("a writer changed the data key")
	}
	if err := a.Rekey(quickly(t)); err != nil { // data.key is written anew
		t.Fatal(err)
	}
	secrets := map[string][]byte{"an event's path": []byte("planted-in-an-event"), "an event's text": []byte("planted text of an event: 77aa"), "a disk's key": secretOf(lock), "the other disk's key": secretOf(bLock), "PEM": []byte("-----BEGIN")}
	for what, marker := range planted {
		secrets[what] = []byte(marker)
	}
	for _, k := range a.seal.Load().keys {
		s := k.Secret()
		secrets["a data key"] = s[:]
	}
	by, err := a.authority()
	if err != nil {
		t.Fatal(err)
	}
	secrets["the pod's key"], secrets["the other pod's key"], secrets["the admin's key"] = a.own.key.Seed(), b.own.key.Seed(), by.key.Seed()
	search := func(when string) {
		for _, dir := range []string{dir, bDir} {
			text := rawText(t, dir)
			for what, secret := range secrets {
				for _, form := range [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(base64.StdEncoding.EncodeToString(secret))[:len(secret)/3*4]} {
					if bytes.Contains(text, form) {
						t.Errorf("%s: %s stands on a locked disk", when, what)
					}
				}
			}
		}
	}
	search("while it runs")
	a.stop()
	b.stop()
	search("after it stopped")

	// The search finds what stands on a disk that is not locked.
	if c := rawText(t, createEncrypted(t)); !bytes.Contains(c, secrets["PEM"]) {
		t.Error("no key is found on a disk that is not locked")
	}
	// It is not in what is read because it is nowhere: with the key all is there.
	a = runLocked(t, dir, lock)
	a.reads("/"+planted["a folder's name"]+"/short", planted["small contents"])
	if err := a.Fsck(quickly(t), false, func(p Problem) { t.Errorf("fsck: %s: %s", p.Where, p.What) }); err != nil {
		t.Error(err)
	}
	root, err := a.RootKey()
	if err != nil || !strings.HasPrefix(string(root), "-----BEGIN") {
		t.Errorf("the root key can't be exported: %v", err)
	}
	if err := a.DropRootKey(root); err != nil {
		t.Error(err)
	}
}

func secretOf(l *Locking) []byte { s := l.Key.Secret(); return s[:] }

// TestLockedNeedsItsKey: without the key of its disk, or with another's, a pod is not opened, and nothing in its folder changes.
func TestLockedNeedsItsKey(t *testing.T) {
	dir, lock := createLocked(t)
	before := rawText(t, dir)
	for _, key := range []*diskcrypt.Key{nil, diskcrypt.NewKey()} {
		if p, err := Open(context.Background(), Options{Dir: dir, Offline: true, Disk: key}); !errors.Is(err, ErrDiskLocked) {
			t.Errorf("opened: %v, %v", p, err)
		}
	}
	if !bytes.Equal(rawText(t, dir), before) {
		t.Error("the folder was changed")
	}
	l, ok, err := LockOf(dir)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	key, err := l.Open(testIdentity)
	if err != nil || key.Secret() != lock.Key.Secret() {
		t.Errorf("the lock has another key: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileLock), []byte("no lock"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Options{Dir: dir, Offline: true, Disk: key}); !errors.Is(err, diskcrypt.ErrBadLock) {
		t.Errorf("with a damaged lock: %v", err)
	}
}

// TestStorageIsNotLocked: who may not read has nothing to hide, and starts by itself; so does a pod of a network that is not encrypted.
func TestStorageIsNotLocked(t *testing.T) {
	a := openPod(t, createEncrypted(t))
	dir, _, info := joinLocked(t, a, "blind", "storage")
	if _, locked, err := LockOf(dir); locked || info.Locked || err != nil {
		t.Errorf("a storage pod is locked: %v", err)
	}
	openPod(t, dir)
	plain := firstPod(t)
	if dir, _, info := joinLocked(t, plain, "second", "writer"); info.Locked {
		t.Errorf("%s of a plain network is locked", dir)
	}
}

// TestLockedSegments: a start appends to no segment of an earlier life, behind the end of which other bytes may have stood.
func TestLockedSegments(t *testing.T) {
	dir, lock := createLocked(t)
	names := func() int {
		found, err := filepath.Glob(filepath.Join(dir, "segments", "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	for life := range 3 {
		p := runPod(t, Options{Dir: dir, Disk: lock.Key, Offline: true})
		p.put("/f", noise(byte(life), 100_000))
		p.settle()
		p.stop()
		if got := names(); got != life+1 {
			t.Errorf("life %d: %d segments", life, got)
		}
	}
}
