package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
)

type upOptions struct {
	detach  bool
	offline bool
	mount   string
	options []string

	identity string
	handed   bool // keys of locked disks come on stdin
}

func newUp(e *env) *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "Run this machine: all its pods",
		Long: "Run this machine: all its pods, in the foreground. Prints a line that begins with \"ready \" when all pods take " +
			"requests and all mounts answer. SIGTERM and SIGINT stop it; the second one at once. " +
			"A locked disk (wh init --identity) is opened by the key that locked it: by --identity or WH_IDENTITY, the file of a private key or, for one in an ssh-agent, of the public one; else by an agent that has it, " +
			"or the file that pod.toml names. A passphrase is asked on the terminal, or taken from WH_PASSPHRASE or the file that WH_PASSPHRASE_FILE names." +
			exits(exitDenied, exitConflict, exitNotEnough, exitNotFound, exitCorrupt),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error {
			if o.detach {
				return runDetached(ctx, e, o)
			}
			return runUp(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.detach, "detach", false, "run in the background; return when it is ready")
	c.Flags().BoolVar(&o.offline, "offline", false, "speak with no other pods")
	c.Flags().StringVar(&o.identity, "identity", os.Getenv(identityEnv), "OpenSSH Ed25519 key that opens locked disks (WH_IDENTITY)")
	c.Flags().BoolVar(&o.handed, "keys-on-stdin", false, "")
	_ = c.Flags().MarkHidden("keys-on-stdin") // it is for --detach; it is there
	c.Flags().StringVar(&o.mount, "mount", "", "mount the pod on this folder too, for this run")
	c.Flags().StringSliceVarP(&o.options, "options", "o", nil, "options of that mount: allow_other, ro, dev, suid, noexec, writeback, keep (a file that is opened for reading stays as it is), uid=HERE[:NETWORK], gid=HERE[:NETWORK]")
	return c
}

// memoryLimit is from how many bytes of memory of its own on Go's runtime collects more often, rather than let garbage grow with what lives. The databases'
// caches and tables, some 100 MB, are not in it, nor the program itself. What the daemon holds is bounded elsewhere.
const memoryLimit = 208 << 20

// garbagePercent is how much garbage, of what lives, is let lie below that. With Go's own 100 an import spends a tenth of its time more on collecting.
const garbagePercent = 200

// limitMemory sets both, unless GOMEMLIMIT or GOGC set others.
func limitMemory() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// newDaemonLog is the daemon's log, as the machine's file wants it.
func newDaemonLog(e *env, m config.Machine) (*daemon.Levels, *slog.Logger, error) {
	rest, err := m.Level()
	parts, perr := m.PartLevels()
	if err := errors.Join(err, perr); err != nil {
		return nil, nil, err
	}
	levels := new(daemon.Levels)
	levels.Set(rest, parts)
	everything := &slog.HandlerOptions{Level: slog.LevelDebug}
	var h slog.Handler = slog.NewTextHandler(e.stderr, everything)
	if m.LogFormat == "json" {
		h = slog.NewJSONHandler(e.stderr, everything)
	}
	return levels, slog.New(daemon.NewLogHandler(h, levels)), nil
}

func runUp(ctx context.Context, e *env, o upOptions) error {
	private()
	limitMemory()
	m, err := config.LoadMachine(e.home.File(config.MachineFile))
	if err != nil {
		return err
	}
	levels, log, err := newDaemonLog(e, m)
	if err != nil {
		return err
	}
	u := &unlocker{identity: o.identity}
	defer u.close()
	if o.handed {
		if err := u.take(e.stdin); err != nil {
			return err
		}
	}
	do := daemon.Options{
		Unlock: u.unlock,
		Home:   e.home, Engine: e.engine, Version: version(), Offline: o.offline, Clock: e.clock, Log: log, Levels: levels,
		Say: func(text string) { e.say("wh: %s", text) },
	}
	if o.mount != "" {
		dir, err := filepath.Abs(o.mount)
		if err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		do.Mount = &api.Mount{Dir: api.Text(dir), Options: append([]string{}, o.options...), Pod: e.pod}
	}
	system := newSystemd()
	do.Ready = func(line string) {
		u.close()                   // nobody needs the identities any more
		_ = e.out("ready %s", line) // Nobody may be listening.
		system.say("READY=1\nSTATUS=" + line)
	}
	return profiled(func() error {
		defer system.watch(ctx, e)()
		return daemon.Run(ctx, do)
	})
}
