package exchange

import (
	"context"
	"log/slog"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
)

// Network makes the data plane of a worker.
type Network interface {
	Listen(cfg ListenConfig) (Endpoint, error)
}

// ListenConfig says who listens and where.
type ListenConfig struct {
	WorkerID string
	Job      dataflow.JobID
	Attempt  dataflow.Attempt
	// Host is the name or address under which peers on other machines reach
	// the worker; SocketDir takes its unix socket ("": none).
	Host      string
	SocketDir string
	HostID    string
	Log       *slog.Logger
}

// Endpoint is one worker's place on a network. Its methods are safe for
// concurrent use.
type Endpoint interface {
	TCPAddress() string
	UnixAddress() string // "" without
	// Admit says what peers may send and lets in those that came early. It is
	// called once.
	Admit(in Inbound)
	// Dial connects to a peer and returns the producing ends of the channels,
	// in their order. It waits until the peer admits.
	Dial(ctx context.Context, peer Peer, out Outbound) ([]Sender, error)
	// Close breaks all connections. Channels that have not ended fail.
	Close() error
}

// Credentials are shown to, and expected by, each peer of an attempt.
type Credentials struct {
	Token       string
	Fingerprint string // of the job graph
}

// Inbound are the channels from other workers.
type Inbound struct {
	Credentials Credentials
	Channels    []*Channel
}

// Peer is another worker of the attempt.
type Peer struct {
	WorkerID    string
	TCPAddress  string
	UnixAddress string
	HostID      string
}

// Outbound are the channels to one other worker.
type Outbound struct {
	Credentials Credentials
	Channels    []OutboundChannel
}

// OutboundChannel is a channel to another worker. Wake and Fail are called
// from any goroutine.
type OutboundChannel struct {
	ID   ChannelID
	Type columnar.RowType
	// Wake is called when Ready has turned true after it was false.
	Wake func()
	// Fail is called when the channel broke before its end was sent.
	Fail func(error)
}
