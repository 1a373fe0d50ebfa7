package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/clock"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/pace"
	"github.com/wormhole-fs/wormhole/pkg/pod"
)

// watchEvery is how often the daemon looks whether a file of the configuration was edited.
const watchEvery = time.Second

func (m *machine) machineFile() string { return m.o.Home.File(config.MachineFile) }

// Config is every key of this machine, of a pod and of its network.
func (m *machine) Config(_ context.Context, podName string) ([]api.ConfigKey, error) {
	r, err := m.find(podName)
	if err != nil {
		return nil, err
	}
	mc, err := config.LoadMachine(m.machineFile())
	if err != nil {
		return nil, err
	}
	pc, err := config.LoadPod(r.file())
	if err != nil {
		return nil, err
	}
	out := fileKeys(api.ScopeMachine, m.machineFile(), config.MachineKeys(), mc.Get)
	out = append(out, fileKeys(api.ScopePod, r.file(), config.PodKeys(), pc.Get)...)
	rules := r.pod.Rules()
	for _, k := range pod.RuleKeys().All {
		out = append(out, ruleKey(k.Name, rules[k.Name]))
	}
	return out, nil
}

func ruleKey(name string, rule pod.Rule) api.ConfigKey {
	origin := "default"
	if rule.Set {
		origin = "network"
	}
	return api.ConfigKey{Scope: api.ScopeNetwork, Key: name, Value: rule.Value, Origin: origin}
}

// fileKeys are the keys of one file.
func fileKeys(scope, path string, keys config.Keys, get func(string) string) []api.ConfigKey {
	var out []api.ConfigKey
	for _, k := range keys.All {
		out = append(out, fileKey(scope, path, k.Name, get(k.Name)))
	}
	return out
}

func fileKey(scope, path, key, value string) api.ConfigKey {
	origin := "default"
	if line := config.LineOf(path, key); line > 0 {
		origin = fmt.Sprintf("%s:%d", path, line)
	}
	return api.ConfigKey{Scope: scope, Key: key, Value: value, Origin: origin}
}

// SetConfig sets one key. What can change while pods run does at once.
func (m *machine) SetConfig(ctx context.Context, podName string, q api.ConfigSet) (api.ConfigDone, error) {
	if q.Scope == api.ScopeMachine {
		mc, err := config.SetMachine(m.machineFile(), q.Key, q.Value)
		if err != nil {
			return api.ConfigDone{}, err
		}
		m.applyMachine(ctx, mc)
		key, err := config.MachineKeys().Find(q.Key)
		return api.ConfigDone{ConfigKey: fileKey(q.Scope, m.machineFile(), q.Key, mc.Get(q.Key)), Restart: key.Restart}, err
	}
	r, err := m.find(podName)
	if err != nil {
		return api.ConfigDone{}, err
	}
	switch q.Scope {
	case api.ScopePod:
		return r.setKey(ctx, m, q)
	case api.ScopeNetwork:
		if err := r.pod.SetRule(ctx, q.Key, q.Value); err != nil {
			return api.ConfigDone{}, err
		}
		return api.ConfigDone{ConfigKey: ruleKey(q.Key, r.pod.Rules()[q.Key])}, nil
	}
	return api.ConfigDone{}, fmt.Errorf("scope %q is not machine, pod or network: %w", q.Scope, api.ErrUsage)
}

// setKey sets a key of the pod's file.
func (r *running) setKey(ctx context.Context, m *machine, q api.ConfigSet) (api.ConfigDone, error) {
	r.mu.Lock()
	cfg, err := config.SetPod(r.file(), q.Key, q.Value)
	r.mu.Unlock()
	if err != nil {
		return api.ConfigDone{}, err
	}
	m.applyPod(ctx, r, cfg)
	key, err := config.PodKeys().Find(q.Key)
	return api.ConfigDone{ConfigKey: fileKey(q.Scope, r.file(), q.Key, cfg.Get(q.Key)), Restart: key.Restart}, err
}

// applyMachine has what the machine's file says in force.
func (m *machine) applyMachine(ctx context.Context, mc config.Machine) {
	m.notifier.Set(targets(mc.Notify, m.o.Clock))
	m.tellMachine(mc)
	if m.o.Levels == nil {
		return
	}
	rest, err := mc.Level()
	parts, perr := mc.PartLevels()
	if err = errors.Join(err, perr); err != nil {
		m.o.Log.ErrorContext(ctx, "the levels of the log stay as they are", "error", err) // As the file was checked, this is a bug.
		return
	}
	m.o.Levels.Set(rest, parts)
	m.o.Log.InfoContext(ctx, "the machine's configuration was read", "log_level", mc.LogLevel, "log_levels", mc.LogLevels)
}

