package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testPod() Pod {
	p := NewPod()
	p.Network = strings.Repeat("ab", 32)
	p.NetworkName = "home"
	p.Name = "box-2"
	p.Listen = []string{"0.0.0.0:4001"}
	p.Mounts = []Mount{{Dir: "/mnt/a b", Options: []string{"ro"}}}
	return p
}

func TestPodRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), PodFile)
	want := testPod()
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadPod(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(names) != 0 {
		t.Errorf("left over: %q", names)
	}
}

// A file that says something unknown or wrong is refused with the line where it does.
func TestStrict(t *testing.T) {
	head := "kind = \"pod\"\nversion = 1\nnetwork = \"" + strings.Repeat("ab", 32) + "\"\nname = \"a\"\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":      {head + "colour = 3\n", ":5:"},
		"unknown subkey":   {head + "[[mount]]\ndir = \"/a\"\nspeed = 3\n", ":7:"},
		"bad syntax":       {head + "listen = [\n", ":"},
		"wrong type":       {head + "listen = 3\n", ":5:"},
		"wrong kind":       {"kind = \"machine\"\nversion = 1\n", ":1:"},
		"newer version":    {"kind = \"pod\"\nversion = 9\n", ":2:"},
		"no kind":          {"version = 1\n", "kind"},
		"bad listen":       {head + "listen = [\"x\"]\n", "HOST:PORT"},
		"bad port":         {head + "listen = [\":99999\"]\n", "65535"},
		"relative mount":   {head + "[[mount]]\ndir = \"a\"\n", "absolute"},
		"unknown option":   {head + "[[mount]]\ndir = \"/a\"\noptions = [\"fast\"]\n", "fast"},
		"negative":         {head + "cache_bytes = -1\n", "negative"},
		"bad name":         {strings.Replace(head, `"a"`, `"../a"`, 1), "name"},
		"bad network":      {strings.Replace(head, "abab", "zz", 1), "network"},
		"repeated key":     {head + "name = \"b\"\n", ":5:"},
		"too large a file": {head + strings.Repeat("#\n", sizeMax), "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), PodFile)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadPod(path)
			if !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ErrBad with %q", err, c.want)
			}
		})
	}
}

func TestMachine(t *testing.T) {
	path := filepath.Join(t.TempDir(), MachineFile)
	m, err := LoadMachine(path)
	if err != nil || !cmp.Equal(m, NewMachine()) {
		t.Errorf("no file: %v, %v", m, err)
	}
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadMachine(path); err != nil || !cmp.Equal(got, m) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("kind = \"machine\"\nversion = 1\nlog_level = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMachine(path); !errors.Is(err, ErrBad) {
		t.Errorf("bad level: %v", err)
	}
}

func TestCheckName(t *testing.T) {
	for _, ok := range []string{"a", "box-2", "A.b_c", "9"} {
		if err := CheckName(ok); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", ".", "..", ".a", "-a", "a/b", "a b", "ä", "a\x00", strings.Repeat("a", 64)} {
		if CheckName(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func FuzzDecodePod(f *testing.F) {
	f.Add([]byte("kind = \"pod\"\nversion = 1\n"))
	f.Add([]byte("kind = \"pod\"\nversion = 1\n[[mount]]\ndir=\"/a\"\n"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var p Pod
		if decode("x", b, PodKeys(), &p) == nil {
			_ = p.Check() // Must not panic.
		}
	})
}

// FuzzDecodeMachine: no machine.toml makes the daemon panic at its start.
func FuzzDecodeMachine(f *testing.F) {
	f.Add([]byte("kind = \"machine\"\nversion = 1\nlog_level = \"debug\"\n"))
	f.Add([]byte("kind = \"machine\"\nversion = 1\n[[notify]]\nname=\"a\"\n"))
	f.Add([]byte(MachineKeys().Template()))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseMachine("x", b) })
}

// FuzzValues: no text makes the readers of single values panic, and no number of bytes is negative.
func FuzzValues(f *testing.F) {
	for _, text := range []string{"20GiB", "9223372036854775807", "uid=1000:0", "uid=a-b:5", "writeback", "gid=0:4294967295"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseBytes(text); err == nil && n < 0 {
			t.Errorf("%q is %d bytes", text, n)
		}
		_, _ = ParseMountOptions(strings.Split(text, ",")) // it does not panic
	})
}
