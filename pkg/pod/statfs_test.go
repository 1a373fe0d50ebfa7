package pod

import (
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/placement"
)

// TestStoredShare breaks where df promises room that copies and parity take.
func TestStoredShare(t *testing.T) {
	for _, c := range []struct {
		policy   string
		pods     int
		kept, of uint64
	}{
		{"none", 5, 1, 1}, {"raid0", 5, 1, 1}, {"replica:2", 5, 1, 2}, {"replica:3", 2, 1, 2}, {"replica:2", 0, 1, 1}, {"raid1", 4, 1, 2}, {"rs:4+2", 7, 4, 6}, {"raid5", 4, 2, 3},
	} {
		policy, err := placement.ParsePolicy(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		if kept, of := storedShare(policy.Resolve(c.pods), c.pods); kept != c.kept || of != c.of {
			t.Errorf("%s on %d pods: %d of %d bytes, want %d of %d", c.policy, c.pods, kept, of, c.kept, c.of)
		}
	}
}

// TestStatFS breaks if statfs tells of room that is not there, or of none.
func TestStatFS(t *testing.T) {
	p := firstPod(t)
	st, err := p.fs.StatFS(quickly(t))
	if err != nil {
		t.Fatal(err)
	}
	disk := uint64(p.store.Usage().FreeBytes)
	if st.Free == 0 || st.Free > st.Total || st.Free > 2*disk || st.Free < disk/2 {
		t.Errorf("%+v, with %d bytes free on the only disk", st, disk)
	}
}
