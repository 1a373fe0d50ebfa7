// Package testneed is what tests need of the machine on which they run: how they say that something is missing, and how they are another of its users. Where WH_NEED_ALL is set, as .ci/run does where root, FUSE and network
// namespaces are there, nothing may be missing: a test that skips then would look like one that passes.
package testneed

import (
	"os"
	"testing"
)

// Missing skips a test for something that the machine does not have, loudly; with WH_NEED_ALL the test fails.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("WH_NEED_ALL") != "" { //nolint:forbidigo // only tests call it
		t.Fatalf("WH_NEED_ALL is set, and here it is missing: "+format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}
