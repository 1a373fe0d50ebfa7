package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// KindOf is the kind that a file says it is of. The error is ErrBad, or the file system's.
func KindOf(path string) (string, error) {
	b, err := read(path)
	if err != nil {
		return "", err
	}
	var all map[string]any
	if _, err := toml.Decode(string(b), &all); err != nil {
		return "", located(path, b, "", err)
	}
	if err := checkKind(all, ""); err != nil {
		return "", located(path, b, "kind", err)
	}
	kind, _ := all["kind"].(string) // as was checked
	return kind, nil
}

// Check reads a file that has keys alone, and says what is wrong with it: an unknown key, a value of another type or one that is not
// allowed. The error is ErrBad, or the file system's.
func (k Keys) Check(path string) error {
	b, err := read(path)
	if err != nil {
		return err
	}
	all, err := k.shape(path, b)
	if err != nil {
		return err
	}
	for _, name := range inOrder(b, all) {
		if name == "kind" || name == "version" {
			continue
		}
		key, err := k.Find(name)
		if err == nil {
			err = key.fits(all[name])
		}
		if err != nil {
			return located(path, b, name, err)
		}
	}
	return nil
}

// fits says whether a value of the key's type is allowed.
func (k Key) fits(v any) error {
	text, err := k.text(v)
	if err == nil {
		_, err = k.literal(text)
	}
	if err == nil && k.Check != nil {
		err = k.Check(text)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", k.Name, err)
	}
	return nil
}

// text is a value that was read, as on a command line.
func (k Key) text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		if k.Type == Text || k.Type == Duration {
			return v, nil
		}
	case bool:
		if k.Type == Bool {
			return strconv.FormatBool(v), nil
		}
	case int64:
		if k.Type == Bytes || k.Type == Number {
			return strconv.FormatInt(v, 10), nil
		}
	case []any:
		var items []string
		for _, item := range v {
			s, ok := item.(string)
			if !ok || k.Type != List {
				return "", fmt.Errorf("a list of %T", item)
			}
			items = append(items, s)
		}
		if k.Type == List {
			return strings.Join(items, ","), nil
		}
	}
	return "", k.mistyped(v)
}

// mistyped says that a value is not of the key's type, and how it was probably meant.
func (k Key) mistyped(v any) error {
	if _, ok := v.(map[string]any); ok {
		return fmt.Errorf("a table is not of its type: %s", k.Type)
	}
	s, isText := v.(string)
	switch n, err := ParseBytes(s); {
	case isText && k.Type == Bytes && err == nil:
		return fmt.Errorf("%q is not of its type: %s; it would be %d", s, k.Type, n)
	case isText && k.Type == List:
		return fmt.Errorf("%q is not of its type: a list of texts; do you mean [%q]?", s, s)
	}
	return fmt.Errorf("%v is not of its type: %s", v, k.Type)
}

// String is a type in words.
func (t Type) String() string {
	switch t {
	case List:
		return "a list of texts, as [\"a\", \"b\"]"
	case Bool:
		return "true or false"
	case Bytes:
		return "a number of bytes"
	case Number:
		return "a whole number"
	case Duration:
		return "a duration, as \"48h\""
	}
	return "a text, as \"a\""
}

// read reads a file of a sane size.
func read(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if st.Size() > sizeMax {
		return nil, fmt.Errorf("config: %s: %w: %d bytes, more than %d", path, ErrBad, st.Size(), sizeMax)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return b, nil
}

// setIn sets a key in a file, which is made if it isn't there, and keeps its other lines. parse reads the new text before it takes the place
// of the old one. It is durable when nil is returned. The error is ErrBad or ErrNoKey, or the file system's.
func setIn(path string, keys Keys, name, value string, parse func(path string, b []byte) error) error {
	key, err := keys.Find(name)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if key.Fixed {
		return fmt.Errorf("config: %w: %s was decided when the pod was made", ErrBad, name)
	}
	lit, err := key.Literal(value)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	b, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b = fmt.Appendf(nil, "kind = %q\nversion = %d\n", keys.Kind, Version)
	case err != nil:
		return err
	}
	b = Edit(b, name, lit)
	if err := parse(path, b); err != nil {
		return err
	}
	if err := WriteFile(path, b); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}
