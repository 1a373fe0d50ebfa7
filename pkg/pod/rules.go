package pod

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// Extension fields of the network's settings (docs/format/member.md). Each is a duration: 8 bytes, big-endian, milliseconds. One that
// can't be read counts as not set.
const (
	fieldTrash   = 1
	fieldDormant = 2
	fieldSuspect = 3
	fieldDown    = 4
	fieldRepair  = 5
	fieldOut     = 6
	fieldLower   = 7
)

// Defaults of the rules about silence and change (DESIGN section 6).
const (
	DefaultSuspect = 4 * time.Second
	DefaultDown    = 30 * time.Second
	DefaultRepair  = 10 * time.Minute
	DefaultOut     = time.Hour
	DefaultLower   = 24 * time.Hour
)

// ruleMax is the longest duration of a rule.
const ruleMax = 100 * 365 * 24 * time.Hour

// RuleKeys are the keys of the network's configuration: what an admin sets for all pods, which each keeps from the moment that it hears of it.
func RuleKeys() config.Keys {
	return config.Keys{Kind: "network", All: append([]config.Key{
		{
			Name: "policy", Default: defaultPolicy, Check: func(s string) error { _, err := placement.ParsePolicy(s); return err },
			Doc: "How files are kept where neither they nor a folder above says: none, raid0, raid1, raid5, raid6,\nreplica:N or rs:K+M. See wh policy.",
		},
		{
			Name: "durability", Default: defaultDurable, Check: checkDurability,
			Doc: "When an fsync and wh add return, where neither a file nor a folder above says: local, quorum or full.",
		},
		{
			Name: "trash", Type: config.Duration, Default: DefaultTrash.String(), Check: checkRule,
			Doc: "How long the bytes of what was deleted stay on the disks at least.",
		},
		{
			Name: "dormant", Type: config.Duration, Default: DefaultDormant.String(), Check: checkRule,
			Doc: "A pod that was silent for longer holds up neither the emptying of the trash nor the cutting of the log.",
		},
		{
			Name: "suspect", Type: config.Duration, Default: DefaultSuspect.String(), Check: checkRule,
			Doc: "A pod that was silent for so long is shown as suspect.",
		},
		{
			Name: "down", Type: config.Duration, Default: DefaultDown.String(), Check: checkRule,
			Doc: "A pod that was silent for so long is down: new bytes go elsewhere, and what it has and can bear no further loss is made again.",
		},
		{
			Name: "repair", Type: config.Duration, Default: DefaultRepair.String(), Check: checkRule,
			Doc: "What a pod has that was silent for so long is made again where it can bear one further loss alone.",
		},
		{
			Name: "out", Type: config.Duration, Default: DefaultOut.String(), Check: checkRule,
			Doc: "A pod that more than half of the active pods have not heard for so long is out: all that it has is made again.",
		},
		{
			Name: "lower", Type: config.Duration, Default: DefaultLower.String(), Check: checkRule,
			Doc: "How long a policy must have held until what it does not ask for is given up. Returns of a pod that comes and goes count half after so long:\nwhile they do, what was made in its place stays.",
		},
	}, append(careKeys(), accessKeys()...)...)}
}

func checkRule(s string) error {
	d, err := time.ParseDuration(s)
	if err == nil && (d < time.Millisecond || d > ruleMax) {
		err = fmt.Errorf("%s is not between 1ms and %s", s, ruleMax)
	}
	return err
}

// Rule is the value of a key of RuleKeys.
type Rule struct {
	Value string // as on a command line
	Set   bool   // by an admin; else it is the default
}

// Rules are the network's rules, by key.
func (p *Pod) Rules() map[string]Rule {
	s := p.reg.defaults()
	out := map[string]Rule{
		"policy":     {s.Policy, s.Policy != defaultPolicy},
		"durability": {s.Durability, s.Durability != defaultDurable},
	}
	for key, rule := range textRules {
		out[key] = p.textRule(rule)
	}
	for key, field := range ruleFields {
		d, set := duration(s, field)
		if !set {
			d = p.unruled(field)
		}
		out[key] = Rule{d.String(), set}
	}
	return out
}

// ruleFields are the keys that are durations.
var ruleFields = map[string]uint32{
	"trash": fieldTrash, "dormant": fieldDormant, "suspect": fieldSuspect, "down": fieldDown, "repair": fieldRepair, "out": fieldOut, "lower": fieldLower,
	"moves_after": fieldMovesAfter,
}

