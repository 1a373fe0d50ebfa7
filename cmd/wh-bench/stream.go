package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"time"
)

// bareStream has a TLS 1.3 connection over loopback carry bytes at which nobody looks, from one goroutine to another: what no program on top of it can pass.
func bareStream(ctx context.Context, size int64) error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // what came came
	sent := make(chan error, 1)
	go func() {
		raw, err := listener.Accept()
		if err != nil {
			sent <- err
			return
		}
		c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
		_, err = io.CopyBuffer(struct{ io.Writer }{c}, io.LimitReader(repeated(), size), make([]byte, readBuffer))
		sent <- errors.Join(err, c.Close())
	}()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} //nolint:gosec // it measures, and sends nothing of worth
	c, err := dialer.DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, readBuffer))
	if err = errors.Join(err, <-sent, c.Close()); err == nil && got != size {
		err = fmt.Errorf("%d bytes came of %d", got, size)
	}
	return err
}

func selfSigned() (tls.Certificate, error) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(nil, about, about, pub, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// repeated is a MiB of random bytes over and over.
func repeated() io.Reader {
	data := make([]byte, readBuffer)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return &loop{data: data}
}

type loop struct {
	data []byte
	at   int
}

// Read is io.Reader's.
func (l *loop) Read(b []byte) (int, error) {
	n := copy(b, l.data[l.at:])
	l.at = (l.at + n) % len(l.data)
	return n, nil
}
