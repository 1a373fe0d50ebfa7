//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "wh-fsx: error: there are no mounts on this system")
	os.Exit(1)
}
