// Package devetcd runs an etcd server in this process, without fsync, for
// local clusters and tests. It is not for production: a loss of power loses
// data, and there is one member only.
package devetcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
)

// Config says where the server listens and keeps its data.
type Config struct {
	// Dir is the data directory; what an earlier server left there is used.
	Dir string
	// Address is where clients connect, "127.0.0.1:0" (a free port) if empty.
	Address string
}

// Server is a running etcd.
type Server struct {
	etcd *embed.Etcd
}

// Start runs a server and returns once it serves. Close ends it.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("embedded etcd: the data directory is not set")
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	ec, err := embedConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	e, err := embed.StartEtcd(ec)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd in %s: %w", cfg.Dir, err)
	}
	s := &Server{etcd: e}
	select {
	case <-e.Server.ReadyNotify():
		return s, nil
	case err := <-e.Err():
		s.Close()
		return nil, fmt.Errorf("embedded etcd in %s: %w", cfg.Dir, err)
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("embedded etcd in %s: %w", cfg.Dir, ctx.Err())
	}
}

func embedConfig(cfg Config) (*embed.Config, error) {
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		return nil, fmt.Errorf("address %q: %w", cfg.Address, err)
	}
	client := url.URL{Scheme: "http", Host: cfg.Address}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	ec := embed.NewConfig()
	ec.Dir = filepath.Clean(cfg.Dir)
	ec.ListenClientUrls, ec.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	ec.UnsafeNoFsync = true
	// A single member has nobody to wait for. The election time-out also sets
	// the shortest lease: 2 s with the defaults, 1 s with these.
	ec.TickMs, ec.ElectionMs = 50, 500
	ec.LogLevel = "fatal" // the embedded server logs errors when it is closed
	return ec, nil
}

// Endpoint returns the URL for clients.
func (s *Server) Endpoint() string {
	return "http://" + s.etcd.Clients[0].Addr().String()
}

// Close ends the server and waits for it.
func (s *Server) Close() { s.etcd.Close() }
