package api

import (
	"context"
	"errors"
	"io/fs"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/block"
	"github.com/wormhole-fs/wormhole/pkg/config"
	"github.com/wormhole-fs/wormhole/pkg/diskcrypt"
	"github.com/wormhole-fs/wormhole/pkg/member"
	"github.com/wormhole-fs/wormhole/pkg/placement"
	"github.com/wormhole-fs/wormhole/pkg/pod"
	"github.com/wormhole-fs/wormhole/pkg/sshkey"
	"github.com/wormhole-fs/wormhole/pkg/state"
	"github.com/wormhole-fs/wormhole/pkg/store"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// Errors of the local API itself.
var (
	// ErrUsage says that a request makes no sense as it stands.
	ErrUsage = errors.New("wrong usage")
	// ErrUnsupported says that this version can't do what was asked for.
	ErrUnsupported = errors.New("not in this version")
	// ErrNoDaemon says that no daemon answers on WH_HOME's socket.
	ErrNoDaemon = errors.New("no daemon is running")
	// ErrInUse says that another process holds WH_HOME.
	ErrInUse = errors.New("in use by another process")
	// ErrConflict says that what is to be made is there already, or is in the way.
	ErrConflict = errors.New("is there already")
	// ErrNoPod says that this machine has no pod of that name, or none at all.
	ErrNoPod = errors.New("no such pod on this machine")
	// ErrNotOwner says that the caller is neither the daemon's user nor root.
	ErrNotOwner = errors.New("only the daemon's user and root may use it")
	// ErrProtocol says that the other side broke the protocol, or is of another version.
	ErrProtocol = errors.New("the daemon and this program don't understand each other")
	// ErrStopping says that the daemon is about to stop.
	ErrStopping = errors.New("the daemon is stopping")
)

// Code names an error's kind on the wire and in --json. "failed" stands for any that has no code of its own.
type Code string

// CodeFailed is the code of errors that have none of their own.
const CodeFailed Code = "failed"

// codes is the one table of sentinels and codes: for an error that matches several, the first counts. The exit code of each stands in
// cmd/wh/exit.go.
var codes = []struct {
	Code Code
	Err  error
}{
	{"usage", ErrUsage},
	{"unsupported", ErrUnsupported},
	{"no_daemon", ErrNoDaemon},
	{"in_use", ErrInUse},
	{"conflict", ErrConflict},
	{"no_pod", ErrNoPod},
	{"not_owner", ErrNotOwner},
	{"no_privilege", ErrPrivilege},
	{"protocol", ErrProtocol},
	{"stopping", ErrStopping},
	{"bad_config", config.ErrBad},
	{"no_config_key", config.ErrNoKey},

	{"block_not_found", block.ErrNotFound},
	{"corrupt", block.ErrCorrupt},
	{"unavailable", block.ErrUnavailable},
	{"bad_cid", block.ErrBadID},

	{"disk_locked", pod.ErrDiskLocked}, // whatever the reason that it comes with
	{"bad_lock", diskcrypt.ErrBadLock},
	{"weak_key", diskcrypt.ErrChanging},

	{"blind", pod.ErrBlind},  // a pod.ErrNoKey
	{"no_key", pod.ErrNoKey}, // a vfs.ErrNotPermitted
	{"no_such_pod", pod.ErrNoSuchPod},
	{"not_exist", vfs.ErrNotExist},
	{"exist", vfs.ErrExist},
	{"not_folder", vfs.ErrNotDir},
	{"is_folder", vfs.ErrIsDir},
	{"not_empty", vfs.ErrNotEmpty},
	{"invalid", vfs.ErrInvalid},
	{"name_too_long", vfs.ErrNameTooLong},
	{"bad_name", vfs.ErrBadName},
	{"not_permitted", vfs.ErrNotPermitted},
	{"no_xattr", vfs.ErrNoXattr},
	{"read_only", vfs.ErrReadOnly},
	{"quota", vfs.ErrQuota},
	{"no_space", vfs.ErrNoSpace},
	{"too_large", vfs.ErrTooLarge},
	{"not_supported", vfs.ErrNotSupported},
	{"too_many_links", vfs.ErrTooManyLinks},
	{"closed", vfs.ErrClosed},

	{"host_not_exist", fs.ErrNotExist},
	{"host_exist", fs.ErrExist},
	{"host_denied", fs.ErrPermission},

	{"expired", member.ErrExpired},
	{"used", member.ErrUsed},
	{"denied", member.ErrDenied},
	{"bad_token", member.ErrBadToken},
	{"bad_cert", member.ErrBadCert},
	{"bad_member_name", member.ErrBadName},
	{"bad_statement", member.ErrBadStatement},
	{"bad_enrolment", member.ErrBadMessage},
	{"no_numbers", member.ErrNoNumbers},
	{"enrol_failed", member.ErrEnrolFailed},
	{"pending", member.ErrPending},
	{"elsewhere", member.ErrElsewhere},
	{"several_networks", pod.ErrSeveral},
	{"bad_key", sshkey.ErrBadKey},
	{"passphrase", sshkey.ErrPassphrase},
	{"no_agent", sshkey.ErrNoAgent},
	{"bad_policy", placement.ErrBadPolicy},

	{"unreachable", p2p.ErrUnreachable},
	{"refused", p2p.ErrRefused},
	{"busy", p2p.ErrBusy},
	{"peer_full", p2p.ErrFull},
	{"peer_failed", p2p.ErrRemote},
	{"peer_protocol", p2p.ErrProtocol},

	{"store_full", store.ErrNoSpace},
	{"store_locked", store.ErrLocked},
	{"store_poisoned", store.ErrPoisoned},
	{"store_closed", store.ErrClosed},
	{"gap", state.ErrGap},
	{"fork", state.ErrFork},
	{"future", state.ErrFuture},
	{"change_refused", state.ErrRefused},
	{"foreign", state.ErrForeign},
	{"not_safe", pod.ErrNotSafe},
	{"pod_exists", pod.ErrExists},

	{"timeout", context.DeadlineExceeded},
	{"canceled", context.Canceled},
}

// Codes are all codes, CodeFailed included.
func Codes() []Code {
	out := []Code{CodeFailed}
	for _, c := range codes {
		out = append(out, c.Code)
	}
	return out
}

// CodeOf is the code of the first sentinel of the table that err wraps.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	for _, c := range codes {
		if errors.Is(err, c.Err) {
			return c.Code
		}
	}
	return CodeFailed
}

