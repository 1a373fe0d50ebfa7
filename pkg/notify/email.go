package notify

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"strings"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// Email sends each message by SMTP: by STARTTLS where the server has it, by TLS from the begin on port 465. A password is sent over TLS only,
// or to this machine.
type Email struct {
	Server       string // HOST:PORT
	From         string
	To           []string
	User         string // "": no login
	PasswordFile string
	Clock        clock.Clock
}

// Send sends it.
func (e Email) Send(ctx context.Context, m Message) error {
	if err := e.send(ctx, m); err != nil {
		return fmt.Errorf("notify: e-mail by %s: %w", e.Server, err)
	}
	return nil
}

func (e Email) send(ctx context.Context, m Message) (err error) {
	host, port, err := net.SplitHostPort(e.Server)
	if err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", e.Server)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(deadline)
	}
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if port == "465" {
		conn = tls.Client(conn, conf)
	}
	c, cerr := smtp.NewClient(conn, host)
	if err = errors.Join(err, cerr); err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { _ = c.Close() }() // After Quit it says only that it is closed.
	if ok, _ := c.Extension("STARTTLS"); ok && port != "465" {
		if err := c.StartTLS(conf); err != nil {
			return err
		}
	}
	if e.User != "" {
		password, err := readSecret(e.PasswordFile)
		if err != nil {
			return err
		}
		if err := c.Auth(smtp.PlainAuth("", e.User, password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(e.From); err != nil {
		return err
	}
	for _, to := range e.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(e.letter(m)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// letter is the message as RFC 5322 and 2045 have it. Names of others are in it, so that nothing but printable text gets into its head.
func (e Email) letter(m Message) []byte {
	var b bytes.Buffer
	line := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, s)
	}
	_, host, _ := strings.Cut(e.From, "@")
	for _, h := range [][2]string{
		{"From", line(e.From)},
		{"To", line(strings.Join(e.To, ", "))},
		{"Subject", mime.QEncoding.Encode("utf-8", line(m.Headline()))},
		{"Date", e.Clock.Now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + rand.Text() + "@" + line(host) + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(strings.ReplaceAll(m.Body(), "\n", "\r\n"))) // It goes to memory.
	_ = q.Close()
	return b.Bytes()
}
