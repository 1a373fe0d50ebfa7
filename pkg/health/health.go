// Package health is the list of warnings: what a user should know of, or do something about.
//
// Facts are plain values that somebody gathers (package pod, and the daemon). Find says which warnings hold by them, and decides nothing by
// time. A Tracker is given what holds, again and again, with the time: it says what has held for long enough to be shown, and what a
// person is to be told of, once when it begins and once when it is over, although it comes and goes in between. The definitions, one a
// code, are in table.go; docs/health.md has a section for each.
//
// Find is a pure function. A Tracker is for one goroutine at a time.
package health

import (
	"slices"
	"time"
)

// Code names a warning for good: scripts and the documentation rely on it.
type Code string

// Severity is how bad it is.
type Severity string

// The severities, from the mildest on.
const (
	Notice  Severity = "notice" // worth knowing
	Warned  Severity = "warning"
	Serious Severity = "error" // data or work is at risk
)

// severities are all of them, in order.
var severities = []Severity{Notice, Warned, Serious}

// AtLeast says whether s is as bad as min, or worse. A severity that nobody knows is the mildest.
func (s Severity) AtLeast(least Severity) bool {
	return slices.Index(severities, s) >= slices.Index(severities, least)
}

// Severities are all, from the mildest on.
func Severities() []Severity { return slices.Clone(severities) }

// Definition is what all warnings of one code have in common.
type Definition struct {
	Code     Code
	Severity Severity
	Title    string
	Todo     string // what the user can do
	// Unhealthy says that wh status exits with 7 while it holds (the contract of the command line).
	Unhealthy bool
	// Delay is how long it must have held before it is shown.
	Delay time.Duration
	// Tell is how long it must have held before people are told; at least Delay.
	Tell time.Duration
	// Hold is how long it must be gone before people are told that it is over.
	Hold time.Duration
	// DependsOn are codes that explain this one: while one of them holds, it is shown with that as its cause, and nobody is told.
	DependsOn []Code
}

// Warning is something that holds.
type Warning struct {
	Definition

	Subject string    // the pod or folder that it is about; "": this pod, or the network. With the code it is the warning's identity
	Text    string    // for people: what is so, with names and numbers
	Since   time.Time // since when it holds, as a Tracker saw it; zero in what Find returns
	Because Code      // the code, also shown, that explains it; "": none does
}