// Error is an error that crossed the API. errors.Is finds the sentinel of its code in it.
type Error struct {
	Code    Code `json:"code"`
	Message Text `json:"message"`
	Hint    Text `json:"hint,omitempty"`
}

// NewError is err as it crosses the API.
func NewError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return &Error{Code: e.Code, Message: Text(err.Error()), Hint: e.Hint}
	}
	e := &Error{Code: CodeOf(err), Message: Text(err.Error())}
	if h, ok := errors.AsType[*hinted](err); ok {
		e.Hint = Text(h.hint)
	}
	return e
}

// Error is the message.
func (e *Error) Error() string { return string(e.Message) }

// Is says whether the target is the sentinel of the error's code.
func (e *Error) Is(target error) bool {
	for _, c := range codes {
		if c.Code == e.Code && c.Err == target {
			return true
		}
	}
	return false
}

// hinted is an error with a word on what to do next.
type hinted struct {
	error
	hint string
}

// Unwrap is the error without its hint.
func (h *hinted) Unwrap() error { return h.error }

// WithHint adds to err what its user can do next; nil stays nil.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, hint}
}

// HintOf is the hint in err, or "".
func HintOf(err error) string {
	if h, ok := errors.AsType[*hinted](err); ok {
		return h.hint
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return string(e.Hint)
	}
	return ""
}
