package points

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// client asks the service. Each reader and writer has one of its own, so that
// Close can end its connections.
type client struct {
	url  string
	http *http.Client
}

func newClient(url string) *client {
	return &client{url: url, http: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
}

// Close ends the connections, whose goroutines would stay behind.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func (c *client) get(ctx context.Context, path string, into any) error {
	b, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// do makes a request and wants the answer 200.
func (c *client) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = &status{res.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, res.Status, bytes.TrimSpace(b))}
	}
	return b, err
}

// status is an answer other than 200.
type status struct {
	code int
	text string
}

// Error implements error.
func (s *status) Error() string { return s.text }
