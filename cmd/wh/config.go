package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// scopes are the kinds of configuration, in the order in which a key is looked for.
var scopes = []string{api.ScopeMachine, api.ScopePod, api.ScopeNetwork}

// keysOf are the keys of a kind of file. The error is api.ErrUsage.
func keysOf(kind string) (config.Keys, error) {
	switch kind {
	case api.ScopeMachine:
		return config.MachineKeys(), nil
	case api.ScopePod:
		return config.PodKeys(), nil
	case api.ScopeNetwork:
		return pod.RuleKeys(), nil
	}
	return config.Keys{}, usage("kind %q is not %s", kind, strings.Join(scopes, ", "))
}

func newConfig(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Show, set and check the configuration",
		Long: "Show, set and check the configuration: that of the machine (machine.toml), of a pod (pod.toml), and of the network, which an admin\n" +
			"sets for all pods. Files may be edited while the daemon runs: what can change then does within a second." + exits(),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("config needs show, get, set, check or template")
		},
	}
	c.AddCommand(newConfigShow(e), newConfigGet(e), newConfigSet(e), newConfigCheck(e), newConfigTemplate(e))
	return c
}

func newConfigShow(e *env) *cobra.Command {
	origin := false
	c := &cobra.Command{
		Use: "show", Short: "Show all keys and their values", Long: "Show all keys and their values." + online(exitNotFound, exitUsage),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runConfigShow(ctx, e, origin) }),
	}
	c.Flags().BoolVar(&origin, "origin", false, "and where each value comes from")
	return c
}

func runConfigShow(ctx context.Context, e *env, origin bool) error {
	all, err := call[[]api.ConfigKey](ctx, e, "config", struct{}{})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(all)
	}
	var rows [][]string
	for _, k := range all {
		row := []string{k.Scope + "." + k.Key, orDash(k.Value)}
		if origin {
			row = append(row, k.Origin)
		}
		rows = append(rows, row)
	}
	return e.table(rows)
}

func newConfigGet(e *env) *cobra.Command {
	network := false
	c := &cobra.Command{
		Use: "get KEY", Short: "Show the value of a key", Long: "Show the value of a key, as cache_bytes or pod.cache_bytes." + online(exitNotFound),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			return runConfigGet(ctx, e, args[0], network)
		}),
	}
	c.Flags().BoolVar(&network, "network", false, "a key of the network's")
	return c
}

func runConfigGet(ctx context.Context, e *env, name string, network bool) error {
	scope, key, err := scopeOf(name, network)
	if err != nil {
		return err
	}
	all, err := call[[]api.ConfigKey](ctx, e, "config", struct{}{})
	if err != nil {
		return err
	}
	for _, k := range all {
		if k.Scope != scope || k.Key != key {
			continue
		}
		if e.json {
			return e.document(k)
		}
		return e.out("%s", k.Value)
	}
	return fmt.Errorf("%s.%s: %w", scope, key, config.ErrNoKey)
}

// scopeOf is whose key a name means: KEY, or SCOPE.KEY. The error is config.ErrNoKey or api.ErrUsage.
func scopeOf(name string, network bool) (scope, key string, err error) {
	if before, after, ok := strings.Cut(name, "."); ok {
		if network && before != api.ScopeNetwork {
			return "", "", usage("%s is no key of the network's", name)
		}
		keys, err := keysOf(before)
		if err == nil {
			_, err = keys.Find(after)
		}
		return before, after, err
	}
	var last error
	for _, s := range scopes {
		if network && s != api.ScopeNetwork {
			continue
		}
		keys, err := keysOf(s)
		if err != nil {
			return "", "", err
		}
		if _, err = keys.Find(name); err == nil {
			return s, name, nil
		}
		if last == nil || strings.Contains(err.Error(), "do you mean") {
			last = err
		}
	}
	return "", "", api.WithHint(last, "wh config show lists all keys")
}

func newConfigSet(e *env) *cobra.Command {
	network := false
	c := &cobra.Command{
		Use: "set KEY VALUE", Short: "Set a key",
		Long: "Set a key. What stands in the file beside it, comments too, stays. A list has commas between its texts, a number of bytes may end in\n" +
			"KiB, MiB, GiB or TiB, a duration is as 90s or 48h. A key of the network's is set for all pods, on a pod that may admit members." +
			online(exitNotFound),
		Args: cobra.ExactArgs(2),
		RunE: works(func(ctx context.Context, args []string) error {
			return runConfigSet(ctx, e, args[0], args[1], network)
		}),
	}
	c.Flags().BoolVar(&network, "network", false, "a key of the network's")
	return c
}

func runConfigSet(ctx context.Context, e *env, name, value string, network bool) error {
	scope, key, err := scopeOf(name, network)
	if err != nil {
		return err
	}
	done, err := call[api.ConfigDone](ctx, e, "config/set", api.ConfigSet{Scope: scope, Key: key, Value: value})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(done)
	}
	if done.Restart {
		e.say("it is in force after wh down and wh up")
	}
	return e.out("%s.%s = %s", done.Scope, done.Key, done.Value)
}

func newConfigCheck(e *env) *cobra.Command {
	kind := ""
	c := &cobra.Command{
		Use: "check FILE", Short: "Say what is wrong with a file", Long: "Say what is wrong with a file, and where." + exits(exitNotFound, exitDenied),
		Args: cobra.ExactArgs(1),
		RunE: works(func(_ context.Context, args []string) error { return runConfigCheck(e, args[0], kind) }),
	}
	c.Flags().StringVar(&kind, "kind", "", "machine, pod or network; else the file says")
	return c
}

func runConfigCheck(e *env, path, kind string) (err error) {
	if kind == "" {
		if kind, err = config.KindOf(path); err != nil {
			return err
		}
	}
	keys, err := keysOf(kind)
	if err != nil {
		return err
	}
	switch kind {
	case api.ScopeMachine:
		_, err = config.LoadMachine(path)
	case api.ScopePod:
		_, err = config.LoadPod(path)
	default:
		err = keys.Check(path)
	}
	if err != nil {
		return err
	}
	e.say("%s is a good %s file", path, kind)
	return nil
}

func newConfigTemplate(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "template machine|pod|network", Short: "Print a file with all keys, their meaning and their defaults",
		Long: "Print a file with all keys, their meaning and their defaults." + exits(),
		Args: cobra.ExactArgs(1), ValidArgs: scopes,
		RunE: works(func(_ context.Context, args []string) error {
			keys, err := keysOf(args[0])
			if err != nil {
				return err
			}
			return e.out("%s", strings.TrimRight(keys.Template(), "\n"))
		}),
	}
}
