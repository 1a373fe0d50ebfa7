# go: a small project is built and tested, with its build cache on the mount, too.
need go
mkdir -p "$MNT/project/sum" "$OUT/tmp"
cd "$MNT/project"
cat >go.mod <<'END'
module example.org/project

go 1.21
END
cat >sum/sum.go <<'END'
// Package sum adds.
package sum

// Of is the sum of numbers.
func Of(numbers ...int) (n int) {
	for _, x := range numbers {
		n += x
	}
	return n
}
END
cat >sum/sum_test.go <<'END'
package sum

import "testing"

func TestOf(t *testing.T) {
	if n := Of(1, 2, 3); n != 6 {
		t.Errorf("got %d, want 6", n)
	}
}
END
cat >main.go <<'END'
package main

import (
	"fmt"

	"example.org/project/sum"
)

func main() { fmt.Println("the sum is", sum.Of(1, 2, 39)) }
END
export GOCACHE=$MNT/cache GOTMPDIR=$OUT/tmp GOFLAGS=-trimpath GOWORK=off GOTOOLCHAIN=local
go vet ./...
go test -count=1 ./...
go build -o "$MNT/program" .
go build -o "$MNT/program" . # by the cache
cp "$MNT/program" "$OUT/program"
[ "$("$OUT/program")" = "the sum is 42" ] || fail "the program is wrong"
cp -r "$MNT/project" "$OUT/project"
cd "$OUT/project"
GOCACHE=$OUT/cache go build -o "$OUT/same" .
cmp "$OUT/program" "$OUT/same"
