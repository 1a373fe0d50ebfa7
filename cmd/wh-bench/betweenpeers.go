package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wormhole-fs/wormhole/cmd/internal/fleet"
)

// node is a program that runs in the background.
type node struct{ c *exec.Cmd }

// startNode starts it with its messages in a file.
func startNode(ctx context.Context, log string, env []string, name string, args ...string) (*node, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the program has a descriptor of its own
	c := exec.CommandContext(context.WithoutCancel(ctx), name, args...)
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), env...), f, f
	return &node{c}, c.Start()
}

func (n *node) stop() error {
	if n == nil {
		return nil
	}
	if err := n.c.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = n.c.Process.Kill() }) // it may have ended
	defer kill.Stop()
	_ = n.c.Wait() // what it says at its end is of no interest
	return nil
}

// kuboCouple is two nodes of Kubo that know each other alone.
type kuboCouple struct {
	dirs  [2]string
	nodes [2]*node
	cid   string
}

func (k *kuboCouple) run(ctx context.Context, i int, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "ipfs", args...)
	c.Env = append(os.Environ(), "IPFS_PATH="+k.dirs[i])
	said, err := output(c)
	return strings.TrimSpace(said), err
}

func (k *kuboCouple) start(ctx context.Context, dir string) error {
	for i := range k.nodes {
		k.dirs[i] = filepath.Join(dir, fmt.Sprint("kubo", i))
		if _, err := k.run(ctx, i, "init", "--empty-repo", "--profile=test"); err != nil {
			return err
		}
		var err error
		k.nodes[i], err = startNode(ctx, k.dirs[i]+".log", []string{"IPFS_PATH=" + k.dirs[i]}, "ipfs", "daemon")
		if err != nil {
			return err
		}
		if err := fleet.Eventually(ctx, time.Minute, func() error {
			_, err := os.Stat(filepath.Join(k.dirs[i], "api"))
			return err
		}); err != nil {
			return err
		}
	}
	addresses, err := k.run(ctx, 0, "id", "-f=<addrs>")
	if err != nil {
		return err
	}
	for address := range strings.Lines(addresses) {
		if strings.Contains(address, "/tcp/") {
			_, err = k.run(ctx, 1, "swarm", "connect", strings.TrimSpace(address))
			return err
		}
	}
	return fmt.Errorf("kubo has no address of TCP: %s", addresses)
}

func (k *kuboCouple) have(ctx context.Context, path string) (err error) {
	k.cid, err = k.run(ctx, 0, "add", "-r", "-H", "-Q", "--chunker=size-1048576", path)
	return err
}

func (k *kuboCouple) fetch(ctx context.Context, to string, _ source) error {
	_, err := k.run(ctx, 1, "get", "--progress=false", "-o", to, k.cid)
	return err
}

func (k *kuboCouple) read(ctx context.Context, _ source) error {
	c := exec.CommandContext(ctx, "ipfs", "cat", "--progress=false", k.cid)
	c.Env = append(os.Environ(), "IPFS_PATH="+k.dirs[1])
	return c.Run()
}

func (k *kuboCouple) stop(context.Context) error {
	return errors.Join(k.nodes[1].stop(), k.nodes[0].stop())
}

// syncthingCouple is two nodes of Syncthing that know each other alone, each with one folder.
type syncthingCouple struct {
	homes, urls, ids, listen [2]string
	nodes                    [2]*node
}

const syncthingKey = "bench"

// ask speaks with a node's API (https://docs.syncthing.net/dev/rest.html).
func (s *syncthingCouple) ask(ctx context.Context, i int, method, path string, q, a any) error {
	var body io.Reader
	if q != nil {
		b, err := json.Marshal(q)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.urls[i]+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("X-API-Key", syncthingKey)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("syncthing %s: %s: %s", path, answer.Status, text)
	}
	if err != nil || a == nil {
		return err
	}
	return json.Unmarshal(text, a)
}

