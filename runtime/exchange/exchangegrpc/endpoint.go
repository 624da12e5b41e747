// Package exchangegrpc is the data plane between workers: one gRPC stream from
// each worker to each other one that it sends to, with all their channels
// multiplexed, own frames and own credits. It does not partition, decode
// batches or decide what a lost connection means for the job.
package exchangegrpc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"

	"github.com/leatstream/leat/runtime/exchange"
)

const (
	methodName = "/leat.exchange.v1.Exchange/Channels"

	// The receiver always reads, so these windows never bind: the credits do.
	streamWindow = 32 << 20
	connWindow   = 256 << 20
	ioBuffer     = 128 << 10
	// messageBytesMax bounds one message: a batch of one row may be large.
	messageBytesMax = 256 << 20

	// A peer that is silent for keepaliveEvery is asked; without an answer
	// within keepaliveTimeout the connection is lost.
	keepaliveEvery   = 10 * time.Second
	keepaliveTimeout = 5 * time.Second

	// socketPathMax is what fits into the address of a unix socket everywhere.
	socketPathMax = 103
)

var errClosed = errors.New("the endpoint was closed")

// Network makes endpoints. The zero value has no transport security.
type Network struct {
	// Server and Client secure TCP connections; nil leaves them open. Unix
	// sockets are guarded by their folder.
	Server, Client credentials.TransportCredentials
}

var _ exchange.Network = (*Network)(nil)

// endpoint is one worker's place. Its goroutines (two servers, and two for
// each connection that it dialled or accepted) end with Close.
type endpoint struct {
	cfg      exchange.ListenConfig
	network  *Network
	server   *grpc.Server
	tcp      string
	unix     string
	life     context.Context //nolint:containedctx // from Listen to Close
	end      context.CancelFunc
	admitted chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
	pool     *bufferPool

	in     exchange.Inbound // set before admitted is closed
	window int              // likewise

	mu      sync.Mutex
	free    map[exchange.ChannelID]*exchange.Channel // guarded by mu; not yet claimed by a peer
	clients []*grpc.ClientConn                       // guarded by mu
	closed  bool                                     // guarded by mu
}

// Listen implements exchange.Network.
func (n *Network) Listen(cfg exchange.ListenConfig) (exchange.Endpoint, error) {
	tcp, err := listenTCP(cfg.Host)
	if err != nil {
		return nil, fmt.Errorf("exchange: listening for peers: %w", err)
	}
	e := &endpoint{cfg: cfg, network: n, admitted: make(chan struct{}), pool: &bufferPool{}}
	e.life, e.end = context.WithCancel(context.Background())
	_, port, _ := net.SplitHostPort(tcp.Addr().String())
	e.tcp = net.JoinHostPort(cfg.Host, port)
	e.server = n.newServer(e)
	e.serve(tcp)
	if cfg.SocketDir != "" {
		e.listenUnix()
	}
	return e, nil
}

func listenTCP(host string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err == nil {
		return l, nil
	}
	// The name under which peers reach this machine need not be one of its
	// own addresses.
	return net.Listen("tcp", ":0")
}

// listenUnix adds a unix socket; without one peers use TCP.
func (e *endpoint) listenUnix() {
	sum := sha256.Sum256([]byte(e.cfg.WorkerID + "/" + strconv.FormatInt(int64(e.cfg.Attempt), 10)))
	path := filepath.Join(e.cfg.SocketDir, "x-"+hex.EncodeToString(sum[:6])+".sock")
	if len(path) > socketPathMax {
		e.cfg.Log.Warn("the folder's path is too long for a unix socket: peers on this machine use TCP", "path", path)
		return
	}
	_ = os.Remove(path) // of a process that was killed; the name is this worker's own
	l, err := net.Listen("unix", path)
	if err != nil {
		e.cfg.Log.Warn("no unix socket: peers on this machine use TCP", "err", err)
		return
	}
	e.unix = path
	e.serve(l)
}

func (e *endpoint) serve(l net.Listener) {
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		if err := e.server.Serve(l); err != nil && e.life.Err() == nil {
			e.cfg.Log.Error("exchange: serving peers ended", "address", l.Addr().String(), "err", err)
		}
	}()
}

