package config

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every key of a file is in its table, and every key of the table is read; so are the tables in files, and their keys.
func TestKeysAreThoseThatAreRead(t *testing.T) {
	for _, c := range []struct {
		keys  Keys
		file  any
		table any
	}{{MachineKeys(), Machine{}, Notify{}}, {PodKeys(), Pod{}, Mount{}}} {
		tags, tables := tagsOf(c.file)
		if d := cmp.Diff(tags, append([]string{"kind", "version"}, c.keys.names()...)); d != "" {
			t.Errorf("%s: %s", c.keys.Kind, d)
		}
		if len(c.keys.Tables) != 1 || !cmp.Equal(tables, []string{c.keys.Tables[0].Name}) {
			t.Errorf("%s has the tables %q", c.keys.Kind, tables)
		}
		tags, _ = tagsOf(c.table)
		if d := cmp.Diff(tags, Keys{All: c.keys.Tables[0].All}.names()); d != "" {
			t.Errorf("[[%s]]: %s", c.keys.Tables[0].Name, d)
		}
	}
}

// tagsOf are the names in a file of the fields of a struct: of values, and of tables.
func tagsOf(v any) (keys, tables []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		switch {
		case f.Anonymous: // its fields come by themselves
		case f.Type.Kind() == reflect.Slice && f.Type != reflect.TypeFor[[]string]():
			tables = append(tables, tag)
		default:
			keys = append(keys, tag)
		}
	}
	return keys, tables
}

// What is read must be used: each field of the files is named somewhere outside of this package.
func TestKeysAreUsed(t *testing.T) {
	used := make(map[string]bool)
	for _, dir := range []string{"../daemon", "../../cmd/wh"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					used[s.Sel.Name] = true
				}
				return true
			})
		}
	}
	used["LogLevel"], used["LogLevels"] = used["Level"], used["PartLevels"] // methods read them
	for _, v := range []any{Machine{}, Notify{}, Pod{}, Mount{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			if !f.Anonymous && f.Name != "Kind" && f.Name != "Version" && !used[f.Name] {
				t.Errorf("%T.%s is read and never used", v, f.Name)
			}
		}
	}
}

// A template is read without complaint, and says the defaults.
func TestTemplate(t *testing.T) {
	dir := t.TempDir()
	machine := filepath.Join(dir, MachineFile)
	if err := os.WriteFile(machine, []byte(MachineKeys().Template()), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := LoadMachine(machine)
	standard := NewMachine()
	standard.LogLevels = []string{}
	if d := cmp.Diff(standard, m); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	want := testPod()
	want.Mounts, want.Listen, want.Announce, want.EntryPoints = nil, []string{}, []string{}, []string{}
	var b strings.Builder
	for line := range strings.Lines(PodKeys().Template()) {
		for key, value := range map[string]string{"network": want.Network, "network_name": want.NetworkName, "name": want.Name} {
			if line == "# "+key+" =\n" {
				line = key + " = " + quote(value) + "\n"
			}
		}
		b.WriteString(line)
	}
	pod := filepath.Join(dir, PodFile)
	if err := os.WriteFile(pod, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := LoadPod(pod)
	if d := cmp.Diff(want, p); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

func TestSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), PodFile)
	text := `# mine
kind = "pod"
version = 1
network = "` + strings.Repeat("ab", 32) + `"
name = "a"
listen = [ # here
  ":1", # and "]"
  ":2",
]
  cache_bytes = 5 # little

[[mount]]
dir = "/a" # cache_bytes = 7
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key, value string
		bad        string // part of the error
	}{
		{"cache_bytes", "2 GiB", ""},
		{"capacity_bytes", "1TiB", ""},
		{"listen", "127.0.0.1:7, [::1]:8", ""},
		{"discover", "false", ""},
		{"discover", "maybe", "true nor false"},
		{"cache_bytes", "-1", "number of bytes"},
		{"cache_bytes", "9999999TiB", "number of bytes"},
		{"listen", "here", "HOST:PORT"},
		{"name", "b", "when the pod was made"},
		{"cash_bytes", "1", `"cache_bytes"`},
		{"zzz", "1", "there are network"},
	} {
		_, err := SetPod(path, c.key, c.value)
		if c.bad == "" && err != nil || c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%s = %s: %v", c.key, c.value, err)
		}
		if c.bad != "" && !errors.Is(err, ErrBad) && !errors.Is(err, ErrNoKey) {
			t.Errorf("%s = %s: %v", c.key, c.value, err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(`listen = [ # here
  ":1", # and "]"
  ":2",
]
`, "listen = [\"127.0.0.1:7\", \"[::1]:8\"]\n", "  cache_bytes = 5 # little\n\n", `cache_bytes = 2147483648

capacity_bytes = 1099511627776
discover = false
`).Replace(text)
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
	if _, err := LoadPod(path); err != nil {
		t.Error(err)
	}
}

func TestSetMakesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), MachineFile)
	m, err := SetMachine(path, "log_level", "debug")
	if err != nil || m.LogLevel != "debug" {
		t.Fatalf("%+v, %v", m, err)
	}
	again, err := LoadMachine(path)
	if err != nil || !cmp.Equal(again, m) {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestCheckFile(t *testing.T) {
	keys := Keys{Kind: "network", All: []Key{
		{Name: "trash", Type: Duration, Default: "48h"},
		{Name: "policy", Check: func(s string) error {
			if s != "none" {
				return errors.New("no policy")
			}
			return nil
		}},
		{Name: "on", Type: Bool},
		{Name: "most", Type: Bytes},
		{Name: "all", Type: List},
	}}
	head := "kind = \"network\"\nversion = 1\n"
	for text, want := range map[string]string{
		head: "",
		head + "trash = \"1h\"\npolicy = \"none\"\non = true\nmost = 3\nall = [\"a\"]\n": "",
		head + "trash = 3\n":                       ":3: bad configuration: trash: 3 is not of its type: a duration",
		head + "trash = \"soon\"\n":                "trash",
		head + "trash = \"-3s\"\n":                 "longer",
		head + "\ntrahs = \"1h\"\n":                `:4: bad configuration: unknown key "trahs"; do you mean "trash"?`,
		head + "policy = \"what\"\n":               "no policy",
		head + "all = [1]\n":                       "a list of int64",
		head + "on = \"true\"\n":                   "true or false",
		"kind = \"pod\"\nversion = 1\n":            "not \"network\"",
		head + "[trash]\nx = 1\n":                  ":3: bad configuration: trash: a table is not of its type",
		"kind = \"network\"\nversion = 1\nx = [\n": ":",
	} {
		path := filepath.Join(t.TempDir(), "network.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := keys.Check(path)
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrBad) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
