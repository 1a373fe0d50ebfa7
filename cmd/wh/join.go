package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/daemon"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/sshkey"
)

type joinOptions struct {
	where    string // a token, a network's name, an address
	identity string
	portal   bool
	noLock   bool
	flags    newPodFlags
}

func newJoin(e *env) *cobra.Command {
	var o joinOptions
	c := &cobra.Command{
		Use:   "join TOKEN|NETWORK|ADDRESS",
		Short: "Make a pod here in a network that exists",
		Long: "Make a pod here in a network that exists: by a token (wh invite), by a person's OpenSSH key that an admin has added (wh member add), or, where the network takes strangers, by asking. " +
			"Without a token the network is found on the LAN by " +
			"its name, or NAME@ID8 where two have one name, or a pod of it is asked at its ADDRESS, HOST:PORT. If an admin must accept this pod it waits until that is done. A person's key signs the new pod's certificate, and nothing else; --identity is the file of the " +
			"private key, or, for a key that an ssh-agent holds, of the public one. A passphrase is asked on the terminal, or taken from WH_PASSPHRASE or the file that WH_PASSPHRASE_FILE names. On an encrypted network the key also locks this machine's disk, unless --no-lock or the pod may not read: wh up opens it by that key alone; " +
			"with a token, that is all that it does. It is complete or undone. " +
			"Prints the network's id." + exits(exitNotFound, exitDenied, exitConflict, exitNotEnough, exitCorrupt),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.where = args[0]
			return runJoin(ctx, e, o)
		}),
	}
	o.flags.add(c)
	c.Flags().BoolVar(&o.portal, "portal", false, "store nothing for others: mount, and keep copies of what is read here (weight 0)")
	c.Flags().StringVar(&o.identity, "identity", "", "OpenSSH Ed25519 key to join by, with no token, and to lock the disk with")
	c.Flags().BoolVar(&o.noLock, "no-lock", false, "do not lock the disk: keys and names lie there in plain")
	return c
}

func runJoin(ctx context.Context, e *env, o joinOptions) error {
	m, err := o.flags.mountRequest()
	if err != nil {
		return err
	}
	r := api.JoinRequest{Name: o.flags.name, Listen: o.flags.listen, Mount: m, Portal: o.portal}
	switch {
	case o.identity != "":
		err = byIdentity(ctx, e, o, &r)
	case isPlace(o.where):
		r.Ticket, err = ticketByAsking(ctx, e, o)
	default:
		r.Token = o.where
	}
	if err != nil {
		return err
	}
	made, err := makePod(ctx, e, "join", r, func() (api.Made, error) { return daemon.Join(ctx, e.home, e.engine, r) })
	if err != nil {
		return err
	}
	return e.printMade(made, "joined")
}

// byIdentity has a person's key lock the new pod's disk, and sign the pod where no token lets it in.
func byIdentity(ctx context.Context, e *env, o joinOptions, r *api.JoinRequest) (err error) {
	key, err := openIdentity(o.identity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, key.Close()) }()
	if _, terr := e.engine.TokenNetwork(o.where); terr == nil {
		r.Token = o.where
	} else if r.Ticket, err = ticketByKey(ctx, e, o, key); err != nil {
		return err
	}
	if !o.noLock {
		r.Lock, err = newLock(key, o.identity)
	}
	return err
}

// ticketByKey has a person's key sign a new pod.
func ticketByKey(ctx context.Context, e *env, o joinOptions, key *sshkey.Identity) (*api.Ticket, error) {
	at, name, err := findPods(ctx, e, o.where)
	if err != nil {
		return nil, err
	}
	t, err := pod.AskAsUser(ctx, pod.UserOptions{
		Network: name, At: at, PodName: podNameFor(o.flags), User: key.Public().Key, Sign: key.Sign,
	})
	if err != nil {
		return nil, err
	}
	return apiTicket(t), nil
}

// isPlace says whether what is to be joined is a network's name or an address. What begins as a token does is one; a network of such a name is
// found as NAME@ID8.
func isPlace(where string) bool {
	return strings.ContainsAny(where, ":/@") || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(where)), "wh1")
}

// ticketByAsking asks a network to be let in, and waits for its admin.
func ticketByAsking(ctx context.Context, e *env, o joinOptions) (*api.Ticket, error) {
	at, name, err := findPods(ctx, e, o.where)
	if err != nil {
		return nil, err
	}
	t, err := pod.AskToJoin(ctx, pod.AskOptions{
		Network: name, At: at, PodName: podNameFor(o.flags), Clock: e.clock,
		Waiting: func(network ident.Network, networkName, at string, id ident.Pod) {
			e.say("waiting for an admin of %s@%s, who lets this pod in at pod %s by: wh member accept %s", networkName, network.Short(), at, id)
		},
	})
	if err != nil {
		return nil, err
	}
	return apiTicket(t), nil
}

func podNameFor(f newPodFlags) string {
	if f.name != "" {
		return f.name
	}
	return daemon.DefaultPodName()
}

// findPods are the pods to ask, and the name of the network that they are to be of; "" for whichever is at an address.
func findPods(ctx context.Context, e *env, where string) (at []p2p.Found, name string, err error) {
	if strings.ContainsAny(where, ":/") {
		at, err = pod.Find(ctx, where)
		if errors.Is(err, p2p.ErrProtocol) {
			err = fmt.Errorf("%w: %w", api.ErrUsage, err)
		}
		return at, "", err
	}
	e.say("looking for %s on the LAN", where)
	at, err = pod.Find(ctx, where)
	return at, where, err
}

func apiTicket(t pod.Ticket) *api.Ticket {
	a := &api.Ticket{Key: t.Key, Network: t.Network.String(), NetworkName: t.NetworkName, Pod: t.At.Pod.String(), Addrs: t.At.Addrs, PodName: t.PodName}
	if len(t.User) > 0 {
		a.Chain = t.User.Encode()
	}
	return a
}
