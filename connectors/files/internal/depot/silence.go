package depot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/leatstream/leat/internal/clock"
)

// SilenceDefault is how long a server may be silent when nothing is said.
const SilenceDefault = 30 * time.Second

// errSilent says that a server sent nothing for too long.
type errSilent struct {
	limit time.Duration
	err   error
}

func (e *errSilent) Error() string { return fmt.Sprintf("no byte came for %s", e.limit) }
func (e *errSilent) Unwrap() error { return e.err }

// dialer makes connections that fail when the other side is silent for too
// long while something is read, or after something was written. A connection
// that nobody reads may rest: a slow reader is no fault of the server's.
type dialer struct {
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	limit time.Duration
}

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &bounded{Conn: c, limit: d.limit}, nil
}

// bounded is a connection with a limit on silence. Its deadlines are the
// machine's, whatever clock a test runs on.
type bounded struct {
	net.Conn
	limit time.Duration
}

func (b *bounded) extend() error { return b.SetReadDeadline(clock.Real{}.Now().Add(b.limit)) }

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.extend(); err != nil {
		return 0, err
	}
	n, err := b.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &errSilent{b.limit, err}
	}
	return n, err
}

// Write gives the answer, which is read for already, its time anew: a large
// body may take longer to send than a server may be silent.
func (b *bounded) Write(p []byte) (int, error) {
	n, err := b.Conn.Write(p)
	return n, errors.Join(err, b.extend())
}
