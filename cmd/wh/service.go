package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// unitName is the name of the unit.
const unitName = "wormhole.service"

// unitText is the unit: %[1]s the command, %[2]s the target that wants it.
const unitText = `[Unit]
Description=Wormhole: the disks of several machines as one folder
Documentation=man:wh(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart=%[1]s
Restart=on-failure
RestartSec=5
WatchdogSec=120
TimeoutStartSec=600
TimeoutStopSec=60
LimitNOFILE=65536

[Install]
WantedBy=%[2]s
`

type serviceOptions struct{ system, user, print bool }

func newService(e *env) *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Have the system start this machine's pods",
		Long:  "Have the system start this machine's pods: by a unit of systemd, of the system for root, else of the user." + exits(),
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("service needs install or remove") },
	}
	var o serviceOptions
	install := &cobra.Command{
		Use: "install", Short: "Make the unit, and start it",
		Long: "Make the unit, and start it. It starts at every boot; that of a user at login, or at boot after loginctl enable-linger." + exits(exitDenied),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runServiceInstall(ctx, e, o) }),
	}
	remove := &cobra.Command{
		Use: "remove", Short: "Stop the unit, and remove it", Long: "Stop the unit, and remove it. Pods and data stay." + exits(exitDenied, exitNotFound),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runServiceRemove(ctx, e, o) }),
	}
	for _, sub := range []*cobra.Command{install, remove} {
		sub.Flags().BoolVar(&o.system, "system", false, "a unit of the system")
		sub.Flags().BoolVar(&o.user, "user", false, "a unit of the user")
		sub.MarkFlagsMutuallyExclusive("system", "user")
	}
	install.Flags().BoolVar(&o.print, "print", false, "only print the unit")
	c.AddCommand(install, remove)
	return c
}

// ofSystem says whether the unit is one of the system.
func (o serviceOptions) ofSystem() bool { return o.system || !o.user && os.Geteuid() == 0 }

// file is the path of the unit.
func (o serviceOptions) file() (string, error) {
	if o.ofSystem() {
		return filepath.Join("/etc/systemd/system", unitName), nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("service: %w", err)
	}
	return filepath.Join(dir, "systemd", "user", unitName), nil
}

// unit is the text of the unit.
func (o serviceOptions) unit(exe string, home api.Home) string {
	target := "default.target"
	if o.ofSystem() {
		target = "multi-user.target"
	}
	return fmt.Sprintf(unitText, strings.Join([]string{quoteUnit(exe), "up", "--home", quoteUnit(string(home))}, " "), target)
}

// quoteUnit is a word of a command line in a unit (systemd.service(5), "Command lines").
func quoteUnit(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\n", `\n`).Replace(s) + `"`
}

// systemctl runs systemctl on units of the system or of the user.
func (o serviceOptions) systemctl(ctx context.Context, args ...string) error {
	if !o.ofSystem() {
		args = append([]string{"--user"}, args...)
	}
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("service: systemctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func runServiceInstall(ctx context.Context, e *env, o serviceOptions) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if o.print {
		return e.out("%s", strings.TrimSuffix(o.unit(exe, e.home), "\n"))
	}
	path, err := o.file()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if err := os.WriteFile(path, []byte(o.unit(exe, e.home)), 0o644); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	if err := o.systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if err := o.systemctl(ctx, "enable", "--now", unitName); err != nil {
		return api.WithHint(err, "is another daemon running? wh down, then again; the journal says more: journalctl -u "+unitName)
	}
	return e.out("%s", path)
}

func runServiceRemove(ctx context.Context, e *env, o serviceOptions) error {
	path, err := o.file()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return api.WithHint(fmt.Errorf("service: none is installed: %w", err), "wh service install makes one; --user and --system say of whom")
	}
	if err := o.systemctl(ctx, "disable", "--now", unitName); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("service: %w", err)
	}
	e.say("%s is gone; pods and data stay in %s", path, e.home)
	return o.systemctl(ctx, "daemon-reload")
}
