package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

func newStat(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "stat /PATH...",
		Short: "Show all that is known of a file",
		Long:  "Show all that is known of a file, folder or link." + online(exitNotFound),
		Args:  cobra.MinimumNArgs(1),
		RunE:  works(func(ctx context.Context, args []string) error { return runStat(ctx, e, args) }),
	}
}

func runStat(ctx context.Context, e *env, paths []string) error {
	for _, p := range paths {
		st, err := call[api.Stat](ctx, e, "stat", api.PathRequest{Path: api.Text(p)})
		if err != nil {
			return err
		}
		if e.json {
			err = e.document(st)
		} else {
			err = e.table(statRows(e, st))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func statRows(e *env, st api.Stat) [][]string {
	rows := [][]string{
		{"path", e.name(string(st.Path))},
		{"kind", st.Kind},
		{"size", fmt.Sprintf("%d (%s on disk)", st.SizeBytes, size(int64(st.DiskBytes)))},
		{"mode", fmt.Sprintf("%s %s", st.Mode, modeString(st.Kind, st.Mode))},
		{"owner", fmt.Sprintf("%d:%d", st.UID, st.GID)},
		{"links", fmt.Sprint(st.NLink)},
		{"inode", fmt.Sprint(st.ID)},
		{"modified", st.Mtime.Format(time.RFC3339Nano)},
		{"changed", st.Ctime.Format(time.RFC3339Nano)},
		{"created", st.Btime.Format(time.RFC3339Nano)},
	}
	if st.Kind == "symlink" {
		rows = append(rows, []string{"target", e.name(string(st.Target))})
	}
	if st.CID != nil {
		rows = append(rows, []string{"cid", st.CID.String()})
	}
	return rows
}