// SetRule sets one of the network's rules, for all pods. It is durable here, and sent to all that are connected, when it returns nil. Errors:
// config.ErrNoKey and ErrBad; member.ErrDenied if this pod is no admin's.
func (p *Pod) SetRule(ctx context.Context, key, value string) error {
	k, err := RuleKeys().Find(key)
	if err != nil {
		return err
	}
	if _, err := k.Literal(value); err != nil {
		return err
	}
	if key == "minority_read_only" && value != "" && p.reg.defaults().Encrypted() {
		return fmt.Errorf("%s: %w: in an encrypted network the settings name no paths, since storage pods have them too", key, config.ErrBad)
	}
	by, err := p.authority()
	if err != nil {
		return err
	}
	s := p.reg.defaults()
	switch key {
	case "policy":
		if s.Policy, err = p.policyText(value); err != nil {
			return err
		}
	case "durability":
		s.Durability = value
	default:
		if key == "access" && value == AccessOpen && s.Encrypted() {
			return fmt.Errorf("access: %w: an encrypted network is not open, since who joins gets its key", config.ErrBad)
		}
		if rule, ok := textRules[key]; ok {
			s.Ext = withField(s.Ext, rule.field, []byte(value))
			break
		}
		d, err := time.ParseDuration(value)
		if err != nil {
			return err
		}
		s.Ext = withField(s.Ext, ruleFields[key], binary.BigEndian.AppendUint64(nil, uint64(d.Milliseconds())))
	}
	s.Version = uint64(state.NextHLC(state.HLC(s.Version), p.clock.Now()))
	if s, err = s.Sign(by.chain, by.sign); err != nil {
		return err
	}
	return p.learn(ctx, member.EncodeStatement(member.KindNetwork, s.Encode()), p.id)
}

// unknownRules is how many fields of the settings no rule of this version is: an admin with a later one has set them.
func unknownRules(s member.Settings) int {
	known := make(map[uint32]bool)
	for _, field := range ruleFields {
		known[field] = true
	}
	for _, rule := range textRules {
		known[rule.field] = true
	}
	n := 0
	for _, f := range s.Ext {
		if !known[f.ID] {
			n++
		}
	}
	return n
}

// withField is a list of fields in which one has a new value.
func withField(fields []member.Field, id uint32, value []byte) []member.Field {
	i, found := slices.BinarySearchFunc(fields, id, func(f member.Field, id uint32) int { return int(int64(f.ID) - int64(id)) })
	fields = slices.Clone(fields)
	if found {
		fields[i].Value = value
		return fields
	}
	return slices.Insert(fields, i, member.Field{ID: id, Value: value})
}

// duration is a field of the settings.
func duration(s member.Settings, id uint32) (d time.Duration, set bool) {
	for _, f := range s.Ext {
		if f.ID == id && len(f.Value) == 8 {
			ms := binary.BigEndian.Uint64(f.Value)
			return time.Duration(ms) * time.Millisecond, 0 < ms && ms <= uint64(ruleMax/time.Millisecond)
		}
	}
	return 0, false
}

// trashAfter is how long deleted bytes stay in the trash at least.
func (p *Pod) trashAfter() time.Duration { return p.ruled(fieldTrash) }

// dormantAfter is how long a pod may be silent before it holds up no deletion.
func (p *Pod) dormantAfter() time.Duration { return p.ruled(fieldDormant) }

// suspectAfter is how long a pod may be silent until that is shown.
func (p *Pod) suspectAfter() time.Duration { return p.ruled(fieldSuspect) }

// downAfter is how long a pod may be silent until it counts as down.
func (p *Pod) downAfter() time.Duration { return p.ruled(fieldDown) }

// repairAfter is how long a pod may be down until what has one loss to spare is made again.
func (p *Pod) repairAfter() time.Duration { return p.ruled(fieldRepair) }

// outAfter is how long a pod may be silent until this one says that it is out: not before it is down.
func (p *Pod) outAfter() time.Duration { return max(p.ruled(fieldOut), p.downAfter()) }

// lowerAfter is how long a policy must have held until what is surplus under it is given up.
func (p *Pod) lowerAfter() time.Duration { return p.ruled(fieldLower) }

func (p *Pod) ruled(field uint32) time.Duration {
	if d, set := duration(p.reg.defaults(), field); set {
		return d
	}
	return p.unruled(field)
}

// unruled is what holds where no admin has set a rule.
func (p *Pod) unruled(field uint32) time.Duration {
	switch field {
	case fieldTrash:
		return p.o.TrashAfter
	case fieldDormant:
		return p.o.DormantAfter
	case fieldSuspect:
		return DefaultSuspect
	case fieldDown:
		return DefaultDown
	case fieldRepair:
		return DefaultRepair
	case fieldOut:
		return DefaultOut
	case fieldMovesAfter:
		return DefaultMovesAfter
	}
	return p.o.LowerAfter
}

// policyText is a policy as rows and settings hold it: RAID words are resolved once, when they are set. Error: placement.ErrBadPolicy.
func (p *Pod) policyText(policy string) (string, error) {
	parsed, err := placement.ParsePolicy(policy)
	if err != nil {
		return "", err
	}
	return parsed.Resolve(p.reg.layout().Len()).String(), nil
}

// checkDurability says whether a text is a durability.
func checkDurability(s string) error {
	switch s {
	case durabilityLocal, durabilityQuorum, durabilityFull:
		return nil
	}
	return fmt.Errorf("durability %q is not local, quorum or full: %w", s, placement.ErrBadPolicy)
}
