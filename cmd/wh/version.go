package main

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version that a build for release is given by the linker.
var release = "dev"

// version is the version, with the commit that it was built from if that is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version." + exits(),
		Args:  cobra.NoArgs,
		RunE: works(func(context.Context, []string) error {
			if e.json {
				return e.document(struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					OS      string `json:"os"`
					Arch    string `json:"arch"`
				}{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH})
			}
			return e.out("wh %s %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		}),
	}
}
