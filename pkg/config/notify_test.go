package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const machineHead = "kind = \"machine\"\nversion = 1\n"

func loadMachineText(t *testing.T, text string) (Machine, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), MachineFile)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadMachine(path)
}

// Every key of a table is documented, and the examples of the template are good ones when their comment signs are taken away.
func TestNotifyTable(t *testing.T) {
	var tags, names []string
	for f := range reflect.TypeFor[Notify]().Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		tags = append(tags, tag)
	}
	for _, k := range notifyTable.All {
		names = append(names, k.Name)
	}
	if d := cmp.Diff(tags, names); d != "" {
		t.Error(d)
	}
	_, table, ok := strings.Cut(MachineKeys().Template(), "# [[notify]]\n")
	if !ok {
		t.Fatal("no table in the template")
	}
	text := machineHead + "[[notify]]\n"
	for line := range strings.Lines(table) {
		text += strings.TrimPrefix(line, "# ")
	}
	m, err := loadMachineText(t, text)
	if err != nil || len(m.Notify) != 1 || m.Notify[0].Server != "mail.example.org:587" || len(m.Notify[0].Command) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

// What is wrong with a table is said with its line, and no secret is in it.
func TestNotifyMistakes(t *testing.T) {
	for table, want := range map[string]string{
		"name = \"a\"\nkind = \"fax\"\n":                                                                  ":5: ",
		"kind = \"desktop\"\n":                                                                            "name \"\" has 0 bytes",
		"name = \"a\"\nkind = \"desktop\"\nseverity = \"bad\"\n":                                          ":6: ",
		"name = \"a\"\nkind = \"command\"\n":                                                              ":3: ",
		"name = \"a\"\nkind = \"webhook\"\nurl = \"secret.example\"\n":                                    ":6: ",
		"name = \"a\"\nkind = \"email\"\nserver = \"mail\"\n":                                             ":6: ",
		"name = \"a\"\nkind = \"email\"\nserver = \"m:25\"\n":                                             "somebody to get it",
		"name = \"a\"\nkind = \"email\"\nserver = \"m:25\"\nto = [\"x\"]\nfrom = \"a@b\"\n":               "no address",
		"name = \"a\"\nkind = \"email\"\nserver = \"m:25\"\nto = [\"x@y\"]\nfrom = \"a@b\"\nuser=\"u\"\n": "password_file",
		"name = \"a\"\nkind = \"desktop\"\nseverty = \"error\"\n":                                         "do you mean \"notify.severity\"",
		"name = \"a\"\nkind = \"desktop\"\n[[notify]]\nname = \"a\"\nkind = \"desktop\"\n":                "two notify tables",
	} {
		_, err := loadMachineText(t, machineHead+"[[notify]]\n"+table)
		if !errors.Is(err, ErrBad) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret.example") {
			t.Errorf("%s: %v, want %q", table, err, want)
		}
	}
}
