package pod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wormhole-fs/wormhole/chunker"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Rules of paths stand beside the policy in a folder's or file's wish, which all pods have, and go with it where it is moved. What is below inherits
// each from the nearest that has it; of quotas all count. They are asked anew at each use, so that a change is in force as soon as it is heard of.

// Words of rules of paths.
const (
	compressionZstd = "zstd"
	compressionOff  = "off"
	retentionAll    = "all"
	quotaNone       = "none"
	ruleUnset       = "unset" // takes a rule away, so that it is inherited again
)

// chunkings are the ways to cut files that can be chosen.
var chunkings = map[string]chunker.Params{
	"content:1MiB":   chunker.DefaultParams(),
	"content:256KiB": chunker.Gear(256 << 10),
	"fixed:64KiB":    chunker.Fixed(64 << 10),
	"fixed:256KiB":   chunker.Fixed(256 << 10),
	"fixed:1MiB":     chunker.Fixed(1 << 20),
	"fixed:4MiB":     chunker.Fixed(4 << 20),
}

// retentionMin is the shortest retention: roots of the tree of less than a minute ago are all kept.
const retentionMin = time.Minute

// pathRules are the rules of paths, by the field of a wish that has each.
var pathRules = map[string]uint64{
	"compression": state.WishCompression,
	"chunking":    state.WishChunking,
	"retention":   state.WishRetention,
	"minority":    state.WishMinority,
	"quota":       state.WishQuota,
}

// PathKeys are the rules of paths, as wh policy set has them.
func PathKeys() config.Keys {
	return config.Keys{Kind: "path", All: []config.Key{
		{
			Name: "compression", Default: compressionZstd, Check: oneOf(compressionZstd, compressionOff),
			Doc: "How new bytes of files are stored: zstd (compressed where that saves a sixteenth), or off (as they are).",
		},
		{
			Name: "chunking", Default: "content:1MiB", Check: checkChunking,
			Doc: "How new bytes of files are cut: content:1MiB or content:256KiB (where their contents say, so that what is put in moves no other cut;\n" +
				"smaller chunks find more that is equal), or fixed:64KiB, fixed:256KiB, fixed:1MiB, fixed:4MiB (for disks of machines and databases).",
		},
		{
			Name: "retention", Default: retentionAll, Check: checkRetention,
			Doc: "How long what was overwritten or deleted can be had back, beside the trash: all that the snapshots keep, or a duration, after\n" +
				"which what snapshots made by themselves have of it is given up. Snapshots that somebody named keep all they have.",
		},
		{
			Name: "minority", Check: func(s string) error { return oneOf(minorityWrite, minorityRead)(s) },
			Doc: "What a pod does with changes here that sees half of the active pods or less: write or read-only. Not set: as the network's rule says.",
		},
		{
			Name: "quota", Default: quotaNone, Check: checkQuota,
			Doc: "How many bytes of files may be at and below the path, a number or with KiB, MiB, GiB or TiB; none. Writes beyond fail; what pods wrote\n" +
				"that did not see each other is merged all the same.",
		},
	}}
}

