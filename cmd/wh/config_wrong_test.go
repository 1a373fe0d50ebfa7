package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// wrongConfigs are files with one mistake each: the line where it stands, and words of what the user is told, namely what is allowed, or
// what was probably meant.
var wrongConfigs = []struct {
	name, kind, text string
	line             int // 0: of no line, but of the whole file
	want             []string
}{
	{"the machine's log level", "machine", "log_level = \"loud\"", 3, []string{"debug, info, warn and error"}},
	{"a level in capitals that is none", "machine", "\nlog_level = \"WARNING\"", 4, []string{`do you mean "warn"`}},
	{"a level of a part that is none", "machine", "log_levels = [\"store=warn\", \"p2=debug\"]", 3, []string{`do you mean "p2p"`, "daemon, api, pod"}},
	{"a level of a part without the part", "machine", "log_levels = [\"debug\"]", 3, []string{"PART=LEVEL"}},
	{"a format that is none", "machine", "log_format = \"jsn\"", 3, []string{`do you mean "json"`}},
	{"a misspelt key of the machine", "machine", "log_lvel = \"info\"", 3, []string{`do you mean "log_level"`}},
	{"a key of a pod in the machine's file", "machine", "cache_bytes = 1", 3, []string{"pod.toml"}},
	{"a rule of the network in the machine's file", "machine", "trash = \"1h\"", 3, []string{"wh config set --network"}},
	{"a number for a level", "machine", "log_level = 3", 3, []string{"a text"}},
	{"metrics without a port", "machine", "metrics_listen = \"localhost\"", 3, []string{"HOST:PORT"}},
	{"metrics at a port that is none", "machine", "metrics_listen = \"127.0.0.1:70000\"", 3, []string{"0 to 65535"}},
	{"a notification without a name", "machine", "[[notify]]\nkind = \"desktop\"", 3, []string{"name", "1 to 63"}},
	{"a notification of no kind", "machine", "[[notify]]\nname = \"me\"\nkind = \"mail\"", 5, []string{"command, webhook, email, desktop", `do you mean "email"`}},
	{"a severity that is none", "machine", "[[notify]]\nname = \"me\"\nkind = \"desktop\"\nseverity = \"bad\"", 6, []string{"notice, warning, error"}},
	{"two notifications of one name", "machine", "[[notify]]\nname = \"me\"\nkind = \"desktop\"\n[[notify]]\nname = \"me\"\nkind = \"desktop\"", 7, []string{"two notify tables"}},
	{"a webhook without https", "machine", "[[notify]]\nname = \"me\"\nkind = \"webhook\"\nurl = \"example.org\"", 6, []string{"https://"}},
	{"an e-mail to nobody", "machine", "[[notify]]\nname = \"me\"\nkind = \"email\"\nserver = \"a:25\"\nfrom = \"a@b\"", 3, []string{"to = [\"me@example.org\"]"}},
	{"an e-mail from no address", "machine", "[[notify]]\nname = \"me\"\nkind = \"email\"\nserver = \"a:25\"\nfrom = \"me\"\nto = [\"a@b\"]", 7, []string{"me@example.org"}},
	{"a command without a program", "machine", "[[notify]]\nname = \"me\"\nkind = \"command\"", 3, []string{"command = [\"PROGRAM\""}},
	{"a misspelt key of a notification", "machine", "[[notify]]\nname = \"me\"\nkind = \"desktop\"\nseverty = \"error\"", 6, []string{`do you mean "notify.severity"`}},
	{"one notification as a table", "machine", "[notify]\nname = \"me\"", 3, []string{"[[notify]]"}},
	{"a text that does not end", "machine", "log_level = \"info", 3, []string{"string"}},
	{"a key twice", "machine", "log_level = \"info\"\nlog_level = \"warn\"", 4, []string{"already"}},

	{"a misspelt key of a pod", "pod", "cash_bytes = 1", 5, []string{`do you mean "cache_bytes"`}},
	{"a size as a text", "pod", "cache_bytes = \"20GiB\"", 5, []string{"number of bytes", "21474836480"}},
	{"a size with a fraction", "pod", "cache_bytes = 1.5", 5, []string{"number of bytes"}},
	{"a size below nothing", "pod", "capacity_bytes = -1", 5, []string{"negative", "0: what the disk has"}},
	{"a rate below nothing", "pod", "rate_up_bytes = -5", 5, []string{"negative", "0: no limit"}},
	{"yes instead of true", "pod", "discover = yes", 5, []string{"true or false"}},
	{"true as a text", "pod", "discover = \"true\"", 5, []string{"true or false"}},
	{"a listen address that is no list", "pod", "listen = \"0.0.0.0:4001\"", 5, []string{"a list of texts", `["0.0.0.0:4001"]`}},
	{"a listen address without a port", "pod", "listen = [\"0.0.0.0\"]", 5, []string{"HOST:PORT"}},
	{"a listen address as libp2p writes it", "pod", "listen = [\"/ip4/0.0.0.0/tcp/4001\"]", 5, []string{"HOST:PORT", "0.0.0.0:4001"}},
	{"an address of all machines that is announced", "pod", "announce = [\"0.0.0.0:4001\"]", 5, []string{"can be connected"}},
	{"an announced address without a port", "pod", "announce = [\"home.example.org\"]", 5, []string{"HOST:PORT"}},
	{"an entry point that is no list", "pod", "entry_points = \"home.example.org:4001\"", 5, []string{"a list of texts"}},
	{"an entry point of any port", "pod", "entry_points = [\"home.example.org:0\"]", 5, []string{"port that is not 0"}},
	{"a reserve that is too small", "pod", "reserve_bytes = 1000", 5, []string{"67108864", "0: 64 MiB"}},
	{"a priority over its limit", "pod", "priority = 101", 5, []string{"from 0 to 100"}},
	{"a mount that is not absolute", "pod", "[[mount]]\ndir = \"photos\"", 6, []string{"absolute"}},
	{"a mount in the home folder", "pod", "[[mount]]\ndir = \"~/photos\"", 6, []string{"absolute", "~"}},
	{"a mount option that is none", "pod", "[[mount]]\ndir = \"/photos\"\noptions = [\"read_only\"]", 7, []string{"allow_other, ro", `do you mean "ro"`}},
	{"mount options that exclude each other", "pod", "[[mount]]\ndir = \"/photos\"\noptions = [\"ro\", \"writeback\"]", 7, []string{"don't go together"}},
	{"a mount option in the second mount", "pod", "[[mount]]\ndir = \"/a\"\noptions = [\"ro\"]\n[[mount]]\ndir = \"/b\"\noptions = [\"uid=me\"]", 10, []string{"number of a user"}},
	{"two mounts at one folder", "pod", "[[mount]]\ndir = \"/a\"\n[[mount]]\ndir = \"/a/\"", 8, []string{"two mounts"}},
	{"a weight below nothing", "pod", "weight = -1", 5, []string{"from 0 to 1000000"}},
	{"a weight as a text", "pod", "weight = \"100\"", 5, []string{"a whole number"}},
	{"a zone with a space", "pod", "zone = \"the cellar\"", 5, []string{"letters, digits"}},
	{"a key of the pod after a table", "pod", "[[mount]]\ndir = \"/a\"\ncache_bytes = 5", 7, []string{"before the first [[mount]]"}},

	{"a misspelt rule", "network", "tarsh = \"1h\"", 3, []string{`do you mean "trash"`}},
	{"a duration without a unit", "network", "trash = \"48\"", 3, []string{"a duration", `"48h"`}},
	{"a duration in days", "network", "trash = \"2d\"", 3, []string{"a duration", `"48h"`}},
	{"a duration as a number", "network", "trash = 48", 3, []string{"a duration"}},
	{"a duration of nothing", "network", "dormant = \"0s\"", 3, []string{"longer than nothing"}},
	{"a policy that is none", "network", "policy = \"mirror\"", 3, []string{"replica:N", "rs:K+M"}},
	{"replicas without their number", "network", "policy = \"replica\"", 3, []string{"replica:N"}},
	{"fragments that can't be made", "network", "policy = \"rs:0+2\"", 3, []string{"rs:K+M"}},
	{"a durability that is none", "network", "durability = \"fast\"", 3, []string{"local", "quorum", "full"}},
	{"a rule in a table", "network", "[rules]\ntrash = \"1h\"", 3, []string{"rules"}},

	{"no kind", "", "version = 1", 0, []string{`kind = "machine"`, "pod", "network"}},
	{"a kind that is none", "", "kind = \"house\"\nversion = 1", 1, []string{"machine, pod, network"}},
	{"no version", "", "kind = \"machine\"\nlog_level = \"info\"", 0, []string{"version = 1"}},
	{"a version of later", "", "kind = \"machine\"\nversion = 2", 2, []string{"version 1", "newer"}},
	{"no TOML at all", "", "log_level: info", 1, []string{"KEY = VALUE"}},
	{"an empty file", "", "", 0, []string{"kind = "}},
}

