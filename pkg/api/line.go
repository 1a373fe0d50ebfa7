package api

// Line is one line of an answer that comes as a list, an object a line: an item, or the error that ended the list, or
// the end. A list without its end was cut off.
type Line[T any] struct {
	Item *T     `json:"item,omitempty"`
	Err  *Error `json:"error,omitempty"`
	End  bool   `json:"end,omitempty"`
}

// ErrorTrailer is the HTTP trailer that tells how a stream of bytes ended: "ok", or an Error as JSON in base64.
const ErrorTrailer = "Wormhole-Error"
