package pod

import (
	"bytes"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/p2p"
	"github.com/wormhole-fs/wormhole/pkg/cbor"
	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/state"
)

// FuzzTold: no message about commits, statements, heads or reads makes a pod panic, and no list is read two ways.
func FuzzTold(f *testing.F) {
	list := [][]byte{{1, 2, 3}, {}}
	head := (&state.Head{Actor: ident.Actor{Member: 1}, VV: state.VV{}}).Encode(func([]byte) []byte { return make([]byte, 64) })
	told := append(cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(nil, 3), head), make([]byte, 8)), encodeCommits(list)...)
	p := &Pod{reg: &registry{}}
	if _, _, commits, err := p.readHead(told); err != nil || len(commits) != len(list) {
		f.Fatalf("the example: %d commits, %v", len(commits), err)
	}
	f.Add(told)
	f.Add(encodeCommits(list))
	f.Add([]byte{0x9a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := decodeCommits(b); err == nil && !bytes.Equal(encodeCommits(got), b) {
			t.Errorf("commits: read %x, written %x", b, encodeCommits(got))
		}
		if got, err := decodeStatements(b); err == nil && !bytes.Equal(encodeStatements(got), b) {
			t.Errorf("statements: read %x, written %x", b, encodeStatements(got))
		}
		if head, _, commits, err := p.readHead(b); err == nil && (head == nil || len(commits) > len(b)) {
			t.Errorf("%x: %d commits", b, len(commits))
		}
		if got, err := decodeUints(b, 100); err == nil && len(got) > 100 {
			t.Errorf("%x: %d numbers", b, len(got))
		}
	})
}

// FuzzKeptPlaces: nothing that a damaged disk has of addresses, moments and the scrub makes a pod panic at its start, and what is written again is read as the same.
func FuzzKeptPlaces(f *testing.F) {
	f.Add(addressBook{ident.Pod{1}: {"/ip4/127.0.0.1/tcp/1"}}.encode())
	f.Add(passages{ident.Pod{1}: {heard: time.Unix(1, 2)}}.encode())
	f.Add(scrubPlace{cursor: "x", began: time.Unix(5, 0), rests: true}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := decodeBook(b); err == nil {
			if again, err := decodeBook(got.encode()); err != nil || len(again) != len(got) {
				t.Errorf("%x: %d addresses, then %d, %v", b, len(got), len(again), err)
			}
			for _, addrs := range got {
				if len(addrs) > p2p.PeerAddrsMax {
					t.Errorf("%x: %d addresses", b, len(addrs))
				}
			}
		}
		if got, err := decodePassages(b); err == nil {
			if again, err := decodePassages(got.encode()); err != nil || len(again) != len(got) {
				t.Errorf("%x: %d moments, then %d, %v", b, len(got), len(again), err)
			}
		}
		if got, err := decodeScrubPlace(b); err == nil && !bytes.Equal(got.encode(), b) {
			t.Errorf("scrub: read %x, written %x", b, got.encode())
		}
	})
}

// FuzzTimes: no text makes the readers of times and of retentions panic, and no retention is longer than a rule may be.
func FuzzTimes(f *testing.F) {
	for _, text := range []string{"2h", "3 days ago", "2026-11-26T12:00:00Z", "today", "all", "9223372036854775807h"} {
		f.Add(text)
	}
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseWhen(text, now) // it does not panic
		if keep, ok := parseRetention(text); ok && (keep < 0 || keep > ruleMax) {
			t.Errorf("%q keeps for %s", text, keep)
		}
	})
}

// FuzzNumbers reads what a pod says in one or two numbers: its clock, its disk, what an admin wants of it.
func FuzzNumbers(f *testing.F) {
	f.Add(cbor.AppendInt(nil, -1))
	f.Add(cbor.AppendUint(nil, dutyRemove))
	f.Add(cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, 2), 1<<62), 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, err := decodeClock(b); err == nil && !bytes.Equal(cbor.AppendInt(nil, at.UnixNano()), b) {
			t.Errorf("%x is read as %s", b, at)
		}
		if duty, err := decodeDuty(b); err == nil && (duty < dutyLook || duty > dutyRemove) {
			t.Errorf("%x is read as duty %d", b, duty)
		}
		if used, free, err := decodeUsage(b); err == nil && (used < 0 || free < 0) {
			t.Errorf("%x is read as %d bytes used, %d free", b, used, free)
		}
	})
}