func checkChunking(s string) error {
	if _, ok := chunkings[s]; ok {
		return nil
	}
	names := []string{}
	for name := range chunkings {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("%q is not %s", s, strings.Join(names, " or "))
}

func checkRetention(s string) error {
	if _, ok := parseRetention(s); !ok {
		return fmt.Errorf("%q is neither all nor a duration from 1m to %s, as 720h", s, ruleMax)
	}
	return nil
}

func checkQuota(s string) error {
	if s == quotaNone {
		return nil
	}
	_, err := config.ParseBytes(s)
	return err
}

// PathRule is a rule of a path.
type PathRule struct {
	Path  string // where it is set; "": nowhere, it is the default
	Rule  string // one of PathKeys
	Value string
}

// SetPathRules sets rules of a node, for it and all below that has none of its own; the value "unset" takes one away. It is durable here when it returns.
// Errors: those of CheckPathRules, vfs.ErrNotExist.
func (p *Pod) SetPathRules(ctx context.Context, id vfs.NodeID, rules map[string]string) error {
	if err := CheckPathRules(rules); err != nil {
		return err
	}
	edit := state.WishEdit{Rules: make(map[uint64]string)}
	for name, value := range rules {
		if value == ruleUnset {
			value = ""
		}
		edit.Rules[pathRules[name]] = value
	}
	return p.wish(ctx, id, edit)
}

// CheckPathRules says what is wrong with rules before one of them is set. Errors: config.ErrNoKey and ErrBad.
func CheckPathRules(rules map[string]string) error {
	for name, value := range rules {
		key, err := PathKeys().Find(name)
		if err != nil {
			return err
		}
		if _, err := key.Literal(value); err != nil && value != ruleUnset {
			return err
		}
	}
	return nil
}

// ruleAt is the value of a rule at a node: the nearest that is set and can be read; at is where. "": none is set.
func (p *Pod) ruleAt(id vfs.NodeID, name string, check func(string) error) (value string, at vfs.NodeID, err error) {
	err = p.db.WishesUp(id, func(node vfs.NodeID, w state.Wish) {
		if text := w.Rule(pathRules[name]); value == "" && text != "" && check(text) == nil {
			value, at = text, node
		}
	})
	return value, at, err
}

// rulesAt are all rules of paths that hold at a node, in the order of PathKeys.
func (p *Pod) rulesAt(id vfs.NodeID) ([]PathRule, error) {
	var out []PathRule
	for _, key := range PathKeys().All {
		value, at, err := p.ruleAt(id, key.Name, key.Check)
		if err != nil {
			return nil, err
		}
		one := PathRule{Rule: key.Name, Value: value}
		switch {
		case value != "":
			if one.Path, err = p.db.Path(at); err != nil {
				return nil, err
			}
		case key.Name == "minority":
			one.Value = p.textRule(textRules["minority"]).Value
		default:
			one.Value = key.Default
		}
		out = append(out, one)
	}
	return out, nil
}

// unknownPaths is how many rules of paths, policies and durabilities among them, this version does not know or can't read: it works as if they were not set, a
// policy as replica:2. Of many paths it is counted again when a hundred times as long as the last count took is over.
type unknownPaths struct {
	mu    sync.Mutex // guards the fields below, and has one count at a time
	n     int
	until time.Time
}

func (p *Pod) unknownPathRules(ctx context.Context) (int, error) {
	u := &p.unknownPaths
	u.mu.Lock()
	defer u.mu.Unlock()
	begin := p.clock.Now()
	if begin.Before(u.until) {
		return u.n, nil
	}
	checks := map[uint64]func(string) error{state.WishMoved: func(string) error { return nil }}
	for _, key := range PathKeys().All {
		checks[pathRules[key.Name]] = key.Check
	}
	u.n = 0
	err := p.db.EachWish(ctx, func(_ vfs.NodeID, w state.Wish) error {
		u.n += unknownIn(&w, checks)
		return nil
	})
	end := p.clock.Now()
	if u.until = end; err == nil {
		u.until = end.Add(100 * end.Sub(begin))
	}
	return u.n, err
}

// unknownIn counts the rules of a wish that this version does not know or can't read, by the checks of those that it knows.
func unknownIn(w *state.Wish, checks map[uint64]func(string) error) (n int) {
	for _, e := range w.Ext {
		if check, known := checks[e.Field]; len(e.Value) > 0 && (!known || check(string(e.Value)) != nil) {
			n++
		}
	}
	if _, err := placement.ParsePolicy(w.Policy.Value); w.Policy.Value != "" && err != nil {
		n++
	}
	if w.Durability.Value != "" && checkDurability(w.Durability.Value) != nil {
		n++
	}
	return n
}

// PathRules are the rules that are set at and below a path, policies, durabilities and homes among them, by path.
func (p *Pod) PathRules(ctx context.Context, at string) ([]PathRule, error) {
	out := []PathRule{}
	err := p.eachWishBelow(ctx, at, func(path string, w *state.Wish) {
		homes := make([]string, len(w.Homes.Value))
		for i, pod := range w.Homes.Value {
			homes[i] = p.reg.name(pod)
		}
		list := []PathRule{{path, "policy", w.Policy.Value}, {path, "durability", w.Durability.Value}, {path, "home", strings.Join(homes, ",")}}
		for _, key := range PathKeys().All {
			list = append(list, PathRule{path, key.Name, w.Rule(pathRules[key.Name])})
		}
		for _, one := range list {
			if one.Value != "" {
				out = append(out, one)
			}
		}
	})
	slices.SortStableFunc(out, func(a, b PathRule) int { return strings.Compare(a.Path, b.Path) })
	return out, err
}

// making is how new bytes of a file become chunks: what the rules of its path say.
type making struct {
	cut chunker.Cutter
	raw bool // they are not compressed
}

// params are those of a body that was made so, as it has them; nil: the default's.
func (m making) params() []byte {
	if m.cut.IsDefault() {
		return nil
	}
	return m.cut.Params().Append(nil)
}

// makingAt is how new bytes of a node become chunks. One that has no name any more, and rules that can't be read, are made as by default.
func (p *Pod) makingAt(id vfs.NodeID) making {
	table := p.seal.Load().table
	m := making{cut: table.Default()}
	chunking, compression := "", ""
	err := p.db.WishesUp(id, func(_ vfs.NodeID, w state.Wish) {
		if text := w.Rule(state.WishChunking); chunking == "" && checkChunking(text) == nil {
			chunking = text
		}
		if text := w.Rule(state.WishCompression); compression == "" {
			compression = text
		}
	})
	if err != nil && !errors.Is(err, vfs.ErrNotExist) {
		p.log.Warn("a file is stored as by default, since its path's rules can't be read", "node", id, "err", err)
		return m
	}
	m.raw = compression == compressionOff
	if params, ok := chunkings[chunking]; ok {
		if cut, err := table.With(params); err == nil {
			m.cut = cut
		}
	}
	return m
}
