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
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
)

// engine makes pods.
type engine = daemon.Engine

// env is what commands work with.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	engine         engine
	clock          clock.Clock

	// Global flags.
	home  api.Home
	pod   string
	json  bool
	quiet bool
	plain bool // --no-color
}

func newEnv(e engine) *env {
	return &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, engine: e, clock: clock.Real{}}
}

// defaultHome is WH_HOME, or where it is if that isn't set.
func defaultHome() string {
	if h := os.Getenv("WH_HOME"); h != "" {
		return h
	}
	if os.Geteuid() == 0 {
		return "/var/lib/wormhole"
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		h, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(h, ".local", "state")
	}
	return filepath.Join(state, "wormhole")
}

func (e *env) client() *client.Client { return client.New(e.home, e.pod) }

// call asks the daemon for one document.
func call[A any](ctx context.Context, e *env, name string, q any) (A, error) {
	return client.Call[A](ctx, e.client(), name, q)
}

// pathOf is the path that a command was given, or the root.
func pathOf(args []string) api.PathRequest {
	if len(args) == 0 {
		return api.PathRequest{Path: "/"}
	}
	return api.PathRequest{Path: api.Text(args[0])}
}

// say tells the user something that is not a result.
func (e *env) say(format string, args ...any) {
	if e.quiet {
		return
	}
	_, _ = fmt.Fprintln(e.stderr, printable(fmt.Sprintf(format, args...))) // Talk only.
}

// usage is an error of wrong usage.
func usage(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), api.ErrUsage)
}

// ranError is what a command returned, told apart from what cobra found wrong with the arguments.
type ranError struct{ error }

// Unwrap is the error within.
func (r *ranError) Unwrap() error { return r.error }

// works makes a cobra function of one that works.
func works(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := f(c.Context(), args); err != nil {
			return &ranError{err}
		}
		return nil
	}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, e *env, args []string) int {
	root := newRoot(e) //nolint:contextcheck // cobra hands it to the commands
	root.SetArgs(args)
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	if _, ran := errors.AsType[*ranError](err); !ran {
		err = api.WithHint(fmt.Errorf("%w: %w", api.ErrUsage, err), cmd.CommandPath()+" --help")
		report(e.stderr, err)
		return exitUsage
	}
	if exitCode(err) == exitUsage && hintOf(err) == "" {
		err = api.WithHint(err, cmd.CommandPath()+" --help")
	}
	if ctx.Err() != nil && api.CodeOf(err) != "canceled" {
		report(e.stderr, err)
		return exitInterrupted
	}
	report(e.stderr, err)
	return exitCode(err)
}

// newRoot is the command wh with all the others.
func newRoot(e *env) *cobra.Command {
	var home string
	c := &cobra.Command{
		Use:           "wh",
		Short:         "Wormhole turns the disks of several machines into one folder",
		Long:          "Wormhole turns the disks of several machines into one folder." + exits(),
		SilenceErrors: true, SilenceUsage: true,
		TraverseChildren: true, // --home and --pod before a command are these; place and pin have their own behind it
		Args:             cobra.NoArgs,
		RunE:             func(*cobra.Command, []string) error { return errors.New("a command is missing") },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if home == "" {
				return errors.New("no WH_HOME is set, and there is no home folder")
			}
			abs, err := filepath.Abs(home)
			e.home = api.Home(abs)
			e.plain = e.plain || os.Getenv("NO_COLOR") != ""
			return err
		},
	}
	f := c.PersistentFlags()
	f.StringVar(&home, "home", defaultHome(), "folder of this machine's state (WH_HOME)")
	f.StringVar(&e.pod, "pod", os.Getenv("WH_POD"), "which of this machine's pods (WH_POD)")
	f.BoolVar(&e.json, "json", false, "print JSON")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "say nothing but results and errors")
	f.BoolVar(&e.plain, "no-color", false, "use no colours (NO_COLOR)")
	c.AddCommand(
		newInit(e), newInvite(e), newJoin(e), newMember(e), newUp(e), newDown(e), newMount(e), newUnmount(e), newPods(e), newPeers(e), newStats(e), newStatus(e),
		newHealth(e), newDashboard(e), newNotify(e), newMetrics(e), newService(e), newMan(), newDoctor(e), newBench(e), newPprof(e),
		newAdd(e), newGet(e), newLs(e), newTree(e), newDu(e), newCat(e), newStat(e), newMkdir(e), newMv(e), newCp(e), newRm(e), newWhere(e),
		newPin(e), newEvict(e), newPlace(e), newPod(e), newCache(e), newRepair(e),
		newRoots(e), newPolicy(e), newSync(e), newFsck(e), newScrub(e), newEvents(e), newGC(e), newDf(e), newVersion(e),
		newLog(e), newDiff(e), newSnapshot(e), newRestore(e), newUndelete(e), newConflicts(e), newConfig(e),
	)
	return c
}