// Each wrong configuration is told of by file and line, with what is allowed or what was meant.
func TestWrongConfigs(t *testing.T) {
	if len(wrongConfigs) < 40 {
		t.Fatalf("%d wrong configurations", len(wrongConfigs))
	}
	for _, c := range wrongConfigs {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "my.toml")
			head := map[string]string{
				"machine": "kind = \"machine\"\nversion = 1\n", "network": "kind = \"network\"\nversion = 1\n",
				"pod": "kind = \"pod\"\nversion = 1\nnetwork = \"" + strings.Repeat("ab", 32) + "\"\nname = \"box\"\n",
			}[c.kind]
			if err := os.WriteFile(path, []byte(head+c.text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var talk bytes.Buffer
			e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &talk, clock: clock.Real{}}
			if code := execute(t.Context(), e, []string{"--home", t.TempDir(), "config", "check", path}); code != exitUsage {
				t.Errorf("exit %d", code)
			}
			at := path + ": "
			if c.line > 0 {
				at = fmt.Sprintf("%s:%d: ", path, c.line)
			}
			for _, want := range append([]string{at}, c.want...) {
				if !strings.Contains(talk.String(), want) {
					t.Errorf("%q is not in:\n%s", want, strings.ReplaceAll(talk.String(), path, "FILE"))
				}
			}
		})
	}
}

