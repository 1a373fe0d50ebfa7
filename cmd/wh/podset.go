package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/config"
)

// podSettings are what wh pod set sets, and the keys of pod.toml behind it.
var podSettings = []struct{ name, key string }{{"zone", "zone"}, {"class", "class"}, {"weight", "weight"}, {"priority", "priority"}, {"capacity", "capacity_bytes"}}

func newPodSet(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "set KEY=VALUE...", Short: "Set what this pod stores for others, and where it stands",
		Long: "Set this pod's zone (what fails together: copies and fragments are spread over zones), class (what kind of disk it has), weight (how much it stores beside the weights of others; " +
			"100 as a rule, 0: nothing, as a portal), priority (how much rather it holds what is stored than others, up to 100), or capacity (most bytes that it stores in all, as 500GiB; 0: what the disk has). They are kept in pod.toml, and are in force at once, " +
			"the capacity after wh down and wh up." + online(exitUsage),
		Args: cobra.MinimumNArgs(1),
		RunE: works(func(ctx context.Context, args []string) error { return runPodSet(ctx, e, args) }),
	}
}

func runPodSet(ctx context.Context, e *env, args []string) error {
	var all []api.ConfigSet
	for _, arg := range args {
		q, err := podSetting(arg)
		if err != nil {
			return err
		}
		all = append(all, q)
	}
	done, restart := []api.ConfigDone{}, false
	for _, q := range all { // all were checked before the first is set
		d, err := call[api.ConfigDone](ctx, e, "config/set", q)
		if err != nil {
			return err
		}
		done, restart = append(done, d), restart || d.Restart
	}
	if e.json {
		return e.document(done)
	}
	if restart {
		e.say("the capacity is in force after wh down and wh up")
	}
	for _, d := range done {
		if err := e.out("%s.%s = %s", d.Scope, d.Key, d.Value); err != nil {
			return err
		}
	}
	return nil
}

// podSetting is what KEY=VALUE asks for.
func podSetting(arg string) (api.ConfigSet, error) {
	name, value, ok := strings.Cut(arg, "=")
	if !ok {
		return api.ConfigSet{}, usage("%q is not KEY=VALUE", arg)
	}
	var names []string
	for _, s := range podSettings {
		names = append(names, s.name)
		if s.name != name {
			continue
		}
		key, err := config.PodKeys().Find(s.key)
		if err == nil {
			_, err = key.Literal(value)
		}
		if err != nil {
			return api.ConfigSet{}, fmt.Errorf("%s: %w: %w", name, api.ErrUsage, err)
		}
		return api.ConfigSet{Scope: api.ScopePod, Key: s.key, Value: value}, nil
	}
	return api.ConfigSet{}, usage("%q is none of %s", name, strings.Join(names, ", "))
}
