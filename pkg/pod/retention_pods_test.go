package pod

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRetentionOnTwoPods breaks if a rule that one pod set has the other one give up what a snapshot that somebody named there has, or what the rule is not about, or
// keep what nothing keeps any more.
func TestRetentionOnTwoPods(t *testing.T) {
	two := newTheseTwo(t).open(t)
	two.meet()
	first, second := two.pods[0], two.pods[1]
	version := func(path, v string) string {
		return strings.Repeat("version "+v+" of "+path+", which has chunks\n", 300)
	}
	write := func(v string) {
		t.Helper()
		first.testPod.write("/f.txt", version("/f.txt", v))
		second.testPod.write("/d/x", version("/d/x", v))
		two.same()
	}
	now := func() string {
		t.Helper()
		two.clock.turn(2 * time.Second)
		at := two.clock.Now().UTC().Format(time.RFC3339Nano)
		two.clock.turn(2 * time.Second)
		return at
	}
	write("1")
	begin := now()
	write("2")
	named := second.snapshot("by the second")
	write("3")
	two.same()
	first.rule("/d", "retention=1h")
	two.same()
	two.clock.turn(3 * time.Hour)
	for _, p := range two.pods {
		eventually(t, "the clock is that of the other pod", func() error {
			p.compareClocks(quickly(t))
			if off := two.clock.Now().Sub(p.surelyNow()); off > time.Minute {
				return fmt.Errorf("it may be %s less", off)
			}
			return nil
		})
	}
	for range 2 { // what one lets go of in the first collection the other may have given back in the meantime
		for _, p := range two.pods {
			if _, err := p.Collect(quickly(t), CollectOptions{atOnce: true}); err != nil {
				t.Fatal(err)
			}
			p.forget()
		}
	}
	for _, p := range two.pods {
		if got, err := p.readAt(begin, "/d/x"); err == nil || !strings.Contains(err.Error(), "retention") {
			t.Errorf("the rule does not hold on %s: %q, %v", p.Info().Name, shorten(got), err)
		}
	}
	for _, p := range two.pods {
		p.wantAt(begin, "/f.txt", version("/f.txt", "1"))
		p.wantAt(named.Name, "/f.txt", version("/f.txt", "2"))
		p.wantAt(named.Name, "/d/x", version("/d/x", "2"))
		p.reads("/f.txt", version("/f.txt", "3"))
		p.reads("/d/x", version("/d/x", "3"))
		p.clean()
	}
}
