package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// rootKeyMax is the most of a file that is read as a root key; one has 119 bytes.
const rootKeyMax = 4 << 10

func newMemberRoot(e *env) *cobra.Command {
	c := &cobra.Command{
		Use: "root", Short: "Put away the network's root key, or use it",
		Long: "Put away the network's root key, or use it. wh init makes it on the network's first pod, with an admin's key, which does all daily work. The root key is for the day on which no admin's pod " +
			"is left: keep it where no thief of that machine finds it." + online(exitNotFound, exitConflict),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usage("member root needs export or import") },
	}
	c.AddCommand(&cobra.Command{
		Use: "export FILE", Short: "Move the root key into a file",
		Long: "Move the network's root key from this pod into a new file, which only you may read, and which should leave this machine. This pod's admin goes on without it. A file that exists is never " +
			"overwritten. The key is removed here once the file is on the disk; where it lay, traces may stay on the disk, so do it soon after wh init." + online(exitNotFound, exitConflict),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error { return runRootExport(ctx, e, args[0]) }),
	}, &cobra.Command{
		Use: "import FILE", Short: "Make this pod an admin's, by the root key",
		Long: "Make this pod an admin's, by the network's root key in a file of wh member root export: it signs a new admin's key, which stays here, and is not kept itself. " +
			"It is for a network whose admins' pods were lost." + online(exitNotFound, exitConflict),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error { return runRootImport(ctx, e, args[0]) }),
	})
	return c
}

func runRootExport(ctx context.Context, e *env, file string) error {
	key, err := call[api.RootKey](ctx, e, "member/root", struct{}{})
	if err != nil {
		return err
	}
	if err := writeSecret(file, key.PEM); err != nil {
		return err
	}
	if _, err := call[struct{}](ctx, e, "member/root/drop", key); err != nil {
		return fmt.Errorf("the key is in %s, and still on the pod: %w", file, err)
	}
	e.say("the root key is in %s alone: keep it off this machine", printable(file))
	return nil
}

// writeSecret writes a new file that only its owner may read. Its bytes, and its entry in the folder, are synced before it returns nil; else there is no file.
func writeSecret(file string, b []byte) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file))
		}
	}()
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(file))
}

func runRootImport(ctx context.Context, e *env, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	key, err := io.ReadAll(io.LimitReader(f, rootKeyMax))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = call[struct{}](ctx, e, "member/root/use", api.RootKey{PEM: key})
	if api.CodeOf(err) == "denied" {
		return api.WithHint(err, "name the file that wh member root export wrote on the network's first pod")
	}
	if err != nil {
		return err
	}
	e.say("this pod is an admin's now: put the file away again")
	return nil
}
