// Command wh-bench measures Wormhole on this machine and prints a table in Markdown: commands, figures, spread.
//
//	wh-bench visible   how soon a file written through one mount is read through another, and how soon three pods agree
//	wh-bench data      add and get of four data sets, beside cp, Kubo, restic and desync, as far as they are on PATH, in turn
//	wh-bench tree      a tree of a million files: memory, start, listing, single changes, the rename of a large folder
//	wh-bench catchup   how soon a pod that is new, or was away, has the others' tree, and with how many bytes
//	wh-bench between   how fast what one node has comes to another, beside Kubo and Syncthing, as far as they are on PATH, in turn
//	wh-bench fragments how fast bytes become fragments on six pods, what they take, and how fast they are read
//	wh-bench mount     the mount beside a FUSE file system that does nothing, the disk, and JuiceFS if it is on PATH, in turn
//	wh-bench profile   where the daemon's CPU time goes in add and get
//	wh-bench signatures what part of two daemons' CPU time goes into signatures while one adds and the other takes copies
//	wh-bench idle      what daemons take at rest, each connected to ten others, and how soon wh status answers
//	wh-bench status    how soon wh status answers with a million files and 64 pods
//
// It drives the wh binary beside it; catchup and fragments have their pods in its own process.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

func main() {
	b := &bench{out: os.Stdout}
	var to string
	flag.StringVar(&b.wh, "wh", "", "the wh binary; default: beside this one")
	flag.StringVar(&b.dir, "dir", "", "folder on the disk to measure; default: the temporary one")
	flag.StringVar(&to, "o", "", "file to write to, when all is measured; default: stdout")
	flag.IntVar(&b.rounds, "rounds", 0, "rounds: visible 20, data, between and mount 3, catchup, fragments and idle 1")
	flag.IntVar(&b.files, "files", 1000, "visible: files written")
	flag.StringVar(&b.what, "what", "d1,d2,d3,d4", "data, between, profile, signatures: which data sets; signatures has changes, too")
	flag.Int64Var(&b.bigBytes, "bytes", 2<<30, "data, between, fragments, profile, signatures: bytes of d1")
	flag.IntVar(&b.tiny, "tiny", 100_000, "data, profile: files of d3")
	flag.IntVar(&b.many, "many", 1_000_000, "tree, status: files")
	flag.IntVar(&b.tree, "tree", 100_000, "catchup, idle: files in the tree")
	flag.IntVar(&b.pods, "pods", 11, "idle: daemons, each connected to all others")
	flag.IntVar(&b.members, "members", 64, "status: pods that are known")
	flag.DurationVar(&b.settle, "settle", 5*time.Minute, "idle, status: how long nothing is done before it is measured")
	flag.IntVar(&b.changes, "changes", 1000, "catchup: changes that a pod misses; signatures: small changes")
	flag.StringVar(&b.peers, "peers", "", "data: programs to compare with, of cp, ipfs, restic, desync; cp is always; default: all on PATH")
	flag.StringVar(&b.home, "home", "", "mount: folder for the pod's home, to have it on another disk than the rest")
	flag.BoolVar(&b.encrypt, "encrypt", false, "data, profile: of an encrypted network")
	flag.Parse()
	if flag.NArg() == 2 && flag.Arg(0) == "null" { // a process of mount's
		if err := serveNull(flag.Arg(1)); err != nil {
			fmt.Fprintln(os.Stderr, "wh-bench: error:", err)
			os.Exit(1)
		}
		return
	}
	var text bytes.Buffer
	if to != "" {
		b.out = &text
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx, flag.Arg(0))
	stop()
	if err == nil && to != "" {
		err = os.WriteFile(to, text.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "wh-bench: error:", err)
		os.Exit(1)
	}
}

// bench is a run.
type bench struct {
	wh       string
	dir      string // the work folder
	out      io.Writer
	rounds   int
	files    int
	what     string
	bigBytes int64
	tiny     int
	many     int
	tree     int
	changes  int
	peers    string
	encrypt  bool
	home     string
	pods     int
	members  int
	settle   time.Duration
	machines []*fleet.Machine // of visible
}

func (b *bench) run(ctx context.Context, what string) (err error) {
	if b.wh == "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		b.wh = filepath.Join(filepath.Dir(self), "wh")
	}
	dir, err := os.MkdirTemp(b.dir, "wormhole-bench-")
	if err != nil {
		return err
	}
	b.dir = dir
	defer func() { err = errors.Join(err, b.cleanUp(context.WithoutCancel(ctx))) }()
	switch what {
	case "visible":
		return b.visible(ctx)
	case "data":
		return b.data(ctx)
	case "tree":
		return b.bigTree(ctx)
	case "catchup":
		return b.catchup(ctx)
	case "between":
		return b.between(ctx)
	case "fragments":
		return b.fragments(ctx)
	case "mount":
		return b.mount(ctx)
	case "profile":
		return b.profile(ctx)
	case "signatures":
		return b.signatures(ctx)
	case "idle":
		return b.idle(ctx)
	case "status":
		return b.status(ctx)
	}
	return fmt.Errorf("usage: wh-bench [flags] visible|data|between|tree|catchup|fragments|mount|profile|signatures|idle|status, not %q", what)
}

// start makes a network of machines with these names, the first mounted ones first.
func (b *bench) start(ctx context.Context, names []string, mounts int) error {
	for i, name := range names {
		m := &fleet.Machine{Name: name, WH: b.wh, Home: filepath.Join(b.dir, name)}
		if i < mounts {
			m.Mount = filepath.Join(b.dir, "mnt-"+name)
		}
		b.machines = append(b.machines, m)
		var err error
		if i == 0 {
			err = m.Init(ctx, "bench")
		} else {
			err = m.Join(ctx, b.machines[0])
		}
		if err != nil {
			return err
		}
	}
	return fleet.AllUp(ctx, b.machines)
}

func (b *bench) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var errs []error
	for _, m := range b.machines {
		errs = append(errs, m.Stop(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up: %w (left in %s)", err, b.dir)
	}
	return os.RemoveAll(b.dir)
}

// head prints what was measured, where.
func (b *bench) head(ctx context.Context, command string) {
	version := "unknown"
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output(); err == nil { // run in the checkout, as make does
		version = strings.TrimSpace(string(out))
	}
	_, _ = fmt.Fprintf(b.out, "`%s`, %s, %s/%s, %d CPUs, revision %s\n\n", // a lost line shows in the table
		command, time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), version)
}

func (b *bench) row(format string, args ...any) { _, _ = fmt.Fprintf(b.out, format+"\n", args...) }

// quantile is the q-th part of the sorted values.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
