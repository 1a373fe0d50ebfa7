package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/wormhole-fs/wormhole/pkg/clock"
)

// secretMax is the most bytes of a secret's file.
const secretMax = 4096

// readSecret reads a secret, without the spaces and line ends around it.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("notify: secret: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, secretMax))
	_ = f.Close() // It was only read.
	if err != nil {
		return "", fmt.Errorf("notify: secret: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Command runs a program for each message: the message is its standard input, as JSON, and in its environment as WH_NETWORK, WH_POD_NAME, WH_CODE,
// WH_SEVERITY, WH_TITLE, WH_TEXT, WH_TODO, WH_SUBJECT and WH_STATE, which is begin or over. It has no shell between.
type Command struct{ Args []string }

// Send runs it; what exits with another code than 0 has failed.
func (c Command) Send(ctx context.Context, m Message) error {
	if len(c.Args) == 0 {
		return errors.New("notify: no command")
	}
	in, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	state := "begin"
	if m.Over {
		state = "over"
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...) //nolint:gosec // The machine's owner configures it.
	cmd.Stdin = bytes.NewReader(in)
	cmd.Env = cmd.Environ()
	for _, e := range [][2]string{
		{"NETWORK", m.Network},
		{"POD_NAME", m.Pod},
		{"CODE", m.Code},
		{"SEVERITY", m.Severity},
		{"TITLE", m.Title},
		{"TEXT", m.Text},
		{"TODO", m.Todo},
		{"SUBJECT", m.Subject},
		{"STATE", state},
	} {
		cmd.Env = append(cmd.Env, "WH_"+e[0]+"="+strings.ReplaceAll(e[1], "\x00", ""))
	}
	cmd.WaitDelay = sendTimeout // for children that keep its streams open
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("notify: command %s: %w", c.Args[0], err)
	}
	return nil
}

// Webhook posts each message as JSON. With a secret it is signed: the header Wormhole-Signature is "t=T,v1=S", where T is the time in seconds
// since 1970 and S the HMAC-SHA256 of "T.BODY" under the secret, in hexadecimal digits.
type Webhook struct {
	URL        string
	SecretFile string // "": not signed
	Clock      clock.Clock
}

// SignatureHeader is the header of a webhook's signature.
const SignatureHeader = "Wormhole-Signature"

// Send posts it. Only an answer of 200 to 299 counts; redirections are not followed.
func (w Webhook) Send(ctx context.Context, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("notify: webhook: its URL is wrong") // The error would show the URL, which is often a secret.
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "wormhole")
	if w.SecretFile != "" {
		secret, err := readSecret(w.SecretFile)
		if err != nil {
			return err
		}
		r.Header.Set(SignatureHeader, Sign(secret, w.Clock.Now().Unix(), body))
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := c.Do(r)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL
		}
		return fmt.Errorf("notify: webhook: %w", err)
	}
	_ = answer.Body.Close() // Its status says all.
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("notify: webhook: answered %s", answer.Status)
	}
	return nil
}

// Sign is the value of SignatureHeader.
func Sign(secret string, unix int64, body []byte) string {
	at := strconv.FormatInt(unix, 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// Desktop shows each message by notify-send (libnotify), to the user whose session the daemon runs in.
type Desktop struct{}

// Send shows it.
func (Desktop) Send(ctx context.Context, m Message) error {
	urgency := "normal"
	if m.Severity == "error" && !m.Over {
		urgency = "critical"
	}
	cmd := exec.CommandContext(ctx, "notify-send", "--app-name=Wormhole", "--urgency="+urgency, "--", m.Headline(), m.Text)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("notify: desktop: notify-send: %w", err)
	}
	return nil
}