// freePort is a port of loopback at which nobody listens.
func freePort(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *syncthingCouple) start(ctx context.Context, dir string) error {
	for i := range s.nodes {
		s.homes[i] = filepath.Join(dir, fmt.Sprint("syncthing", i))
		api, err := freePort(ctx)
		if err != nil {
			return err
		}
		if s.listen[i], err = freePort(ctx); err != nil {
			return err
		}
		s.urls[i], s.listen[i] = "http://"+api, "tcp://"+s.listen[i]
		s.nodes[i], err = startNode(ctx, s.homes[i]+".log", nil, "syncthing", "serve", "--home="+s.homes[i], "--no-browser", "--no-restart", "--no-upgrade",
			"--no-default-folder", "--skip-port-probing", "--gui-address="+api, "--gui-apikey="+syncthingKey)
		if err != nil {
			return err
		}
		var status struct{ MyID string }
		if err := fleet.Eventually(ctx, time.Minute, func() error { return s.ask(ctx, i, http.MethodGet, "/rest/system/status", nil, &status) }); err != nil {
			return err
		}
		s.ids[i] = status.MyID
		alone := map[string]any{
			"listenAddresses": []string{s.listen[i]}, "globalAnnounceEnabled": false, "localAnnounceEnabled": false, "relaysEnabled": false,
			"natEnabled": false, "urAccepted": -1, "crashReportingEnabled": false, "reconnectionIntervalS": 1,
		}
		if err := s.ask(ctx, i, http.MethodPatch, "/rest/config/options", alone, nil); err != nil {
			return err
		}
	}
	for i := range s.nodes {
		other := map[string]any{"deviceID": s.ids[1-i], "addresses": []string{s.listen[1-i]}}
		if err := s.ask(ctx, i, http.MethodPost, "/rest/config/devices", other, nil); err != nil {
			return err
		}
	}
	return fleet.Eventually(ctx, time.Minute, func() error {
		var all struct {
			Connections map[string]struct{ Connected bool }
		}
		err := s.ask(ctx, 1, http.MethodGet, "/rest/system/connections", nil, &all)
		if err == nil && !all.Connections[s.ids[0]].Connected {
			err = errors.New("the nodes of syncthing are not connected")
		}
		return err
	})
}

func (s *syncthingCouple) folder(ctx context.Context, i int, path, kind string) error {
	return s.ask(ctx, i, http.MethodPost, "/rest/config/folders", map[string]any{
		"id": "bench", "path": path, "type": kind, "fsWatcherEnabled": false,
		"devices": []map[string]string{{"deviceID": s.ids[0]}, {"deviceID": s.ids[1]}},
	}, nil)
}

// state is what a node says of its folder.
func (s *syncthingCouple) state(ctx context.Context, i int) (global, need int64, idle bool, err error) {
	var status struct {
		State                  string
		GlobalBytes, NeedBytes int64
		NeedTotalItems         int64
	}
	err = s.ask(ctx, i, http.MethodGet, "/rest/db/status?folder=bench", nil, &status)
	return status.GlobalBytes, status.NeedBytes + status.NeedTotalItems, status.State == "idle", err
}

// have gives the first node a folder; a file is put into one.
func (s *syncthingCouple) have(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	files := path
	if !info.IsDir() {
		files = filepath.Join(s.homes[0]+"-folder", "")
		if err := os.Mkdir(files, 0o755); err != nil {
			return err
		}
		if err := os.Link(path, filepath.Join(files, filepath.Base(path))); err != nil {
			return err
		}
	}
	if err := s.folder(ctx, 0, files, "sendonly"); err != nil {
		return err
	}
	return fleet.Eventually(ctx, betweenWithin, func() error {
		global, _, idle, err := s.state(ctx, 0)
		if err == nil && (!idle || global == 0) {
			time.Sleep(50 * time.Millisecond)
			err = errors.New("syncthing still hashes")
		}
		return err
	})
}

func (s *syncthingCouple) fetch(ctx context.Context, to string, want source) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	if err := s.folder(ctx, 1, to, "receiveonly"); err != nil {
		return err
	}
	err := fleet.Eventually(ctx, betweenWithin, func() error {
		global, need, idle, err := s.state(ctx, 1)
		if err == nil && (!idle || need > 0 || global < want.bytes) {
			time.Sleep(20 * time.Millisecond)
			err = fmt.Errorf("syncthing needs %d more of %d", need, global)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(filepath.Join(to, ".stfolder"))) // its own mark
}

func (s *syncthingCouple) stop(context.Context) error {
	return errors.Join(s.nodes[1].stop(), s.nodes[0].stop())
}