// tellMachine tells users what of the machine's file has changed. Whom to tell of warnings is not shown: addresses may be secrets.
func (m *machine) tellMachine(mc config.Machine) {
	m.mu.Lock()
	old := m.now
	m.now = mc
	m.mu.Unlock()
	for _, k := range config.MachineKeys().All {
		m.tellKey("machine", k, old.Get(k.Name), mc.Get(k.Name), m.all()...)
	}
	if !reflect.DeepEqual(old.Notify, mc.Notify) {
		m.tell(fmt.Sprintf("machine: there are %d notify tables, and were %d; some are others", len(mc.Notify), len(old.Notify)), m.all()...)
	}
}

// tellKey tells users of pods that a key has another value.
func (m *machine) tellKey(scope string, k config.Key, was, is string, pods ...*running) {
	if was == is {
		return
	}
	text := fmt.Sprintf("%s: %s is %q, was %q", scope, k.Name, is, was)
	if k.Restart || k.Fixed {
		text += "; in force at the next wh up"
	}
	m.tell(text, pods...)
}

func (m *machine) tell(text string, pods ...*running) {
	for _, r := range pods {
		r.pod.ConfigChanged(text)
	}
}

// applyPod has what a pod's file says in force, as far as it can be while the pod runs. Of the rest it says that it waits for a restart.
func (m *machine) applyPod(ctx context.Context, r *running, cfg config.Pod) {
	r.mu.Lock()
	old := r.now
	r.now = cfg
	r.mu.Unlock()
	if t := tuning(cfg); !reflect.DeepEqual(t, tuning(old)) {
		r.pod.Tune(ctx, t)
	}
	if s := share(cfg); s != share(old) {
		if err := r.pod.SetShare(ctx, s); err != nil {
			m.o.Log.ErrorContext(ctx, "other pods don't know this pod's new weight, zone and class; they will after wh down and wh up", "pod", r.name, "err", err)
		}
	}
	for _, k := range config.PodKeys().All {
		value := cfg.Get(k.Name)
		if value == old.Get(k.Name) {
			continue
		}
		m.tellKey("pod", k, old.Get(k.Name), value, r)
		m.o.Log.InfoContext(ctx, "the configuration has changed", "pod", r.name, "key", k.Name, "value", value, "restart", k.Restart || k.Fixed)
	}
}

// tuning is what of a pod's file is in force at once.
func tuning(cfg config.Pod) pod.Tuning {
	t := pod.Tuning{CacheBytes: cfg.CacheBytes, CacheFree: cfg.CacheFree, RateLAN: cfg.LAN, Announce: cfg.Announce, Entries: cfg.EntryPoints}
	t.Rates = pace.Rates{Up: cfg.Up, Down: cfg.Down, Pod: cfg.PerPod, Floor: cfg.Floor}
	t.Rates.Class[pace.Read], t.Rates.Class[pace.Spread] = cfg.Read, cfg.Spread
	t.Rates.Class[pace.Repair], t.Rates.Class[pace.Balance] = cfg.Repair, cfg.Balance
	return t
}

// share is what a pod's file says that the pod takes of the network's data.
func share(cfg config.Pod) pod.Share {
	return pod.Share{Weight: uint32(cfg.Weight), Zone: cfg.Zone, Class: cfg.Class, Priority: uint32(cfg.Priority)} //nolint:gosec // the file was checked
}

// stamp tells whether a file was changed.
type stamp struct {
	at   time.Time
	size int64
}

func stampOf(path string) stamp {
	st, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{st.ModTime(), st.Size()}
}

// stamps are those of all files of the configuration.
func (m *machine) stamps() map[string]stamp {
	out := map[string]stamp{m.machineFile(): stampOf(m.machineFile())}
	for _, r := range m.all() {
		out[r.file()] = stampOf(r.file())
	}
	return out
}

// watchConfig has changes of the files since seen in force when they are made, until ctx ends. A file that is wrong changes nothing, and is told of once.
func (m *machine) watchConfig(ctx context.Context, seen map[string]stamp) {
	look := func(path string, load func() error, pods ...*running) {
		now := stampOf(path)
		was, known := seen[path]
		seen[path] = now
		if !known || was == now {
			return
		}
		if err := load(); err != nil {
			m.o.Log.WarnContext(ctx, "what was before stays in force: a file of the configuration is wrong", "err", err)
			m.tell("what was before stays in force: "+err.Error(), pods...)
		}
	}
	for {
		look(m.machineFile(), func() error {
			mc, err := config.LoadMachine(m.machineFile())
			if err == nil {
				m.applyMachine(ctx, mc)
			}
			return err
		}, m.all()...)
		for _, r := range m.all() {
			look(r.file(), func() error {
				cfg, err := config.LoadPod(r.file())
				if err == nil {
					m.applyPod(ctx, r, cfg)
				}
				return err
			}, r)
		}
		if clock.Sleep(ctx, m.o.Clock, watchEvery) != nil {
			return
		}
	}
}
