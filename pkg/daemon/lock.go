package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// How long, and how often, a lock is tried whose holder doesn't answer: it starts, ends, or makes a pod.
const (
	lockWait  = 10 * time.Second
	lockRetry = 20 * time.Millisecond
)

// Lock is the lock of a WH_HOME. The kernel frees it when the process ends, however it does.
type Lock struct{ f *os.File }

// errLocked says that another process holds the lock now.
var errLocked = errors.New("locked")

// TryLock takes the lock of a WH_HOME, which is made if it is missing. The error is api.ErrInUse if another process holds
// it.
func TryLock(home api.Home) (*Lock, error) {
	if err := os.MkdirAll(home.Pods(), 0o700); err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	f, err := os.OpenFile(home.Lock(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	if err := flock(f); err != nil {
		_ = f.Close() // Nothing was written.
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("%s: %w", home, api.ErrInUse)
		}
		return nil, fmt.Errorf("daemon: lock %s: %w", home, err)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("daemon: lock %s: %w", home, err)
	}
	return &Lock{f}, nil
}

// Unlock frees it.
func (l *Lock) Unlock() error { return l.f.Close() }

// holder is the process that holds the lock, or held it last; 0 if it can't be told.
func holder(home api.Home) int {
	b, err := os.ReadFile(home.Lock())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 1 {
		return 0
	}
	return pid
}

// WaitLock takes the lock, and waits a while for a holder that doesn't answer on the API. freed is called once if the
// holder was killed and hangs; it is to cut what it hangs on. The error is api.ErrInUse.
func WaitLock(ctx context.Context, home api.Home, c clock.Clock, freed func()) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	cut := false
	for {
		l, err := TryLock(home)
		if !errors.Is(err, api.ErrInUse) {
			return l, err
		}
		switch killed := dying(holder(home)); {
		case killed && !cut:
			freed()
			cut = true
		case !killed && Answers(ctx, home):
			return nil, api.WithHint(fmt.Errorf("%s: a daemon runs: %w", home, api.ErrInUse), "wh down stops it")
		}
		if serr := clock.Sleep(ctx, c, lockRetry); serr != nil {
			return nil, err
		}
	}
}

// answerTimeout is how long a daemon may take to say who it is.
const answerTimeout = 2 * time.Second

// Answers says whether a daemon answers on a WH_HOME's socket.
func Answers(ctx context.Context, home api.Home) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := client.Call[api.Health](ctx, client.New(home, ""), "health", struct{}{})
	return err == nil
}
