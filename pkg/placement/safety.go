package placement

import "fmt"

// State is how safe bytes are. They are ordered: of two things the greater state is the worse.
type State uint8

// The states, as user.wh.state, wh where and wh status show them.
const (
	StateSafe        State = iota // on as many different pods as the policy asks for
	StateSpreading                // on the way there
	StateLocal                    // on this pod alone, and on the way
	StateDirty                    // not named by the state yet; an fsync may have made them durable here
	StateDegraded                 // on fewer pods than the policy asks for, and that can't be changed now: pods are missing
	StateUnavailable              // no pod that can be reached has them, or not enough fragments of them
)

// stateWords are the states' words.
var stateWords = [...]string{"safe", "spreading", "local", "dirty", "degraded", "unavailable"}

// String is the state's word.
func (s State) String() string {
	if int(s) < len(stateWords) {
		return stateWords[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Safety is a State with what there is, and what the policy asks for, in different pods that hold a copy or a fragment.
type Safety struct {
	State State
	Have  int
	Need  int
}

// String is the state's word, with the numbers where they tell something: "safe", "spreading 3/6", "degraded 1/2".
func (s Safety) String() string {
	if s.State == StateSpreading || s.State == StateDegraded {
		return fmt.Sprintf("%s %d/%d", s.State, s.Have, s.Need)
	}
	return s.State.String()
}

// Worse is the worse of two: that of a file is the worst of its chunks'.
func (s Safety) Worse(o Safety) Safety {
	if o.State > s.State || o.State == s.State && o.Need-o.Have > s.Need-s.Have {
		return o
	}
	return s
}
