// Package ctlrpc carries the control plane over gRPC: taskmanagers' sessions
// with the leading jobmanager, and workers' sessions with their taskmanager
// over a unix socket. It decides nothing about jobs: what arrives is handed
// to the interfaces defined here, in order.
package ctlrpc

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Limits of the control plane.
const (
	// MessageBytesMax bounds one message on either side. The largest is
	// Deploy with small state inline; graphs are bounded by taskexec.
	MessageBytesMax = 64 << 20
	// QueueMax bounds the messages that wait to be sent in a session. A peer
	// that is this far behind is not alive: the session ends.
	QueueMax = 8192
	// ChunkBytes is the piece in which objects travel to and from workers.
	ChunkBytes = 256 << 10
	// workerQueueMax bounds the events that wait in a worker; then Send blocks.
	workerQueueMax = 1024
	// putsMax bounds the objects that a taskmanager takes at a time, and with
	// putMemoryMax the memory they need; larger ones pass through the disk.
	putsMax      = 32
	putMemoryMax = 1 << 20
	// objectKeyMax bounds an object's key as S3 does.
	objectKeyMax = 1024
)

// Times of the control plane.
const (
	keepaliveIdle    = 10 * time.Second // least that gRPC allows a client
	keepaliveTimeout = 3 * time.Second
	registerTimeout  = 10 * time.Second // until the connection is up
	answerTimeout    = 5 * time.Second  // from the registration to its answer
	connectTimeout   = 3 * time.Second
	flushMax         = 500 * time.Millisecond
	// Pauses between two tries to register with one jobmanager. Their limit
	// bounds how long a new leader waits for its taskmanagers.
	backoffFirst = 50 * time.Millisecond
	backoffMax   = 750 * time.Millisecond
)

// errGone is the reason of everything that fails because its session ended.
var errGone = errors.New("session has ended")

// NewServer returns a gRPC server with the limits of the control plane.
// creds nil means no encryption, for loopback and unix sockets.
func NewServer(creds credentials.TransportCredentials) *grpc.Server {
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	return grpc.NewServer(
		grpc.Creds(creds),
		grpc.MaxRecvMsgSize(MessageBytesMax),
		grpc.MaxSendMsgSize(MessageBytesMax),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveIdle, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveIdle / 2, PermitWithoutStream: true}),
	)
}

// dialOptions are those of every client here. No proxy of the environment is
// used: the control plane stays inside the cluster.
func dialOptions(creds credentials.TransportCredentials) []grpc.DialOption {
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MessageBytesMax), grpc.MaxCallSendMsgSize(MessageBytesMax)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveIdle, Timeout: keepaliveTimeout, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectTimeout}),
	}
}

func gone(reason string) error { return fmt.Errorf("%w: %s", errGone, reason) }
