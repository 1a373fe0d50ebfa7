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
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

type joinOptions struct {
	where    string // a token, a network's name, an address
	identity string
	flags    newPodFlags
}

func newJoin(e *env) *cobra.Command {
	var o joinOptions
	c := &cobra.Command{
		Use:   "join TOKEN|NETWORK|ADDRESS",
		Short: "Make a pod here in a network that exists",
		Long: "Make a pod here in a network that exists: by a token (wh invite), or by a person's OpenSSH key that an admin has added (wh member add). With a key the network is found on the LAN by " +
			"its name, or NAME@ID8 where two have one name, or a pod of it is asked at its ADDRESS, HOST:PORT. The key signs the new pod's certificate, and nothing else; --identity is the file of the " +
			"private key, or, for a key that an ssh-agent holds, of the public one. A passphrase is asked on the terminal, or taken from WH_PASSPHRASE. It is complete or undone. " +
			"Prints the network's id." + exits(exitNotFound, exitDenied, exitConflict, exitNotEnough, exitCorrupt),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			o.where = args[0]
			return runJoin(ctx, e, o)
		}),
	}
	o.flags.add(c)
	c.Flags().StringVar(&o.identity, "identity", "", "OpenSSH Ed25519 key to join by, with no token")
	return c
}

func runJoin(ctx context.Context, e *env, o joinOptions) error {
	m, err := o.flags.mountRequest()
	if err != nil {
		return err
	}
	r := api.JoinRequest{Token: o.where, Name: o.flags.name, Listen: o.flags.listen, Mount: m}
	if o.identity != "" {
		ticket, err := ticketByKey(ctx, e, o)
		if err != nil {
			return err
		}
		r.Ticket, r.Token = ticket, ""
	}
	made, err := makePod(ctx, e, "join", r, func() (api.Made, error) { return daemon.Join(ctx, e.home, e.engine, r) })
	if err != nil {
		return err
	}
	return e.printMade(made, "joined")
}

// ticketByKey has a person's key sign a new pod.
func ticketByKey(ctx context.Context, e *env, o joinOptions) (_ *api.Ticket, err error) {
	key, err := openIdentity(o.identity)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, key.Close()) }()
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
	a := &api.Ticket{Key: t.Key, Network: t.Network.String(), NetworkName: t.NetworkName, Pod: t.At.Pod.String(), Addrs: t.At.Addrs}
	if len(t.User) > 0 {
		a.Chain = t.User.Encode()
	}
	return a
}
