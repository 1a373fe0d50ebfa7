//go:build unix

package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wormhole-fs/wormhole/pkg/api"
	"github.com/wormhole-fs/wormhole/pkg/api/apitest"
	"github.com/wormhole-fs/wormhole/pkg/vfs"
)

// transfer opens a connection as a client would.
func transfer(t *testing.T, home api.Home, name string) (net.Conn, *api.Conn) {
	t.Helper()
	path, err := home.Socket()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	fmt.Fprintf(c, "POST %s%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", api.Prefix, name, api.Upgrade)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close() // It has none.
	return c, api.NewConn(c, nil)
}

func send(t *testing.T, c *api.Conn, kind api.FrameKind, v any) {
	t.Helper()
	if err := c.Send(kind, v, nil); err != nil {
		t.Fatal(err)
	}
}

// A client that dies in the middle of a file's data leaves no file: the end of the connection is not the end of the
// file.
func TestClientDies(t *testing.T) {
	p := &slow{Pod: apitest.New(apitest.Info()), done: make(chan error, 1)}
	home := apitest.Serve(t, one{p: p})
	conn, c := transfer(t, home, "add")
	send(t, c, api.FrameRequest, api.AddRequest{To: "/", Count: 1})
	send(t, c, api.FrameBatch, api.Batch{Items: []api.Item{{Parent: -1, Name: "half", Kind: uint8(vfs.KindFile), Stream: true}}})
	if err := c.SendBytes(api.FrameData, []byte("half of it")); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err == nil {
			t.Error("the half file was put")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was put")
	}
	if a, err := p.FS().Lookup(t.Context(), vfs.RootID, "half"); !errors.Is(err, vfs.ErrNotExist) {
		t.Errorf("%+v, %v", a, err)
	}
}

// A client that breaks the protocol is told so, and nothing else comes of it.
func TestClientLies(t *testing.T) {
	home := apitest.Serve(t, apitest.Machine{Pods: map[string]*apitest.Pod{"box": apitest.New(apitest.Info())}})
	item := api.Item{Parent: -1, Name: "x", Kind: uint8(vfs.KindFile)}
	for name, frames := range map[string][]any{
		"no request":          {api.FrameBatch, api.Batch{}},
		"wrong first":         {api.FrameRequest, api.AddRequest{To: "/", Count: 1}, api.FrameBatch, api.Batch{First: 7, Items: []api.Item{item}}},
		"descriptor missing":  {api.FrameRequest, api.AddRequest{To: "/", Count: 1}, api.FrameBatch, api.Batch{Items: []api.Item{{FD: true}}}},
		"get's frame in add":  {api.FrameRequest, api.AddRequest{To: "/", Count: 1}, api.FrameOpened, api.Opened{}},
		"batch within a file": {api.FrameRequest, api.AddRequest{To: "/", Count: 1}, api.FrameBatch, api.Batch{Items: []api.Item{{Parent: -1, Name: "y", Kind: 1, Stream: true}}}, api.FrameFinish, struct{}{}},
		"no JSON":             {api.FrameRequest, "x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, c := transfer(t, home, "add")
			for i := 0; i < len(frames); i += 2 {
				send(t, c, frames[i].(api.FrameKind), frames[i+1])
			}
			for {
				kind, b, err := c.Receive()
				if err != nil {
					t.Fatalf("%v", err)
				}
				if kind == api.FrameDone {
					continue
				}
				e, err := api.Decode[api.Error](b)
				if kind != api.FrameFail || err != nil || e.Code != "protocol" {
					t.Errorf("kind %d: %+v, %v", kind, e, err)
				}
				return
			}
		})
	}
	// Items that are wrong in themselves fail alone.
	_, c := transfer(t, home, "add")
	send(t, c, api.FrameRequest, api.AddRequest{To: "/", Count: 1})
	send(t, c, api.FrameBatch, api.Batch{Items: []api.Item{
		{Parent: -9, Name: "a", Kind: 1},
		{Parent: 5, Name: "b", Kind: 1},
		{Parent: -1, Name: "..", Kind: 1},
		{Parent: -1, Name: "c", Kind: 99},
		{Parent: -1, Name: "d", Kind: 1, Link: 77},
	}})
	kind, b, err := c.Receive()
	if err != nil || kind != api.FrameDone {
		t.Fatalf("kind %d: %s, %v", kind, b, err)
	}
	d, err := api.Decode[api.Done](b)
	if err != nil || len(d.Errors) != 4 {
		t.Errorf("%s, %v", b, err)
	}
}
