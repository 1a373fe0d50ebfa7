package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// kinds of files.
var kinds = []string{"machine", "pod", "network"}

// networkNames are the keys of the network's file, so that a file of another kind that has one can be told where it belongs. The
// keys themselves are pod.RuleKeys.
var networkNames = []string{
	"policy", "durability", "trash", "dormant", "suspect", "down", "repair", "out", "lower", "moves", "moves_after", "minority", "minority_read_only",
	"access", "members_max", "certificate_life",
}

// NetworkNames are the names of the keys of the network's file.
func NetworkNames() []string { return slices.Clone(networkNames) }

// shape reads the text of a file and checks that it is of a kind and has its keys alone, each with a value of its type.
// What the values say is not looked at. The error is ErrBad.
func (k Keys) shape(path string, b []byte) (map[string]any, error) {
	var all map[string]any
	if _, err := toml.Decode(string(b), &all); err != nil {
		return nil, located(path, b, "", err)
	}
	if err := checkKind(all, k.Kind); err != nil {
		return nil, located(path, b, "kind", err)
	}
	if err := checkVersion(all); err != nil {
		return nil, located(path, b, "version", err)
	}
	for _, name := range inOrder(b, all) {
		if name == "kind" || name == "version" {
			continue
		}
		if i := slices.IndexFunc(k.Tables, func(t Table) bool { return t.Name == name }); i >= 0 {
			if err := k.tables(path, b, k.Tables[i], all[name]); err != nil {
				return nil, err
			}
			continue
		}
		key, err := k.Find(name)
		if err != nil {
			return nil, located(path, b, name, k.unknown(name, ""))
		}
		if _, err := key.text(all[name]); err != nil {
			return nil, located(path, b, name, fmt.Errorf("%s: %w", name, err))
		}
	}
	return all, nil
}

// checkKind says whether a file is of a kind; "" is any.
func checkKind(all map[string]any, want string) error {
	kind, ok := all["kind"].(string)
	switch {
	case all["kind"] == nil:
		return fmt.Errorf("it doesn't say its kind: its first line is to be kind = %q, or another of %s", max(want, kinds[0]), strings.Join(kinds, ", "))
	case !ok || !slices.Contains(kinds, kind):
		return fmt.Errorf("kind %v is not %s", all["kind"], strings.Join(kinds, ", "))
	case want != "" && kind != want:
		return fmt.Errorf("kind is %q, not %q", kind, want)
	}
	return nil
}

func checkVersion(all map[string]any) error {
	v, ok := all["version"].(int64)
	switch {
	case all["version"] == nil:
		return fmt.Errorf("it doesn't say its version: its second line is to be version = %d", Version)
	case ok && v > Version:
		return fmt.Errorf("version is %d, of a newer program; this one reads version %d", v, Version)
	case v != Version:
		return fmt.Errorf("version is %v; this program reads version %d", all["version"], Version)
	}
	return nil
}

// inOrder are the keys of a file as they come in it, so that the first mistake is told of first.
func inOrder(b []byte, all map[string]any) []string {
	names := slices.Sorted(maps.Keys(all))
	slices.SortStableFunc(names, func(x, y string) int { return lineOf(b, x) - lineOf(b, y) })
	return names
}

// tables checks the keys of all tables of one name.
func (k Keys) tables(path string, b []byte, t Table, v any) error {
	list, ok := v.([]map[string]any)
	if !ok {
		return located(path, b, t.Name, fmt.Errorf("%s is a table that may be there any number of times: [[%s]]", t.Name, t.Name))
	}
	for i, one := range list {
		for _, name := range inOrder(b, one) {
			j := slices.IndexFunc(t.All, func(key Key) bool { return key.Name == name })
			var err error
			if j < 0 {
				err = k.unknown(name, t.Name)
			} else if _, err = t.All[j].text(one[name]); err != nil {
				err = fmt.Errorf("%s: %s: %w", t.Name, name, err)
			}
			if err != nil {
				return fmt.Errorf("config: %s:%d: %w: %w", path, lineInTable(b, t.Name, i, name), ErrBad, err)
			}
		}
	}
	return nil
}

// unknown says of a key that a file has and should not where it belongs, or what was probably meant. Table is the table that it stands in;
// "": none.
func (k Keys) unknown(name, table string) error {
	full := name
	if table != "" {
		full = table + "." + name
		if _, err := k.Find(name); err == nil {
			return fmt.Errorf("unknown key %q: what follows [[%s]] is of that table; %s stands before the first [[%s]]", full, table, name, table)
		}
	}
	if near := k.near(full); near != "" {
		return fmt.Errorf("unknown key %q; do you mean %q?", full, near)
	}
	for _, other := range []Keys{MachineKeys(), PodKeys()} {
		if slices.Contains(other.names(), name) {
			return fmt.Errorf("unknown key %q; it is a key of %s.toml", full, other.Kind)
		}
	}
	if k.Kind != "network" && slices.Contains(networkNames, name) {
		return fmt.Errorf("unknown key %q; it is a rule of the network: wh config set --network %s VALUE", full, name)
	}
	names := k.names()
	for _, t := range k.Tables {
		names = append(names, "[["+t.Name+"]]")
	}
	return fmt.Errorf("unknown key %q; there are %s", full, strings.Join(names, ", "))
}

// syntax is what is wrong with the syntax of a file, with what is probably missing.
func syntax(message string) string {
	switch {
	case strings.Contains(message, "expected value but found"):
		return message + "; a text stands in quotes, and a switch is true or false"
	case strings.Contains(message, "expected '.' or '='"):
		return message + "; a line is KEY = VALUE"
	}
	return message
}

// nearest is the word that is probably meant by another, or "".
func nearest(words []string, name string) string {
	best, most := "", len(name)/3+2
	for _, w := range words {
		if d := distance(strings.ToLower(name), w); d < most {
			best, most = w, d
		}
	}
	return best
}

// oneOf says whether a value is one of some words, and else which there are, and which was probably meant.
func oneOf(what, value string, words []string) error {
	if slices.Contains(words, value) {
		return nil
	}
	if near := nearest(words, value); near != "" {
		return fmt.Errorf("%s %q is not %s; do you mean %q?", what, value, strings.Join(words, ", "), near)
	}
	return fmt.Errorf("%s %q is not %s", what, value, strings.Join(words, ", "))
}

// negative says what is wrong with a number below 0, and what 0 means.
func negative(keys []Key, name string) error {
	for _, key := range keys {
		if i := strings.LastIndex(key.Doc, "0: "); key.Name == name && i >= 0 {
			return fmt.Errorf("%s can't be negative; %s", name, strings.TrimSuffix(key.Doc[i:], "."))
		}
	}
	return fmt.Errorf("%s can't be negative", name)
}
