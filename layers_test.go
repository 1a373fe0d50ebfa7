// Package wormhole_test holds the rules between packages: who may import whom, and which package owns which library.
package wormhole_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/wormhole-fs/wormhole"

// layers is the table of docs/ARCHITECTURE.md, lowest first. A package may import those of lower layers; those of its
// own layer only where vocabulary or sideways says so. A new package is a new word here; a star stands for one name.
var layers = [][]string{
	vocabulary,
	{"chunker", "dag", "erasure", "pkg/store", "pkg/seal", "pkg/diskcrypt", "pkg/member", "pkg/sshkey", "pkg/placement", "pkg/pace", "pkg/heat", "pkg/config", "pkg/health", "pkg/metrics", "pkg/notify"},
	{"p2p", "pkg/state", "pkg/vfs"},
	{"pkg/pod"},
	{"mountfs", "mountfs/nullfs", "pkg/gateway/webdav", "pkg/gateway/winfsp", "pkg/api"},
	{"pkg/api/client", "pkg/api/server", "pkg/web", "pkg/gateway/docker", "pkg/gateway/csi"},
	{"pkg/daemon", "pkg/sim"}, // sim is for tests and cmd/wh-sim; in one layer, daemon can't import it
	{"cmd/internal/*"},        // shared by programs
	{"cmd/*", "examples/*"},
}

// vocabulary is the words that all others are written in; its packages may import each other.
var vocabulary = []string{
	"pkg/assert", "pkg/block", "pkg/bloom", "pkg/cbor", "pkg/chunkmem", "pkg/clock", "pkg/durable", "pkg/form", "pkg/ident", "pkg/units",
}

// sideways lists imports within a layer that are meant.
var sideways = map[string][]string{
	"pkg/state": {"pkg/vfs"}, // the types and errors of the file-system interface
}

// narrow lists packages that see less than their layer allows: the vocabulary, and these.
var narrow = map[string][]string{
	"p2p":                {}, // carries opaque signed bytes
	"pkg/vfs":            {},
	"mountfs":            {"pkg/vfs"}, // a surface speaks to the file-system interface only
	"pkg/gateway/webdav": {"pkg/vfs"},
	"pkg/gateway/winfsp": {"pkg/vfs"},
}

// forTests is our packages that others import from their tests alone.
var forTests = []string{
	"pkg/api/apitest", "pkg/block/blocktest", "pkg/daemon/daemontest", "pkg/testneed", "pkg/vfs/memfs", "pkg/vfs/vfstest",
	"pkg/web/webtest",
}

// owners says who may import which library, by the longest prefix that fits. "*" is everybody. A library that is not
// here may not be used; each has its line in docs/deps.md.
var owners = map[string][]string{
	"github.com/BurntSushi/toml":             {"pkg/config"},
	"github.com/chromedp/cdproto":            {"pkg/web/webtest"},
	"github.com/chromedp/chromedp":           {"pkg/web/webtest"},
	"github.com/cockroachdb/pebble/v2":       {"pkg/store", "pkg/state"},
	"github.com/cockroachdb/pebble/v2/vfs":   {"pkg/store", "pkg/state", "pkg/pod", "pkg/diskcrypt", "pkg/durable", "pkg/sim"},
	"github.com/google/go-cmp":               forTests,
	"github.com/ipfs/go-cid":                 {"pkg/block", "p2p"},
	"github.com/ipfs/go-datastore":           {"p2p"},
	"github.com/ipfs/go-log/v2":              {"p2p"},
	"github.com/jacobsa/fuse":                {"mountfs", "mountfs/nullfs"},
	"github.com/klauspost/compress":          {"pkg/form"},
	"github.com/klauspost/reedsolomon":       {"erasure"},
	"github.com/libp2p/go-libp2p":            {"p2p"},
	"github.com/libp2p/go-libp2p-kad-dht":    {"p2p"},
	"github.com/libp2p/go-libp2p-kbucket":    {"p2p"},
	"github.com/libp2p/go-libp2p-record":     {"p2p"},
	"github.com/mr-tron/base58":              {"pkg/ident"},
	"github.com/multiformats/go-multiaddr":   {"p2p"},
	"github.com/multiformats/go-multihash":   {"pkg/block", "p2p"},
	"github.com/multiformats/go-multistream": {"p2p"},
	"github.com/prometheus/client_golang":    {"pkg/metrics"},
	"github.com/rogpeppe/go-internal":        {},
	"github.com/spf13/cobra":                 {"cmd/wh", "cmd/wh-sim"},
	"github.com/spf13/pflag":                 {"cmd/wh"},
	"github.com/zeebo/blake3":                {"*"},
	"go.uber.org/goleak":                     {},
	"golang.org/x/crypto/ssh":                {"pkg/sshkey"},
	"golang.org/x/sync":                      {"*"},
	"golang.org/x/sys":                       {"*"},
}