func (n *Network) newServer(e *endpoint) *grpc.Server {
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.InitialWindowSize(streamWindow), grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(ioBuffer), grpc.WriteBufferSize(ioBuffer), experimental.BufferPool(new(framePool)),
		grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxSendMsgSize(messageBytesMax),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveEvery, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveEvery / 2, PermitWithoutStream: true}),
	}
	if n.Server != nil {
		opts = append(opts, grpc.Creds(n.Server))
	}
	s := grpc.NewServer(opts...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "leat.exchange.v1.Exchange",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "Channels", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, s grpc.ServerStream) error { return e.accept(s) },
		}},
	}, nil)
	return s
}

// TCPAddress implements exchange.Endpoint.
func (e *endpoint) TCPAddress() string { return e.tcp }

// UnixAddress implements exchange.Endpoint.
func (e *endpoint) UnixAddress() string { return e.unix }

// Admit implements exchange.Endpoint.
func (e *endpoint) Admit(in exchange.Inbound) {
	e.in = in
	e.window = exchange.WindowOf(len(in.Channels))
	e.mu.Lock()
	e.free = make(map[exchange.ChannelID]*exchange.Channel, len(in.Channels))
	for _, c := range in.Channels {
		e.free[c.ID()] = c
	}
	e.mu.Unlock()
	close(e.admitted)
}

// Dial implements exchange.Endpoint.
func (e *endpoint) Dial(ctx context.Context, peer exchange.Peer, out exchange.Outbound) ([]exchange.Sender, error) {
	client, err := e.client(peer)
	if err != nil {
		return nil, fmt.Errorf("exchange: worker %q: %w", peer.WorkerID, err)
	}
	c, err := e.open(ctx, client, peer, out)
	if err != nil {
		return nil, fmt.Errorf("exchange: connecting to worker %q: %w", peer.WorkerID, err)
	}
	senders := make([]exchange.Sender, len(c.channels))
	for i, ch := range c.channels {
		senders[i] = ch
	}
	return senders, nil
}

// client makes a connection: by unix socket when the peer is on this machine.
func (e *endpoint) client(peer exchange.Peer) (*grpc.ClientConn, error) {
	target, creds := "passthrough:///"+peer.TCPAddress, e.network.Client
	if peer.UnixAddress != "" && peer.HostID != "" && peer.HostID == e.cfg.HostID {
		target, creds = "unix:"+peer.UnixAddress, nil
	}
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	client, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(creds), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}),
			grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(ioBuffer), grpc.WithWriteBufferSize(ioBuffer),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveEvery, Timeout: keepaliveTimeout}),
	)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = client.Close()
		return nil, errClosed
	}
	e.clients = append(e.clients, client)
	return client, nil
}

// Close implements exchange.Endpoint.
func (e *endpoint) Close() error {
	e.once.Do(func() {
		e.mu.Lock()
		e.closed = true
		clients := e.clients
		e.mu.Unlock()
		e.end()
		for _, c := range clients {
			_ = c.Close()
		}
		e.server.Stop()
	})
	e.wg.Wait()
	return nil
}

// check compares what a peer shows with what is expected.
func (e *endpoint) check(h *hello) error {
	want := e.in.Credentials
	switch {
	case h.job != e.cfg.Job || h.attempt != e.cfg.Attempt:
		return fmt.Errorf("worker %q runs attempt %d of job %s, the peer attempt %d of job %s", e.cfg.WorkerID, e.cfg.Attempt, e.cfg.Job, h.attempt, h.job)
	case h.to != e.cfg.WorkerID:
		return fmt.Errorf("this is worker %q, the peer looks for %q", e.cfg.WorkerID, h.to)
	case !sameToken(h.token, want.Token):
		return errors.New("the token of the attempt is wrong")
	case h.fingerprint != want.Fingerprint:
		return fmt.Errorf("worker %q runs a job graph with fingerprint %s, the peer %s", e.cfg.WorkerID, want.Fingerprint, h.fingerprint)
	}
	return nil
}

// claim takes the channels that a peer asked for; each has one producer.
func (e *endpoint) claim(ids []exchange.ChannelID) ([]*exchange.Channel, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*exchange.Channel, 0, len(ids))
	for _, id := range ids {
		c := e.free[id]
		if c == nil {
			return nil, fmt.Errorf("channel %s does not lead to worker %q, or is taken", id, e.cfg.WorkerID)
		}
		out = append(out, c)
		delete(e.free, id)
	}
	return out, nil
}

var _ exchange.Endpoint = (*endpoint)(nil)
