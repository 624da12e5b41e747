// Package devs3 runs a real S3 server as a child process over a directory,
// for tests only: no product binary imports it. The server is built from the
// module in s3server, which needs the go command and the project's sources.
package devs3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/retry"
)

// Credentials and region that the server accepts.
const (
	AccessKey = "leat-test"
	SecretKey = "leat-test-secret"
	Region    = "us-east-1"
)

// Server is a running S3 server.
type Server struct {
	address string
	cmd     *exec.Cmd
	stdin   io.Closer
	output  *bytes.Buffer
	exited  chan struct{} // closed when the process is gone
}

// Start builds the server, which takes a minute the first time, and serves
// the sub-directories of dir as buckets; those named are made. The file
// system must have extended attributes. Close ends it.
func Start(ctx context.Context, dir string, buckets ...string) (*Server, error) {
	for _, b := range buckets {
		if err := os.MkdirAll(filepath.Join(dir, b), 0o755); err != nil {
			return nil, fmt.Errorf("test S3 server: %w", err)
		}
	}
	bin := filepath.Join(dir, ".s3server")
	if err := build(ctx, bin); err != nil {
		return nil, fmt.Errorf("test S3 server: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("test S3 server: %w", err)
	}
	s := &Server{address: address, cmd: exec.Command(bin, address, dir), output: &bytes.Buffer{}, exited: make(chan struct{})}
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+AccessKey, "ROOT_SECRET_ACCESS_KEY="+SecretKey)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("test S3 server: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("test S3 server: %w", err)
	}
	go func() {
		defer close(s.exited)
		_ = s.cmd.Wait() // the state is in s.cmd
	}()
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func build(ctx context.Context, bin string) error {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return errors.New("the project's sources are not known")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, ".")
	cmd.Dir = filepath.Join(filepath.Dir(file), "s3server")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", cmd.Dir, err, out)
	}
	return nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await returns once the server accepts connections.
func (s *Server) await(ctx context.Context) error {
	p := retry.Policy{AttemptsMax: 300, PauseFirst: 20 * time.Millisecond, PauseMax: 100 * time.Millisecond}
	return retry.Do(ctx, clock.Real{}, p, func(ctx context.Context, _ int) error {
		select {
		case <-s.exited:
			return retry.Permanent(fmt.Errorf("test S3 server: %v\n%s", s.cmd.ProcessState, s.output))
		default:
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		if err != nil {
			return fmt.Errorf("test S3 server: %w", err)
		}
		return conn.Close()
	})
}

// Address returns host and port; the protocol is plain HTTP.
func (s *Server) Address() string { return s.address }

// Close kills the server and waits for it: what it had confirmed is on disk.
func (s *Server) Close() error {
	err := s.cmd.Process.Kill()
	<-s.exited
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return errors.Join(err, ignoreClosed(s.stdin.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
