// Package notify brings warnings to people: by a command, a webhook, an e-mail, a notice on the desktop.
//
// A Notifier is given what people are to know, again and again, and sees to it that each target hears of each thing once when it begins and
// once when it is over: it keeps what each target was told of, on disk, and sends the difference. So a failed message is sent again, later and
// later, a restart repeats nothing, and what begins and ends while a target can't be reached is not told at all.
//
// Safe for concurrent use; Run starts no goroutine that outlives it. Secrets come from files and are in no error and no log.
package notify

import (
	"context"
	"time"
)

// Message is one thing to tell. Its keys are a contract with those who receive it.
type Message struct {
	Network  string    `json:"network"`
	Pod      string    `json:"pod"` // that says so
	Code     string    `json:"code"`
	Subject  string    `json:"subject"` // the pod or folder that it is about; "": the pod that says so, or the network
	Severity string    `json:"severity"`
	Title    string    `json:"title"`
	Text     string    `json:"text"`
	Todo     string    `json:"todo"`
	Since    time.Time `json:"since"`
	Over     bool      `json:"over"` // it is no longer so
}

// Headline is the message in a line.
func (m Message) Headline() string {
	word := m.Severity
	if m.Over {
		word = "over"
	}
	return "Wormhole " + m.Network + ", " + word + ": " + m.Title
}

// Body is the message in lines of text.
func (m Message) Body() string {
	out := m.Text + "\n"
	if m.Over {
		return "It is over: " + out + "\nSaid by pod " + m.Pod + ".\n"
	}
	if m.Todo != "" {
		out += "\nWhat to do: " + m.Todo + "\n"
	}
	return out + "\nSaid by pod " + m.Pod + " (" + m.Code + ").\n"
}

// Sender sends one message. An error means that it may be sent again.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Target is somebody to be told.
type Target struct {
	Name   string // the same from one start to the next: what it was told of is kept by it
	Wants  func(severity string) bool
	Sender Sender
}

// Item is something that people are to know now.
type Item struct {
	Message

	// Settle is how long after the start its absence says nothing: it is not known yet then whether it still holds.
	Settle time.Duration
}

// id tells items apart.
func (i Item) id() string { return i.Network + "\x00" + i.Pod + "\x00" + i.Code + "\x00" + i.Subject }
