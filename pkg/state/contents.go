package state

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// nodes are an inode's contents, each as a node: what its links show, and conflict copies. Contents with the same bytes as a newer one are left out.
func (v view) nodes(ino Ino) ([]Node, error) {
	c, err := v.inode(ino)
	if err != nil || c.f == nil || isFolder(c.f) {
		return nil, err
	}
	s := shown{ino: ino, f: c.f}
	first, err := v.node(s)
	if err != nil {
		return nil, err
	}
	out := []Node{first}
	for _, name := range copyNames(ino, c.f) {
		s.content = contentIndex(c.f, name)
		n, err := v.node(s)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// EachContent calls f with every content of a file or symlink that the view shows, conflict copies and uncommitted ones included, as
// of one moment. An error of f ends it and is returned.
func (d *DB) EachContent(ctx context.Context, f func(n Node) error) error {
	return d.read(func(v view) error {
		v, done, err := v.inOrder()
		if err != nil {
			return err
		}
		defer done()
		each := func(ino Ino) error {
			nodes, err := v.nodes(ino)
			if err != nil {
				return err
			}
			for _, n := range nodes {
				if err := ctx.Err(); err != nil {
					return err
				}
				if n.Kind == vfs.KindFile || n.Kind == vfs.KindSymlink {
					if err := f(n); err != nil {
						return err
					}
				}
			}
			return nil
		}
		return v.eachInode(each)
	})
}

// eachInode calls f with the number of every inode: committed ones, then those that were never committed.
func (v view) eachInode(f func(ino Ino) error) error {
	err := scanPrefix(v.r, []byte{KeyInode}, func(key, _ []byte) error {
		ino, _, err := splitNameKey(key)
		if err != nil {
			return err
		}
		return f(ino)
	})
	if err != nil {
		return err
	}
	return scanPrefix(v.r, []byte{keyDirty, KeyInode}, func(key, _ []byte) error {
		ino, _, err := splitNameKey(key[1:])
		if err != nil {
			return err
		}
		committed, err := get(v.r, InodeKey(ino))
		if err != nil || committed != nil {
			return err
		}
		return f(ino)
	})
}

// Contents are the contents of files and symlinks that were committed or applied after a cursor, which begins at 0, as they are now: of about
// limit inodes. What has gone since is left out. next is the cursor to go on with; if it is after, nothing came.
func (d *DB) Contents(after uint64, limit int) (nodes []Node, next uint64, err error) {
	next = after
	err = d.read(func(v view) error {
		v, done, err := v.inOrder()
		if err != nil {
			return err
		}
		defer done()
		seen := map[Ino]bool{}
		return scan(v.r, seqKey(keyContent, after+1), []byte{keyContent + 1}, func(key, value []byte) error {
			if len(key) != 9 || len(value) != 8 {
				return fmt.Errorf("state: content %x: %w", key, block.ErrCorrupt)
			}
			if limit > 0 && len(seen) >= limit {
				return errStop
			}
			next = binary.BigEndian.Uint64(key[1:])
			ino := Ino(binary.BigEndian.Uint64(value))
			if seen[ino] {
				return nil
			}
			seen[ino] = true
			all, err := v.nodes(ino)
			for _, n := range all {
				if n.Kind == vfs.KindFile || n.Kind == vfs.KindSymlink {
					nodes = append(nodes, n)
				}
			}
			return err
		})
	})
	return nodes, next, err
}
