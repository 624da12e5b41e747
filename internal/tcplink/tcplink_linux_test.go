package tcplink_test

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leatstream/leat/internal/tcplink"
)

// TestOptions reads back what the kernel was told. That it keeps to it is
// seen by the half-open links of test/chaos.
func TestOptions(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := tcplink.Dialer(time.Second).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		for _, o := range []struct {
			name        string
			level, what int
			want        int
		}{
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcplink.SilenceMax.Milliseconds())},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 2},
		} {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.what); err != nil || got != o.want {
				t.Errorf("%s is %d, want %d: %v", o.name, got, o.want, err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}
