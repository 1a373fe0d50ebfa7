package client

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/wormhole-fs/wormhole/pkg/api"
)

// Fetch copies what the daemon has under a name, such as metrics, to w.
func (c *Client) Fetch(ctx context.Context, name string, w io.Writer) error {
	if err := c.ping(ctx); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://wormhole"+api.Prefix+name, http.NoBody)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return cut(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // Only read.
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnprocessableEntity:
		return decodeError(resp)
	default:
		return fmt.Errorf("api: %s: %s: %w", name, resp.Status, api.ErrProtocol)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return cut(ctx, err)
	}
	return nil
}
