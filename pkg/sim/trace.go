package sim

import (
	"fmt"
	"io"
)

// Trace tells what happened, a line for each thing; nil tells nobody.
type Trace struct{ w io.Writer }

// NewTrace writes to w.
func NewTrace(w io.Writer) *Trace { return &Trace{w: w} }

func (t *Trace) say(format string, args ...any) {
	if t != nil {
		_, _ = fmt.Fprintf(t.w, format+"\n", args...) // a log that can't be written doesn't change what happens
	}
}
