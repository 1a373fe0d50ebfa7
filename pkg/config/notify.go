package config

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Notify is a [[notify]] table of machine.toml: somebody who is told of warnings.
type Notify struct {
	Name     string `toml:"name"`
	Kind     string `toml:"kind"`     // command, webhook, email, desktop
	Severity string `toml:"severity"` // the mildest to tell: notice, warning, error; "": warning

	Command []string `toml:"command,omitempty"` // of a command: program and arguments

	URL        string `toml:"url,omitempty"`         // of a webhook
	SecretFile string `toml:"secret_file,omitempty"` // of a webhook: holds the key of its signatures

	Server       string   `toml:"server,omitempty"` // of an e-mail: HOST:PORT
	From         string   `toml:"from,omitempty"`
	To           []string `toml:"to,omitempty"`
	User         string   `toml:"user,omitempty"`
	PasswordFile string   `toml:"password_file,omitempty"`
}

// kinds of notifications and severities, as a file names them.
var (
	notifyKinds = []string{"command", "webhook", "email", "desktop"}
	severities  = []string{"notice", "warning", "error"}
)

// notifyTable documents Notify. Its examples are not of one kind.
var notifyTable = Table{
	Name: "notify",
	Doc: "Whom to tell of warnings (docs/health.md): any number of these tables. A change is in force within a second; wh notify test tries them.\n" +
		"Each warning is told once when it begins and once when it is over; what can't be sent is sent again, later and later.",
	All: []Key{
		{Name: "name", Default: "me", Doc: "Any name; each table has another."},
		{Name: "kind", Default: "email", Doc: "command, webhook, email or desktop (notify-send)."},
		{Name: "severity", Default: "warning", Doc: "The mildest that is told: notice, warning or error."},
		{
			Name: "command", Type: List, Default: "/usr/local/bin/tell,me",
			Doc: "Of a command: the program and its arguments. It gets the warning as JSON on its input, and as WH_TITLE, WH_TEXT, WH_TODO,\nWH_CODE, WH_SEVERITY, WH_SUBJECT, WH_NETWORK, WH_POD_NAME and WH_STATE (begin or over).",
		},
		{Name: "url", Default: "https://example.org/hook", Doc: "Of a webhook: where the warning is posted as JSON. It is neither logged nor shown."},
		{
			Name: "secret_file", Default: "/etc/wormhole/hook.secret",
			Doc: "Of a webhook: a file with a key. Posts have the header Wormhole-Signature: t=TIME,v1=HMAC-SHA256 of \"TIME.BODY\" under it, in hexadecimal.",
		},
		{Name: "server", Default: "mail.example.org:587", Doc: "Of an e-mail: HOST:PORT of the SMTP server, which is spoken to by TLS if it can (port 465: at once)."},
		{Name: "from", Default: "wormhole@example.org", Doc: "Of an e-mail: its sender."},
		{Name: "to", Type: List, Default: "me@example.org", Doc: "Of an e-mail: who gets it."},
		{Name: "user", Default: "wormhole@example.org", Doc: "Of an e-mail: the login at the server, if it wants one."},
		{Name: "password_file", Default: "/etc/wormhole/mail.password", Doc: "Of an e-mail: a file with the password of the login."},
	},
}

// check says what is wrong with the values, and at which key.
func (n Notify) check() (key string, err error) {
	if err := CheckName(n.Name); err != nil {
		return "name", err
	}
	if n.Severity != "" {
		if err := oneOf("severity", n.Severity, severities); err != nil {
			return "severity", err
		}
	}
	switch n.Kind {
	case "desktop":
	case "command":
		if len(n.Command) == 0 || n.Command[0] == "" {
			return "notify", errors.New("a command needs a program: command = [\"PROGRAM\", \"ARGUMENT\"]")
		}
	case "webhook":
		u, err := url.Parse(n.URL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
			return "url", errors.New("a webhook needs an url that begins with https:// or http://") // The URL itself may be a secret.
		}
	case "email":
		return n.checkEmail()
	default:
		return "kind", oneOf("kind", n.Kind, notifyKinds)
	}
	return "", nil
}

func (n Notify) checkEmail() (key string, err error) {
	if err := CheckListen(n.Server); err != nil {
		return "server", fmt.Errorf("server: %w", err)
	}
	if len(n.To) == 0 {
		return "notify", errors.New("an e-mail needs somebody to get it: to = [\"me@example.org\"]")
	}
	for _, a := range append([]string{n.From}, n.To...) {
		if !strings.Contains(a, "@") || strings.ContainsAny(a, "\r\n<> ,") {
			return "from", fmt.Errorf("%q is no address, such as me@example.org", a)
		}
	}
	if (n.User == "") != (n.PasswordFile == "") {
		return "user", errors.New("a login needs both user and password_file")
	}
	return "", nil
}
