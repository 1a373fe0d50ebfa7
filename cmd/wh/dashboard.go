package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/client"
	"github.com/wormhole-fs/wormhole/pkg/web"
)

// Limits of the dashboard's HTTP side.
const (
	dashHeadTimeout = 10 * time.Second // for a request's head
	dashStopTimeout = time.Second      // for requests under way at the end
	dashTokenBytes  = 32
)

func newDashboard(e *env) *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "dashboard",
		Short: "Show this pod and its network in a browser, live",
		Long: "Serve one page to browsers on this machine, and print its address: pods and connections, what is not safe and why, traffic, space, " +
			"where a file is, conflicts, events. It serves until it is interrupted. The address ends with a token, new at each run: who has it sees what this page " +
			"shows, and can resolve conflicts. From another machine: ssh -L 8080:127.0.0.1:8080 HOST wh dashboard --listen 127.0.0.1:8080" + online(exitUsage),
		Args: cobra.NoArgs,
		RunE: works(func(ctx context.Context, _ []string) error { return runDashboard(ctx, e, listen) }),
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address of this machine alone at which the page is served; port 0: any that is free")
	return c
}

func runDashboard(ctx context.Context, e *env, listen string) error {
	if err := loopback(listen); err != nil {
		return err
	}
	if _, err := call[api.Status](ctx, e, "status", struct{}{}); err != nil { // No daemon, or no such pod: said here, not in the page.
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	token := make([]byte, dashTokenBytes)
	_, _ = rand.Read(token) // It never fails (crypto/rand).
	key := base64.RawURLEncoding.EncodeToString(token)
	url := "http://" + l.Addr().String() + "/#" + key
	h := &http.Server{
		Handler:           web.New(web.Options{API: dashAPI{e.client()}, Token: key, Hosts: hostsOf(l.Addr()), Clock: e.clock}),
		ReadHeaderTimeout: dashHeadTimeout, ReadTimeout: dashHeadTimeout,
		ErrorLog:    log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		limit, done := context.WithTimeout(context.WithoutCancel(ctx), dashStopTimeout)
		defer done()
		if h.Shutdown(limit) != nil {
			_ = h.Close() // What doesn't end in time is cut off.
		}
	})
	if err := printURL(e, url); err != nil {
		return errors.Join(err, l.Close())
	}
	err = h.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("dashboard: %w", err)
}

func printURL(e *env, url string) error {
	if e.json {
		return e.document(struct {
			URL string `json:"url"`
		}{url})
	}
	e.say("open this address in a browser on this machine; it works until this program ends (Ctrl-C)")
	return e.out("%s", url)
}

// loopback refuses addresses at which other machines could reach the page: it is not encrypted.
func loopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return usage("--listen %s: %v", listen, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return api.WithHint(usage("--listen %s: the page is for this machine alone", listen),
			"127.0.0.1:PORT or [::1]:PORT; from another machine: ssh -L PORT:127.0.0.1:PORT HOST")
	}
	return nil
}

// hostsOf are the names by which browsers call a server at addr.
func hostsOf(addr net.Addr) []string {
	_, port, _ := net.SplitHostPort(addr.String()) // A TCP address has one.
	return []string{addr.String(), net.JoinHostPort("localhost", port), net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
}

// dashAPI is the local API as the dashboard asks it.
type dashAPI struct{ c *client.Client }

// Call asks for one document.
func (d dashAPI) Call(ctx context.Context, name string, q any) (json.RawMessage, error) {
	return client.Call[json.RawMessage](ctx, d.c, name, q)
}

// List asks for a list.
func (d dashAPI) List(ctx context.Context, name string, q any, f func(json.RawMessage) error) error {
	return client.List(ctx, d.c, name, q, f)
}
