package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/ident"
	"github.com/wormhole-fs/wormhole/pkg/member"
)

// BenchmarkHandshake is what it takes two pods on the loopback to connect: TCP, TLS 1.3, the streams, both hellos with chains of three
// certificates, which both prove, as pkg/pod has it.
func BenchmarkHandshake(b *testing.B) {
	network := ident.NetworkOf(publicOf(100))
	admin, err := member.Issue(keyOf(100), nil, member.Cert{Subject: publicOf(101), Kind: member.KindAdmin, Name: "admin", Role: member.RoleAdmin, RangeLo: 1, RangeHi: 1000})
	if err != nil {
		b.Fatal(err)
	}
	user, err := member.Issue(keyOf(101), admin, member.Cert{Subject: publicOf(102), Kind: member.KindUser, Name: "ann", Role: member.RoleWriter, RangeLo: 500, RangeHi: 600})
	if err != nil {
		b.Fatal(err)
	}
	side := func(n byte) *pod {
		chain, err := member.Issue(keyOf(102), user, member.Cert{Subject: publicOf(n), Kind: member.KindPod, Name: "pod", Role: member.RoleWriter, Member: 500 + uint32(n)})
		if err != nil {
			b.Fatal(err)
		}
		return start(b, n, func(c *Config, _ *fake) {
			c.Hello = chain.Encode
			c.Admit = func(pod ident.Pod, hello []byte) error {
				chain, err := member.DecodeChain(hello)
				if err != nil {
					return err
				}
				if cert, err := chain.Verify(network); err != nil || cert.Pod() != pod {
					return errors.Join(err, errors.New("another's"))
				}
				return chain.ValidAt(time.Now())
			}
		})
	}
	x, y := side(1), side(2)
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Connect(context.Background(), y.id, y.Addrs()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		for x.Connected(y.id) || y.Connected(x.id) {
			x.Part(y.id, ErrClosed)
			y.Part(x.id, ErrClosed)
			time.Sleep(time.Millisecond)
		}
		b.StartTimer()
	}
}

func publicOf(n byte) ed25519.PublicKey { return keyOf(n).Public().(ed25519.PublicKey) }
