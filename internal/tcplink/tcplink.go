// Package tcplink makes TCP connections that notice a peer which has gone
// without a word: its machine lost, a firewall's memory gone. It is for
// clients whose own time-outs for an answer must be long. It does not watch
// whether a peer that is there does its work.
package tcplink

import (
	"net"
	"time"
)

// SilenceMax is how long sent bytes or probes may stay unacknowledged before
// the connection counts as lost. The kernel of a peer acknowledges, also while
// the peer is busy; but one that has not read for so long that its buffers
// have been full for this time is given up as well.
const SilenceMax = 10 * time.Second

// Probes of a connection on which nothing is sent.
const (
	probeAfter = 2 * time.Second
	probeEvery = time.Second
	probesMax  = int((SilenceMax - probeAfter) / probeEvery)
)

// Dialer returns a dialler; timeout bounds connecting, 0: the kernel's.
func Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{
		Timeout: timeout, Control: control,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probesMax},
	}
}
