//go:build !linux

package daemon

// dropProgram does nothing: other systems count the program's pages otherwise.
func dropProgram() {}
