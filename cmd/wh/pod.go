package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// drainLook is how often it is asked how far a drain is.
const drainLook = time.Second

func newPod(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "pod",
		Short: "Say what a pod stores, empty it, and take it out",
		Long:  "Say what this pod stores for others. Empty a pod, and take it out of those that store data for others. An admin's pod may do that to any that is connected, each pod to itself." + online(exitNotFound),
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("pod needs set, drain, remove, freeze, unfreeze or lock")
		},
	}
	var q api.DrainRequest
	var watch bool
	drain := &cobra.Command{
		Use: "drain NAME", Short: "Empty a pod",
		Long: "Have a pod take nothing new, and bring elsewhere what it holds for others. It returns at once, or with --watch when the pod is empty; " +
			"exits with 7 when no pods are there to take the rest." + online(exitNotFound, exitNotEnough),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			q.Pod = args[0]
			return runDrain(ctx, e, q, watch)
		}),
	}
	drain.Flags().BoolVar(&watch, "watch", false, "until it is empty")
	drain.Flags().BoolVar(&q.Undo, "undo", false, "use the pod again")
	var lost bool
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Take out a pod that is empty, or lost",
		Long: "End a pod's storing for others. It must have been drained; what it is still needed for is told, and the exit code is 7. With --lost the pod never answers again: " +
			"what it holds counts no more and is made again on others at once, and nothing waits for it. What it alone had is lost. Only an admin's pod may say so, " +
			"and only of one that is down (else 7). If it comes back after all it is drained; wh pod drain --undo has it used again." + online(exitNotFound, exitNotEnough),
		Args: cobra.ExactArgs(1),
		RunE: works(func(ctx context.Context, args []string) error {
			return runDrain(ctx, e, api.DrainRequest{Pod: args[0], Remove: true, Lost: lost}, false)
		}),
	}
	remove.Flags().BoolVar(&lost, "lost", false, "it never answers again")
	c.AddCommand(newPodSet(e), drain, remove, newFreeze(e), newUnfreeze(e), newPodLock(e))
	return c
}

func newFreeze(e *env) *cobra.Command {
	var last time.Duration
	c := &cobra.Command{
		Use: "freeze", Short: "Have this pod take no changes, and others repair nothing of it, while its machine is restarted",
		Long: "Have this pod take no changes for a while, and others make nothing again of what it has when it is silent in that time: its machine is to be restarted. What was written before is " +
			"durable when it returns. It ends by itself after --for, 24 h at most, or by wh pod unfreeze." + online(exitUsage, exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error {
			if last <= 0 {
				return usage("--for must be longer than nothing")
			}
			return runFreeze(ctx, e, last)
		}),
	}
	c.Flags().DurationVar(&last, "for", time.Hour, "how long at most")
	return c
}

func newUnfreeze(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "unfreeze", Short: "Have this pod take changes again", Long: "Have this pod take changes again, and others repair what it has when it is silent." + online(exitNotFound), Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runFreeze(ctx, e, 0) }),
	}
}

func runFreeze(ctx context.Context, e *env, last time.Duration) error {
	f, err := call[api.Frozen](ctx, e, "freeze", api.FreezeRequest{ForMS: last.Milliseconds()})
	if err != nil {
		return err
	}
	if e.json {
		return e.document(f)
	}
	if !f.Frozen {
		return e.out("in use")
	}
	return e.out("frozen until %s", when(f.Until))
}

func runDrain(ctx context.Context, e *env, q api.DrainRequest, watch bool) error {
	d, err := call[api.Drained](ctx, e, "drain", q)
	for err == nil && watch && !q.Undo && (!d.Counted || d.LeftBytes > 0 && !d.Stuck) {
		if d.Counted {
			e.say("%s left", size(d.LeftBytes))
		}
		if err = clock.Sleep(ctx, e.clock, drainLook); err == nil {
			d, err = call[api.Drained](ctx, e, "drain", api.DrainRequest{Pod: q.Pod, Look: true})
		}
	}
	if err != nil {
		return err
	}
	if e.json {
		err = e.document(d)
	} else {
		err = e.out("%s: %s", e.name(q.Pod), drainedText(d))
	}
	if err == nil && d.Stuck && watch {
		return fmt.Errorf("no pods are there to take %s: add a pod, or start one that is down: %w", size(d.LeftBytes), pod.ErrNotSafe)
	}
	return err
}

func drainedText(d api.Drained) string {
	switch {
	case d.Removed:
		return "removed"
	case !d.Draining:
		return "in use"
	case !d.Counted:
		return "draining"
	case d.LeftBytes == 0:
		return "empty"
	}
	return fmt.Sprintf("draining, %s left", size(d.LeftBytes))
}