// imported is one import of a file that is no test, whatever system the file is for.
type imported struct {
	file, pkg, path string // pkg is relative to the module
}

func imports(t *testing.T) []imported {
	t.Helper()
	var all []imported
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		for _, spec := range file.Imports {
			to, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all = append(all, imported{file: name, pkg: path.Dir(name), path: to})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool {
		return slices.ContainsFunc(l, func(pattern string) bool {
			ok, err := path.Match(pattern, pkg)
			return ok && err == nil
		})
	})
}

// mayImport says whether the table has an edge between two packages of ours.
func mayImport(from, to string) bool {
	if slices.Contains(forTests, to) {
		return slices.Contains(forTests, from)
	}
	if slices.Contains(forTests, from) || slices.Contains(vocabulary, to) && layerOf(from) >= 0 {
		return true
	}
	if allowed, ok := narrow[from]; ok {
		return slices.Contains(allowed, to)
	}
	return layerOf(to) >= 0 && layerOf(to) < layerOf(from) || slices.Contains(sideways[from], to)
}

// owner is the entry of owners for a library's import path.
func owner(lib string) (users []string, ok bool) {
	for p := lib; p != "."; p = path.Dir(p) {
		if users, ok := owners[p]; ok {
			return users, true
		}
	}
	return nil, false
}

// hasOwner says whether a module, or a part of it, is in owners.
func hasOwner(module string) bool {
	for lib := range owners {
		if lib == module || strings.HasPrefix(lib, module+"/") {
			return true
		}
	}
	return false
}

// Imports go down only. What fails here is either a mistake or a new edge, and then a reviewed line in the tables.
func TestLayers(t *testing.T) {
	all := imports(t)
	if len(all) == 0 {
		t.Fatal("no imports found")
	}
	unknown := make(map[string]bool)
	for _, i := range all {
		if i.pkg != "." && layerOf(i.pkg) < 0 && !slices.Contains(forTests, i.pkg) {
			unknown[i.pkg] = true
			continue
		}
		own, ours := strings.CutPrefix(i.path, module+"/")
		users, known := owner(i.path)
		switch first, _, _ := strings.Cut(i.path, "/"); {
		case ours && !mayImport(i.pkg, own):
			t.Errorf("%s: %s may not import %s", i.file, i.pkg, own)
		case ours || !strings.Contains(first, "."): // the standard library
		case !known:
			t.Errorf("%s: the library %s is not in the table of owners", i.file, i.path)
		case !slices.Contains(users, i.pkg) && !slices.Contains(users, "*"):
			t.Errorf("%s: %s may not import %s: only %v may", i.file, i.pkg, i.path, users)
		}
	}
	for pkg := range unknown {
		t.Errorf("package %s is in no layer: add it to the table", pkg)
	}
}

// The tables themselves must bite: each of these edges is one that was tried or would be harmful.
func TestTablesRefuse(t *testing.T) {
	for _, edge := range [][2]string{
		{"mountfs", "pkg/pod"},
		{"mountfs", "dag"},
		{"p2p", "pkg/state"},
		{"p2p", "dag"},
		{"pkg/member", "pkg/placement"},
		{"dag", "chunker"},
		{"pkg/store", "dag"},
		{"pkg/vfs", "pkg/state"},
		{"pkg/block", "dag"},
		{"pkg/pod", "mountfs"},
		{"pkg/pod", "pkg/block/blocktest"},
		{"pkg/new", "pkg/block"},
		{"pkg/daemon", "cmd/internal/fleet"},
		{"cmd/wh", "cmd/wh-demo"},
	} {
		if mayImport(edge[0], edge[1]) {
			t.Errorf("%s may import %s", edge[0], edge[1])
		}
	}
	for _, edge := range [][2]string{
		{"pkg/pod", "p2p"},
		{"pkg/state", "dag"},
		{"pkg/state", "pkg/vfs"},
		{"mountfs", "pkg/vfs"},
		{"cmd/wh", "pkg/daemon"},
		{"cmd/wh-demo", "cmd/internal/fleet"},
		{"pkg/cbor", "pkg/block"},
		{"pkg/vfs/vfstest", "pkg/vfs/memfs"},
	} {
		if !mayImport(edge[0], edge[1]) {
			t.Errorf("%s may not import %s", edge[0], edge[1])
		}
	}
}

// A dependency is a decision: each direct one is explained.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("docs/deps.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := 0
	for line := range strings.Lines(string(mod)) {
		fields := strings.Fields(line)
		if !strings.HasPrefix(line, "\t") || strings.Contains(line, "// indirect") || len(fields) < 2 {
			continue
		}
		direct++
		if !strings.Contains(string(doc), "`"+fields[0]+"`") {
			t.Errorf("%s has no line in docs/deps.md", fields[0])
		}
		if !hasOwner(fields[0]) {
			t.Errorf("%s has no owner in layers_test.go", fields[0])
		}
	}
	if direct == 0 {
		t.Error("no direct dependency found in go.mod")
	}
}
