package tcplink

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// control bounds the time of unacknowledged bytes, which probes say nothing
// about: the kernel sends none while some are under way.
func control(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(SilenceMax.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return set
}
