package client

import (
	"fmt"
	"hash/fnv"
	"os"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// A stage is a hidden folder beside the one that a get is to make. It gets that one's name when all is in it: so the target is
// never there in part, and the same get after an interruption, which finds no target, goes on in the same stage.
type stage struct {
	name string
	lock *os.File // held while a get is at work in it
	left []leftover
}

// stageMark is part of the name of each stage.
const stageMark = ".wh-get-"

// stageName is the name of the stage for what is got of a source under a name: the same each time.
func stageName(name, source string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name + "\x00" + source)) // A hash takes everything.
	mark := fmt.Sprintf("%s%016x", stageMark, h.Sum64())
	return "." + name[:min(len(name), vfs.NameMax-1-len(mark))] + mark
}

// leftover is a folder of a stage with what an earlier get has left in it and this one did not bring.
type leftover struct {
	below string // the folder's path below the top
	it    api.Item
	names []string
}

// left is what is in a folder of a stage that this get did not bring.
func (d *destFolder) left() (leftover, error) {
	l := leftover{below: d.below, it: d.it}
	f, err := d.root.Open(".")
	if err != nil {
		return l, err
	}
	names, err := f.Readdirnames(-1)
	_ = f.Close() // Only a handle.
	for _, name := range names {
		if !d.seen[name] {
			l.names = append(l.names, name)
		}
	}
	return l, err
}

// remove removes it, and gives the folder its time again.
func (l leftover) remove(top *os.Root) error {
	d, err := (&destFolder{it: l.it}).use(top.OpenRoot(l.below))
	if err != nil {
		return err
	}
	if err := d.root.Chmod(".", 0o700); err != nil {
		d.close()
		return err
	}
	for _, name := range l.names {
		if err := d.root.RemoveAll(name); err != nil {
			d.close()
			return err
		}
	}
	return d.finish()
}
