package exchangegrpc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/leatstream/leat/runtime/exchange"
)

var errEndedEarly = errors.New("the connection ended before the channels did")

// inbound is the consuming end of a connection.
type inbound struct {
	channels []*exchange.Channel
	granters []exchange.Granter // each used by its channel's task
	ended    []bool             // used by the reading goroutine
	open     int

	signal chan struct{}
	mu     sync.Mutex
	due    []int // credit to hand back, by channel; guarded by mu
	dirty  []int // channels with due > 0; guarded by mu
}

// accept serves one connection of a peer, on a goroutine of the server.
func (e *endpoint) accept(s grpc.ServerStream) error {
	// Headers at once: before them the client keeps its buffers for a retry.
	if err := s.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	var m message
	if err := s.RecvMsg(&m); err != nil {
		return err
	}
	h, err := parseHello(m.in)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	select {
	case <-e.admitted:
	case <-e.life.Done():
		return status.Error(codes.Unavailable, errClosed.Error())
	case <-s.Context().Done():
		return s.Context().Err()
	}
	if err := e.check(h); err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	channels, err := e.claim(h.channels)
	if err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	in := newInbound(channels, e.window)
	if err := in.run(s, e.window); err != nil {
		in.fail(fmt.Errorf("connection from worker %q lost: %w", h.worker, err))
		return err
	}
	return nil
}

func newInbound(channels []*exchange.Channel, window int) *inbound {
	in := &inbound{
		channels: channels, granters: make([]exchange.Granter, len(channels)), ended: make([]bool, len(channels)),
		open: len(channels), signal: make(chan struct{}, 1), due: make([]int, len(channels)),
	}
	for i, c := range channels {
		in.granters[i] = exchange.NewGranter(window)
		c.SetConsumed(func(n int) {
			if g := in.granters[i].Consumed(n); g > 0 {
				in.handBack(i, g)
			}
		})
	}
	return in
}

// run reads until the connection ends; grants go out on a second goroutine,
// which has ended when run returns.
func (in *inbound) run(s grpc.ServerStream, window int) error {
	if err := s.SendMsg(&message{out: mem.BufferSlice{mem.SliceBuffer(appendWelcome(nil, window))}}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(s.Context())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		in.sendGrants(ctx, s)
	}()
	defer wg.Wait()
	defer cancel()
	var m message
	var heads []head
	for {
		if err := s.RecvMsg(&m); err != nil {
			return in.over(err)
		}
		var err error
		if heads, err = parseData(m.in, heads, len(in.channels), in.deliver); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
}

// deliver puts one element on its channel. The channel takes it at once: what
// may lie in it is bounded by the credit that was granted.
func (in *inbound) deliver(h head, payload []byte) error {
	if in.ended[h.channel] {
		return fmt.Errorf("%s after the end of channel %d", h.kind, h.channel)
	}
	el, err := parseElement(h.kind, payload)
	if err != nil {
		return fmt.Errorf("channel %d: %w", h.channel, err)
	}
	if h.kind == exchange.KindEnd {
		in.ended[h.channel] = true
		in.open--
	}
	in.channels[h.channel].Send(el)
	return nil
}

// over says what the end of the stream means: it is clean only when all
// channels have ended.
func (in *inbound) over(err error) error {
	switch {
	case in.open == 0:
		return nil
	case errors.Is(err, io.EOF):
		return errEndedEarly
	}
	return err
}

// fail breaks the channels that have not ended.
func (in *inbound) fail(err error) {
	for i, c := range in.channels {
		if !in.ended[i] {
			c.Fail(err)
		}
	}
}

// handBack is called on the consuming task's goroutine.
func (in *inbound) handBack(channel, n int) {
	in.mu.Lock()
	if in.due[channel] == 0 {
		in.dirty = append(in.dirty, channel)
	}
	in.due[channel] += n
	in.mu.Unlock()
	select {
	case in.signal <- struct{}{}:
	default:
	}
}

func (in *inbound) sendGrants(ctx context.Context, s grpc.ServerStream) {
	var grants []grant
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.signal:
		}
		grants = grants[:0]
		in.mu.Lock()
		for _, c := range in.dirty {
			grants = append(grants, grant{channel: c, bytes: in.due[c]})
			in.due[c] = 0
		}
		in.dirty = in.dirty[:0]
		in.mu.Unlock()
		if len(grants) == 0 {
			continue
		}
		b := appendGrants(make([]byte, 0, 1+8*len(grants)), grants)
		if s.SendMsg(&message{out: mem.BufferSlice{mem.SliceBuffer(b)}}) != nil {
			return // the reading side sees the same end
		}
	}
}

// sameToken compares in constant time.
func sameToken(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
