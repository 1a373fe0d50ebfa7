package pod

import (
	"encoding/binary"
	"os"
	"path/filepath"

	"github.com/zeebo/blake3"
)

// machineFile names the machine on Linux (machine-id(5)).
const machineFile = "/etc/machine-id"

// copyName tells this copy of a pod's directory from others: BLAKE3-256 of the machine's id and of the numbers that the file system gave to
// the key's file and to the state's directory, which a copy and what is brought back from a backup do not have. Copies by snapshots of a whole disk have the same
// name; they are found when they meet another pod.
func copyName(dir string) []byte {
	h := blake3.New()
	_, _ = h.WriteString("wormhole/copy-name/1") // a hash takes everything
	id, err := os.ReadFile(machineFile)
	if err == nil {
		_, _ = h.Write(id)
	}
	for _, name := range []string{fileKey, "state"} {
		var n [8]byte
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			binary.BigEndian.PutUint64(n[:], fileNumber(info))
		}
		_, _ = h.Write(n[:])
	}
	return h.Sum(nil)
}