// The page about the configuration has all keys as the templates tell of them; go test ./cmd/wh -run ConfigurationPage -update writes it anew.
func TestConfigurationPage(t *testing.T) {
	const file = "../../docs/configuration.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := string(b)
	for _, kind := range scopes {
		keys, err := keysOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		head := "```toml\nkind = \"" + kind + "\"\n"
		i := strings.Index(want, head)
		if i < 0 {
			t.Fatalf("%s has no %q", file, head)
		}
		end := i + len(head) + strings.Index(want[i+len(head):], "```")
		want = want[:i] + "```toml\n" + keys.Template() + want[end:]
	}
	const head = "\n| rule | what it says | if nothing is set |\n|---|---|---|\n"
	before, after, found := strings.Cut(want, head)
	if !found {
		t.Fatalf("%s has no table of the rules of paths", file)
	}
	_, after, _ = strings.Cut("\n"+after, "\n\n")
	want = before + head
	for _, k := range pod.PathKeys().All {
		want += fmt.Sprintf("| `--%s` | %s | %s |\n", k.Name, strings.ReplaceAll(k.Doc, "\n", " "), orDash(k.Default))
	}
	want += "\n" + after
	if want == string(b) {
		return
	}
	if !*update {
		t.Fatalf("%s has not the keys of the templates: run the test with -update", file)
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
