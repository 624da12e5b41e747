//go:build !linux

package tcplink

import "syscall"

// control does nothing: there are only probes here.
func control(_, _ string, _ syscall.RawConn) error { return nil }
