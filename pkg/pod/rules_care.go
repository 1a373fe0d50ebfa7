package pod

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/config"
)

// Extension fields of the network's settings (docs/format/member.md), beside those of rules.go. All but fieldMovesAfter are texts.
const (
	fieldMoves         = 16
	fieldMovesAfter    = 17
	fieldMinority      = 18
	fieldMinorityPaths = 19
)

// DefaultMovesAfter is how long a file must have been read most on a pod before it moves there.
const DefaultMovesAfter = 24 * time.Hour

// What is done about files that are read most on a pod where they are not at home.
const (
	movesOff     = "off"
	movesSuggest = "suggest" // wh stats hot tells
	movesAuto    = "auto"
)

// What a pod that sees half of the active pods or less does with changes.
const (
	minorityWrite = "write"     // it takes them; they are merged later
	minorityRead  = "read-only" // it refuses them
)

// careKeys are the keys of the network about moves and about minorities.
func careKeys() []config.Key {
	return []config.Key{
		{
			Name: "moves", Default: movesSuggest, Check: textRules["moves"].check,
			Doc: "Files that are read most on a pod where they are not at home: off, suggest (wh stats hot tells), or auto (their home moves).",
		},
		{
			Name: "moves_after", Type: config.Duration, Default: DefaultMovesAfter.String(), Check: checkRule,
			Doc: "How long a file must have been read most on a pod before it moves, and how long it stays at least. Reads so long ago count half.",
		},
		{
			Name: "minority", Default: minorityWrite, Check: textRules["minority"].check,
			Doc: "What a pod does with changes that sees half of the active pods or less: write (they are merged later) or read-only.",
		},
		{
			Name: "minority_read_only", Default: "", Check: textRules["minority_read_only"].check,
			Doc: "Paths, with commas between them, at and below which such a pod takes no changes although the rule above says write.",
		},
	}
}

// textRule is a rule whose value is a text.
type textRule struct {
	field    uint32
	standard string // where no admin has set it
	check    func(string) error
}

var textRules = map[string]textRule{
	"moves":              {fieldMoves, movesSuggest, oneOf(movesOff, movesSuggest, movesAuto)},
	"minority":           {fieldMinority, minorityWrite, oneOf(minorityWrite, minorityRead)},
	"minority_read_only": {fieldMinorityPaths, "", checkPaths},
	"access":             {fieldAccess, AccessInvite, checkAccess},
	"certificate_life":   {fieldCertLife, certLifeNever, checkCertLife},
	"members_max":        {fieldMembersMax, strconv.Itoa(defaultMembersMax), checkMembersMax},
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		return fmt.Errorf("%q is not %s", s, strings.Join(words, " or "))
	}
}

// pathsMax is how long a list of paths may be, in bytes.
const pathsMax = 256

func checkPaths(s string) error {
	if len(s) > pathsMax {
		return fmt.Errorf("more than %d bytes", pathsMax)
	}
	for _, one := range splitPaths(s) {
		if !path.IsAbs(one) || path.Clean(one) != one {
			return errors.New("a path begins with / and has no . or .. in it")
		}
	}
	return nil
}

// splitPaths are the paths of a list.
func splitPaths(s string) (list []string) {
	for one := range strings.SplitSeq(s, ",") {
		if one = strings.TrimSpace(one); one != "" {
			list = append(list, one)
		}
	}
	return list
}

// textRule is the value of a rule that holds; one that can't be read counts as not set.
func (p *Pod) textRule(r textRule) Rule {
	for _, f := range p.reg.defaults().Ext {
		if f.ID == r.field && r.check(string(f.Value)) == nil {
			return Rule{Value: string(f.Value), Set: true}
		}
	}
	return Rule{Value: r.standard}
}

// movesAfter is how long a file must have been read most on a pod before it moves there.
func (p *Pod) movesAfter() time.Duration { return p.ruled(fieldMovesAfter) }
