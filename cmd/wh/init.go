package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// newPodFlags are the flags of what makes a pod.
type newPodFlags struct {
	name    string
	mount   string
	options []string
	listen  []string
}

func (f *newPodFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.name, "name", "", "the pod's name (default: the host's)")
	c.Flags().StringVar(&f.mount, "mount", "", "mount it on this folder at every wh up")
	c.Flags().StringSliceVarP(&f.options, "options", "o", nil, "mount options: allow_other, ro, dev, suid, noexec, writeback, keep (a file that is opened for reading stays as it is), uid=HERE[:NETWORK], gid=HERE[:NETWORK]")
	c.Flags().StringSliceVar(&f.listen, "listen", nil, "address to listen on, HOST:PORT (default: all, and a free port)")
}

// mountRequest is what is to be mounted; nil for nothing.
func (f *newPodFlags) mountRequest() (*api.Mount, error) {
	if f.mount == "" {
		if len(f.options) > 0 {
			return nil, usage("-o needs --mount")
		}
		return nil, nil
	}
	dir, err := filepath.Abs(f.mount)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	return &api.Mount{Dir: api.Text(dir), Options: append([]string{}, f.options...)}, nil
}

type initOptions struct {
	network string
	flags   newPodFlags
	access  string
	encrypt bool

	identity string
	from     string // --import
}

func newInit(e *env) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init NETWORK",
		Short: "Make a network and its first pod",
		Long: "Make a network and its first pod. Prints the network's id. With --import, what is in a folder becomes the network's tree; " +
			"the folder stays as it is. With --encrypt and --identity this machine's disk is locked, too: all that the pod keeps here but pod.toml is encrypted, and wh up opens it by that key alone. Without the key nobody " +
			"reads what lies here again; other pods have the data. Without --identity the keys lie here in plain: encrypt the disk." + exits(exitNotFound, exitDenied, exitConflict, exitNotEnough),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.network = args[0]
			return runInit(ctx, e, o)
		}),
	}
	o.flags.add(c)
	c.Flags().StringVar(&o.access, "access", "invite", "who may join with no invitation: invite (nobody), ask (whom an admin accepts), open (everybody who reaches an admin's pod, as a reader)")
	c.Flags().BoolVar(&o.encrypt, "encrypt", false, "encrypt the contents of files, on disks and on the way, under a key that members have")
	c.Flags().StringVar(&o.identity, "identity", "", "lock this machine's disk with an OpenSSH Ed25519 key: the file of the private key, or of the public one of a key in an ssh-agent")
	c.Flags().StringVar(&o.from, "import", "", "folder whose contents are imported")
	return c
}

func runInit(ctx context.Context, e *env, o initOptions) error {
	switch o.access {
	case pod.AccessInvite, pod.AccessAsk, pod.AccessOpen:
	default:
		return usage("--access %q: it is none of invite, ask, open", o.access)
	}
	m, err := o.flags.mountRequest()
	if err != nil {
		return err
	}
	if o.from != "" {
		if o.from, err = importFolder(e, o.from); err != nil {
			return err
		}
	}
	if o.identity != "" && !o.encrypt {
		return usage("--identity locks the disk of an encrypted network: it needs --encrypt")
	}
	r := api.InitRequest{Network: o.network, Name: o.flags.name, Listen: o.flags.listen, Mount: m, Encrypt: o.encrypt, Access: o.access}
	if o.identity != "" {
		key, err := openIdentity(o.identity)
		if err != nil {
			return err
		}
		r.Lock, err = newLock(key, o.identity)
		if err := errors.Join(err, key.Close()); err != nil {
			return err
		}
	}
	made, err := makePod(ctx, e, "init", r, func() (api.Made, error) { return daemon.Create(ctx, e.home, e.engine, r) })
	if err != nil {
		return err
	}
	if o.encrypt && !made.Locked {
		e.say("its keys lie in %s in plain, for this user only: encrypt the disk of a machine that can be stolen, or lock it (wh init --identity)", e.home)
	}
	if err := e.printMade(made, "made"); err != nil || o.from == "" {
		return err
	}
	return importInto(ctx, e, made, o.from)
}

// makePod makes a pod in this process if no daemon holds WH_HOME, else through its API. A daemon that starts or
// stops meanwhile is waited for.
func makePod(ctx context.Context, e *env, name string, request any, here func() (api.Made, error)) (api.Made, error) {
	private()
	for range makeTries {
		lock, err := daemon.TryLock(e.home)
		if err == nil {
			made, err := here()
			return made, errors.Join(err, lock.Unlock())
		}
		if !errors.Is(err, api.ErrInUse) {
			return api.Made{}, err
		}
		made, err := call[api.Made](ctx, e, name, request)
		if !errors.Is(err, api.ErrNoDaemon) {
			return made, err
		}
		if err := clock.Sleep(ctx, e.clock, makeRetry); err != nil {
			return api.Made{}, err
		}
	}
	return api.Made{}, fmt.Errorf("%s: its daemon doesn't answer: %w", e.home, api.ErrInUse)
}

// printMade tells of a new pod.
func (e *env) printMade(m api.Made, verb string) error {
	if m.Warning != "" {
		e.say("wh: warning: %s", m.Warning)
	}
	if e.json {
		return e.document(m)
	}
	e.say("%s network %s, as pod %s (%s)", verb, m.NetworkName, m.Name, m.Pod)
	if m.Locked {
		e.say("its disk is locked: wh up opens it by the same key, and nothing else does")
	}
	return e.out("%s", strings.ToLower(m.Network))
}
