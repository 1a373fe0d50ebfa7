//go:build unix

package server

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// hollow is a file without a byte in it.
type hollow struct{ vfs.File }

func (hollow) NextData(context.Context, int64) (from, to int64, err error) { return 0, 0, io.EOF }

// TestGetAllHoles: a file of the greatest size there is, which has no bytes, costs whoever gets it no time and no room, though most disks know no such sizes.
func TestGetAllHoles(t *testing.T) {
	for name, size := range map[string]int64{"1 TiB": 1 << 40, "the greatest": vfs.FileMax} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "f"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }() // A test's.
			err = writeData(t.Context(), hollow{}, hollow{}, &writer{to: f}, [2][]byte{}, size)
			if err != nil && !errors.Is(err, unix.EFBIG) && !errors.Is(err, unix.EINVAL) {
				t.Error(err)
			}
			var st unix.Stat_t
			if err := errors.Join(f.Sync(), unix.Fstat(int(f.Fd()), &st)); err != nil || st.Blocks > 16 {
				t.Errorf("%d blocks, %v", st.Blocks, err)
			}
		})
	}
}
