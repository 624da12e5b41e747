package ctlrpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/leatstream/leat/internal/clock"
)

// socketPathMax is what unix socket addresses hold on all systems.
const socketPathMax = 103

// Serving is a gRPC server at work.
type Serving struct {
	server *grpc.Server
	done   chan struct{}
	err    error // set before done is closed
}

// Serve runs a server on a listener until Stop.
func Serve(g *grpc.Server, l net.Listener) *Serving {
	s := &Serving{server: g, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		if err := g.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.err = err
		}
	}()
	return s
}

// Done is closed when the server has ended, Err then says why.
func (s *Serving) Done() <-chan struct{} { return s.done }

// Err is nil after Stop.
func (s *Serving) Err() error {
	<-s.done
	return s.err
}

// Stop ends the server and waits: at once when grace is 0.
func (s *Serving) Stop(c clock.Clock, grace time.Duration) {
	if grace > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		timer := c.NewTimer(grace)
		var wait sync.WaitGroup
		wait.Go(func() {
			select {
			case <-timer.C():
				cancel()
			case <-ctx.Done():
			}
		})
		Shutdown(ctx, s.server)
		cancel()
		timer.Stop()
		wait.Wait()
	}
	s.server.Stop()
	<-s.done
}

// ServeWorkers opens the taskmanager's unix socket, for its owner alone.
func ServeWorkers(socket string, service *TaskManagerServer) (*Serving, error) {
	if len(socket) > socketPathMax {
		return nil, fmt.Errorf("unix socket %s: its path has %d bytes, at most %d are possible: use a shorter working folder", socket, len(socket), socketPathMax)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("unix socket: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("unix socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("unix socket: %w", err), l.Close())
	}
	g := NewServer(nil)
	service.Register(g)
	return Serve(g, l), nil
}
