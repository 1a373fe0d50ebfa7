package daemon_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/wormhole-fs/wormhole/pkg/daemon"
)

// Each part is logged from its own level on, which may change at any time; the last part that is said counts.
func TestLevelsOfParts(t *testing.T) {
	var out bytes.Buffer
	var l daemon.Levels
	everything := &slog.HandlerOptions{Level: slog.LevelDebug}
	log := slog.New(daemon.NewLogHandler(slog.NewTextHandler(&out, everything), &l)).With("part", "daemon", "a", 1)
	store := log.With("part", "store")
	say := func() string {
		out.Reset()
		log.Debug("d")
		log.Info("i")
		store.Debug("d")
		store.Warn("w", "b", 2)
		var lines []string
		for line := range strings.Lines(out.String()) {
			_, line, _ = strings.Cut(line, "level=")
			lines = append(lines, strings.TrimSpace(line))
		}
		return strings.Join(lines, "; ")
	}
	for _, c := range []struct {
		rest  slog.Level
		parts map[string]slog.Level
		want  string
	}{
		{slog.LevelInfo, nil, `INFO msg=i a=1 part=daemon; WARN msg=w a=1 b=2 part=store`},
		{slog.LevelError, map[string]slog.Level{"store": slog.LevelDebug}, `DEBUG msg=d a=1 part=store; WARN msg=w a=1 b=2 part=store`},
		{slog.LevelDebug, map[string]slog.Level{"store": slog.LevelError}, `DEBUG msg=d a=1 part=daemon; INFO msg=i a=1 part=daemon`},
	} {
		l.Set(c.rest, c.parts)
		if got := say(); got != c.want {
			t.Errorf("%v %v: got\n%s, want\n%s", c.rest, c.parts, got, c.want)
		}
	}
	var fresh daemon.Levels
	if slog.New(daemon.NewLogHandler(slog.DiscardHandler, &fresh)).Enabled(t.Context(), slog.LevelDebug) {
		t.Error("debug is logged where nobody asked for it")
	}
}
