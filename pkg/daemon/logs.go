package daemon

import (
	"context"
	"log/slog"
	"maps"
	"sync/atomic"
)

// partKey is the attribute of a logger that names the part of the program that writes: config.LogParts.
const partKey = "part"

// Levels is from which level on each part of the program is logged; the zero value logs all from info on. It is safe for concurrent use.
type Levels struct{ now atomic.Pointer[levels] }

type levels struct {
	rest  slog.Level
	parts map[string]slog.Level
}

// Set has parts logged from their levels on, and all others from rest on.
func (l *Levels) Set(rest slog.Level, parts map[string]slog.Level) {
	l.now.Store(&levels{rest, maps.Clone(parts)})
}

// Of is the level from which on a part is logged.
func (l *Levels) Of(part string) slog.Level {
	now := l.now.Load()
	if now == nil {
		return slog.LevelInfo
	}
	if at, ok := now.parts[part]; ok {
		return at
	}
	return now.rest
}

// logHandler passes on what the level of its part lets through.
type logHandler struct {
	slog.Handler

	levels *Levels
	part   string // "": none said which
}

// NewLogHandler is a handler that passes on to inner, which must let everything through, what levels allow. The part is that of the last attribute "part" that
// a logger was given, and stands in each record once.
func NewLogHandler(inner slog.Handler, l *Levels) slog.Handler {
	return logHandler{Handler: inner, levels: l}
}

// Enabled is slog.Handler's.
func (h logHandler) Enabled(_ context.Context, at slog.Level) bool { return at >= h.levels.Of(h.part) }

// Handle is slog.Handler's.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.part != "" {
		r = r.Clone()
		r.AddAttrs(slog.String(partKey, h.part))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is slog.Handler's.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var rest []slog.Attr
	for _, a := range attrs {
		if a.Key == partKey {
			h.part = a.Value.String()
			continue
		}
		rest = append(rest, a)
	}
	h.Handler = h.Handler.WithAttrs(rest)
	return h
}

// WithGroup is slog.Handler's.
func (h logHandler) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}
