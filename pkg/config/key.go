package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoKey says that a file of this kind has no such key.
var ErrNoKey = errors.New("no such key")

// Type is what the value of a key looks like.
type Type int

// The types of values.
const (
	Text     Type = iota
	List          // texts, with commas between them on a command line
	Bool          // true or false
	Bytes         // a number of bytes; on a command line with KiB, MiB, GiB or TiB behind it, or without
	Duration      // as time.ParseDuration has it: 90s, 48h
	Number        // a whole number, 0 or more
)

// Key is one key of a file, as its template tells of it and as it is set by a command. Tables of a file, like the mounts of a pod,
// are no keys.
type Key struct {
	Name    string
	Doc     string // lines of at most 100 characters
	Type    Type
	Default string // as on a command line; what holds where a file doesn't say
	Restart bool   // a change is in force at the next `wh up`
	Fixed   bool   // decided when the pod is made
	Check   func(value string) error
}

// Keys are the keys of a kind of file, in the order of its template.
type Keys struct {
	Kind   string
	All    []Key
	Tables []Table
}

// Table is a table that a file may have any number of times: [[NAME]]. Its keys are set in the file, not by a command.
type Table struct {
	Name string
	Doc  string
	All  []Key // Default is an example
}

// Find is the key of a name. The error is ErrNoKey, and says which name was probably meant.
func (k Keys) Find(name string) (Key, error) {
	for _, key := range k.All {
		if key.Name == name {
			return key, nil
		}
	}
	if near := k.near(name); near != "" {
		return Key{}, fmt.Errorf("%w: %q; do you mean %q?", ErrNoKey, name, near)
	}
	return Key{}, fmt.Errorf("%w: %q; there are %s", ErrNoKey, name, strings.Join(k.names(), ", "))
}

func (k Keys) names() []string {
	var out []string
	for _, key := range k.All {
		out = append(out, key.Name)
	}
	return out
}

// near is the key that a misspelt name is probably meant to be, or "".
func (k Keys) near(name string) string {
	best, most := "", len(name)/3+2
	for _, key := range k.allKeys() {
		if d := distance(name, key.Name); d < most {
			best, most = key.Name, d
		}
	}
	return best
}

// allKeys are the keys outside of tables, then TABLE.KEY of those within.
func (k Keys) allKeys() []Key {
	out := slices.Clone(k.All)
	for _, t := range k.Tables {
		for _, key := range t.All {
			key.Name = t.Name + "." + key.Name
			out = append(out, key)
		}
	}
	return out
}

// distance is how many letters must be changed, put in or taken out to make b of a (Levenshtein 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Literal is a value of a command line as the file has it. The error is ErrBad.
func (k Key) Literal(value string) (string, error) {
	lit, err := k.literal(value)
	if err == nil && k.Check != nil {
		err = k.Check(value)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrBad, k.Name, err)
	}
	return lit, nil
}

func (k Key) literal(value string) (string, error) {
	switch k.Type {
	case List:
		var items []string
		for item := range strings.SplitSeq(value, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, quote(item))
			}
		}
		return "[" + strings.Join(items, ", ") + "]", nil
	case Bool:
		if value != "true" && value != "false" {
			return "", fmt.Errorf("%q is neither true nor false", value)
		}
		return value, nil
	case Bytes:
		n, err := ParseBytes(value)
		return strconv.FormatInt(n, 10), err
	case Number:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return "", fmt.Errorf("%q is no whole number of 0 or more", value)
		}
		return strconv.FormatInt(n, 10), nil
	case Duration:
		d, err := time.ParseDuration(value)
		switch {
		case err != nil:
			err = fmt.Errorf("%q is not a duration, as \"48h\", \"10m\" or \"90s\"", value)
		case d <= 0:
			err = errors.New("it must be longer than nothing")
		}
		return quote(value), err
	}
	return quote(value), nil
}

// quote is a text as TOML has it: a basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ParseBytes reads a number of bytes: digits, with KiB, MiB, GiB or TiB behind them, or without.
func ParseBytes(s string) (int64, error) {
	shift := 0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(s, unit); ok {
			s, shift = strings.TrimSpace(rest), 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n > 1<<62>>shift {
		return 0, fmt.Errorf("%q is no number of bytes, such as 1048576 or 20GiB", s)
	}
	return int64(n) << shift, nil
}

// Template is a file of this kind with all keys, their meaning and their defaults. Keys that have no default are commented out.
func (k Keys) Template() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind = %q\nversion = %d\n", k.Kind, Version)
	for _, key := range k.All {
		b.WriteByte('\n')
		for line := range strings.SplitSeq(key.Doc, "\n") {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		if key.Restart {
			b.WriteString("# A change is in force at the next wh up.\n")
		}
		lit, err := key.Literal(key.Default)
		if key.Fixed || err != nil {
			fmt.Fprintf(&b, "# %s =\n", key.Name)
			continue
		}
		fmt.Fprintf(&b, "%s = %s\n", key.Name, lit)
	}
	for _, t := range k.Tables {
		fmt.Fprintf(&b, "\n# %s\n# [[%s]]\n", strings.ReplaceAll(t.Doc, "\n", "\n# "), t.Name)
		for _, key := range t.All {
			lit, _ := key.literal(key.Default) // an example, which a test reads
			fmt.Fprintf(&b, "# # %s\n# %s = %s\n", strings.ReplaceAll(key.Doc, "\n", "\n# # "), key.Name, lit)
		}
	}
	return b.String()
}

// Edit sets a key in the text of a file, whose other lines, comments among them, stay as they are. The literal is one line.
func Edit(text []byte, key, literal string) []byte {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	set := key + " = " + literal
	end := len(lines)
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(strings.TrimLeft(lines[i], " \t"), "[") {
			end = i // tables begin
			break
		}
		if lineOf([]byte(lines[i]), key) == 0 {
			continue
		}
		last := i
		for open := brackets(lines[i]); open > 0 && last+1 < len(lines); {
			last++
			open += brackets(lines[last])
		}
		lines = slices.Replace(lines, i, last+1, set)
		return []byte(strings.Join(lines, "\n") + "\n")
	}
	lines = slices.Insert(lines, end, set)
	return []byte(strings.Join(lines, "\n") + "\n")
}

// brackets is how many brackets a line opens more than it closes, outside of texts and comments.
func brackets(line string) int {
	n, quoted := 0, byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted != 0 && c == '\\' && quoted == '"':
			i++
		case quoted != 0:
			if c == quoted {
				quoted = 0
			}
		case c == '"' || c == '\'':
			quoted = c
		case c == '#':
			return n
		case c == '[':
			n++
		case c == ']':
			n--
		}
	}
	return n
}
