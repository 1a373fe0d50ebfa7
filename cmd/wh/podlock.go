package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
)

type podLockOptions struct {
	identity string // that is to open it
	with     string // that opens it now
}

func newPodLock(e *env) *cobra.Command {
	var o podLockOptions
	c := &cobra.Command{
		Use: "lock", Short: "Have another key open this pod's locked disk",
		Long: "Have another OpenSSH Ed25519 key open this pod's locked disk from the next wh up on. What is on the disk stays as it is: who has the old key and an old copy of disk.lock opens it still. " +
			"The daemon may run or not. A disk that is not locked can't be locked later." + exits(exitNotFound, exitDenied, exitCorrupt),
		Args: cobra.NoArgs,
		RunE: works(func(context.Context, []string) error { return runPodLock(e, o) }),
	}
	c.Flags().StringVar(&o.identity, "identity", "", "the new key: the file of the private key, or of the public one of a key in an ssh-agent")
	c.Flags().StringVar(&o.with, "with", os.Getenv(identityEnv), "the key that opens it now (default: one that an ssh-agent has, or as pod.toml says)")
	return c
}

func runPodLock(e *env, o podLockOptions) (err error) {
	if o.identity == "" {
		return usage("pod lock needs --identity")
	}
	p, err := lockedPod(e)
	if err != nil {
		return err
	}
	u := &unlocker{identity: o.with}
	defer u.close()
	disk, err := u.unlock(p)
	if err != nil {
		return daemon.StaysLocked(p.Name, err)
	}
	key, err := openIdentity(o.identity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, key.Close()) }()
	if p.Lock, p.Identity, err = lockFor(disk, key, o.identity); err != nil {
		return err
	}
	if err := daemon.Relock(e.home, p); err != nil {
		return err
	}
	return e.out("%s: locked with %s", p.Name, key.Public().Fingerprint())
}

// lockedPod is this machine's locked pod, or the one that was chosen.
func lockedPod(e *env) (daemon.LockedPod, error) {
	all, err := daemon.Locked(e.home)
	if err != nil {
		return daemon.LockedPod{}, err
	}
	if e.pod != "" {
		all = slices.DeleteFunc(all, func(p daemon.LockedPod) bool { return p.Name != e.pod })
	}
	switch len(all) {
	case 0:
		return daemon.LockedPod{}, fmt.Errorf("with a locked disk: %w", api.ErrNoPod)
	case 1:
		return all[0], nil
	}
	return daemon.LockedPod{}, usage("several pods have locked disks: choose one with --pod")
}
