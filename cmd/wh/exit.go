package main

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// The exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitNoDaemon    = 4
	exitDenied      = 5
	exitConflict    = 6
	exitNotEnough   = 7
	exitCorrupt     = 8
	exitInterrupted = 130
)

// exitTexts are what the codes mean, for help pages.
var exitTexts = map[int]string{
	exitDone: "done", exitFailed: "failed", exitUsage: "wrong usage", exitNotFound: "not found", exitNoDaemon: "no daemon",
	exitDenied: "denied", exitConflict: "exists or conflict",
	exitNotEnough: "not enough pods, space or redundancy, or unreachable", exitCorrupt: "corrupt", exitInterrupted: "interrupted",
}

// exitCodes are the exit codes of errors by their code.
var exitCodes = map[api.Code]int{
	api.CodeFailed: exitFailed,

	"usage": exitUsage, "unsupported": exitUsage, "no_daemon": exitNoDaemon, "in_use": exitConflict, "conflict": exitConflict,
	"no_pod": exitNotFound, "not_owner": exitDenied, "no_privilege": exitDenied, "protocol": exitFailed, "stopping": exitNoDaemon, "bad_config": exitUsage, "no_config_key": exitNotFound,

	"block_not_found": exitNotFound, "corrupt": exitCorrupt, "unavailable": exitNotEnough, "bad_cid": exitUsage, "no_key": exitDenied, "blind": exitDenied,
	"disk_locked": exitDenied, "bad_lock": exitCorrupt, "weak_key": exitUsage,

	"no_such_pod": exitNotFound, "not_exist": exitNotFound, "exist": exitConflict, "not_folder": exitFailed, "is_folder": exitFailed, "not_empty": exitConflict,
	"invalid": exitUsage, "name_too_long": exitUsage, "bad_name": exitUsage, "not_permitted": exitDenied, "no_xattr": exitNotFound,
	"read_only": exitDenied, "no_space": exitNotEnough, "quota": exitNotEnough, "too_large": exitFailed, "not_supported": exitFailed,
	"too_many_links": exitFailed, "closed": exitNoDaemon,

	"host_not_exist": exitNotFound, "host_exist": exitConflict, "host_denied": exitDenied,

	"expired": exitDenied, "used": exitDenied, "denied": exitDenied, "bad_token": exitUsage, "bad_cert": exitDenied,
	"bad_member_name": exitUsage, "bad_statement": exitCorrupt, "bad_enrolment": exitFailed, "no_numbers": exitNotEnough,
	"enrol_failed": exitFailed, "bad_policy": exitUsage, "pending": exitNotEnough, "elsewhere": exitNotFound, "several_networks": exitConflict,
	"bad_key": exitUsage, "passphrase": exitDenied, "no_agent": exitDenied,

	"unreachable": exitNotEnough, "refused": exitDenied, "busy": exitNotEnough, "peer_full": exitNotEnough,
	"peer_failed": exitFailed, "peer_protocol": exitFailed,

	"store_full": exitNotEnough, "store_locked": exitConflict, "store_poisoned": exitFailed, "store_closed": exitNoDaemon,
	"gap": exitFailed, "fork": exitCorrupt, "future": exitFailed, "change_refused": exitDenied, "foreign": exitConflict, "not_safe": exitNotEnough,
	"pod_exists": exitConflict,

	"timeout": exitNotEnough, "canceled": exitInterrupted,
}

// quietError is an error of which all has been said.
type quietError struct{ error }

// Unwrap is the error within.
func (q *quietError) Unwrap() error { return q.error }

// said marks an error as told already: it sets the exit code only.
func said(err error) error { return &quietError{err} }

// exitCode is the exit code for an error.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	if c, ok := errors.AsType[*childError](err); ok {
		return c.code
	}
	if code, ok := exitCodes[api.CodeOf(err)]; ok {
		return code
	}
	return exitFailed
}

// report tells of an error and its hint.
func report(w io.Writer, err error) {
	if _, quiet := errors.AsType[*quietError](err); quiet || err == nil {
		return
	}
	if c, ok := errors.AsType[*childError](err); ok { // It has used these very words.
		_, _ = fmt.Fprintln(w, printable(c.log))
		return
	}
	if api.CodeOf(err) == "canceled" {
		_, _ = fmt.Fprintln(w, "wh: error: interrupted")
		return
	}
	_, _ = fmt.Fprintf(w, "wh: error: %s\n", printable(err.Error())) // Nothing is left to tell it to.
	if hint := hintOf(err); hint != "" {
		_, _ = fmt.Fprintf(w, "wh: hint: %s\n", printable(hint))
	}
}

// exits is the part of a help page that lists exit codes; those that every command has are added.
func exits(codes ...int) string {
	all := append([]int{exitDone, exitFailed, exitUsage, exitInterrupted}, codes...)
	sort.Ints(all)
	var out []string
	for i, c := range all {
		if i == 0 || c != all[i-1] {
			out = append(out, fmt.Sprintf("  %-3d %s", c, exitTexts[c]))
		}
	}
	return "\n\nExit codes:\n" + strings.Join(out, "\n")
}

// online are the exit codes of what needs the daemon, and some more.
func online(codes ...int) string { return exits(append(codes, exitNoDaemon, exitDenied)...) }
