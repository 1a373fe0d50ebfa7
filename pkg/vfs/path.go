package vfs

import (
	"context"
	"fmt"
	"strings"
)

// CheckName tells whether a name may stand in a folder. Errors: ErrBadName (empty, ".", "..", with a
// slash or NUL), ErrNameTooLong (more than NameMax bytes).
func CheckName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%w: %q", ErrBadName, name)
	case len(name) > NameMax:
		return fmt.Errorf("%w: %d bytes", ErrNameTooLong, len(name))
	}
	return nil
}

// Resolve walks a path like "/a/b" from the root and never follows a symlink: one at the end is what
// is found, one before it is ErrNotDir. "/" is the root; doubled and trailing slashes don't count.
// Errors: ErrInvalid (no slash in front), ErrBadName ("." or ".." in it), those of Lookup.
func Resolve(ctx context.Context, fs FS, path string) (Attr, error) {
	names, err := splitPath(path)
	if err != nil {
		return Attr{}, err
	}
	if len(names) == 0 {
		return fs.GetAttr(ctx, RootID)
	}
	return walk(ctx, fs, path, names)
}

// ResolveParent walks to the folder that holds the last name of a path, and returns both. The name
// itself need not exist. Errors: as Resolve; ErrInvalid for the root, which is in no folder.
func ResolveParent(ctx context.Context, fs FS, path string) (NodeID, string, error) {
	names, err := splitPath(path)
	if err != nil {
		return 0, "", err
	}
	if len(names) == 0 {
		return 0, "", fmt.Errorf("%w: %q has no parent", ErrInvalid, path)
	}
	last := len(names) - 1
	if last == 0 {
		return RootID, names[0], nil
	}
	a, err := walk(ctx, fs, path, names[:last])
	if err != nil {
		return 0, "", err
	}
	if a.Kind != KindFolder {
		return 0, "", fmt.Errorf("%s: %w", path, ErrNotDir)
	}
	return a.ID, names[last], nil
}

// walk looks up one name after the other; there is one at least.
func walk(ctx context.Context, fs FS, path string, names []string) (Attr, error) {
	a := Attr{ID: RootID}
	for _, name := range names {
		var err error
		if a, err = fs.Lookup(ctx, a.ID, name); err != nil {
			return Attr{}, fmt.Errorf("%s: %w", path, err)
		}
	}
	return a, nil
}

// splitPath is the checked names of a path.
func splitPath(path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("%w: path %q does not begin with a slash", ErrInvalid, path)
	}
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		if err := CheckName(name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
