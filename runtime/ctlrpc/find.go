package ctlrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/leatstream/leat/internal/retry"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// candidatesMax bounds the jobmanagers asked at a time: those configured and
// those that they name.
const candidatesMax = 16

// pause grows from backoffFirst to backoffMax.
type pause struct{ tries int }

func (p *pause) next() time.Duration {
	p.tries++
	return retry.Policy{PauseFirst: backoffFirst, PauseMax: backoffMax}.Pause(p.tries, rand.Float64())
}

// admitted is a session with a jobmanager that has taken the registration.
type admitted struct {
	address    string
	conn       *grpc.ClientConn
	ctx        context.Context //nolint:containedctx // the life of the stream: its cause says why it ended
	cancel     context.CancelCauseFunc
	stream     jobManagerStream
	registered *controlv1.Registered
}

func (s *admitted) close() {
	s.cancel(nil)
	_ = s.conn.Close() // nothing is left to be sent
}

// finding is one search for the leader.
type finding struct {
	client  *Client
	handler SessionHandler
	won     chan *admitted // the first session; unbuffered
	hints   chan string    // addresses that standbys name
	// turn is held from a registration until its answer was looked at: a
	// leader that is reached by two names must not see two sessions, of which
	// the later one would end the earlier.
	turn sync.Mutex
	over bool // guarded by turn; a session was handed over
}

// find asks all candidates, and those that they name, each again and again at
// its own pace, so that one that cannot be reached holds up none. The first
// session wins. It returns nil when ctx ends or another leader is elected.
func (c *Client) find(ctx context.Context, candidates []string, h SessionHandler, changed <-chan struct{}) *admitted {
	f := &finding{client: c, handler: h, won: make(chan *admitted), hints: make(chan string)}
	searching, stop := context.WithCancel(ctx)
	var tries sync.WaitGroup
	defer tries.Wait()
	defer stop()
	var asked []string
	ask := func(address string) {
		if address != "" && len(asked) < candidatesMax && !slices.Contains(asked, address) {
			asked = append(asked, address)
			tries.Go(func() { f.try(ctx, searching, address) })
		}
	}
	for _, a := range candidates {
		ask(a)
	}
	if len(asked) == 0 {
		c.cfg.Log.Warn("no session with a jobmanager", "error", "no jobmanager is known yet")
	}
	for {
		select {
		case s := <-f.won:
			return s
		case address := <-f.hints:
			ask(address)
		case <-changed:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// errFound ends the tries that came too late.
var errFound = errors.New("the search has ended")

// try registers with one jobmanager until one is found. A fault is logged
// once, not at each try.
func (f *finding) try(ctx, searching context.Context, address string) {
	var wait pause
	said := ""
	for searching.Err() == nil {
		hint, err := f.register(ctx, searching, address)
		if err == nil || errors.Is(err, errFound) || searching.Err() != nil {
			return
		}
		if text := err.Error(); text != said {
			said = text
			f.client.cfg.Log.Warn("no session with a jobmanager", "error", text)
		}
		f.follow(searching, hint)
		f.client.sleep(searching, wait.next(), nil)
	}
}

// register connects, asks to be admitted, and hands the session over, which
// then lives as long as ctx. A standby's answer is an error with a hint.
func (f *finding) register(ctx, searching context.Context, address string) (hint string, err error) {
	c := f.client
	conn, err := grpc.NewClient(address, dialOptions(c.cfg.Credentials)...)
	if err != nil {
		return "", fmt.Errorf("jobmanager %s: %w", address, err)
	}
	s := &admitted{address: address, conn: conn}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := c.within(searching, registerTimeout, s.cancel, s.connect); err != nil {
		return "", err
	}
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.over || searching.Err() != nil {
		return "", errFound
	}
	err = c.within(searching, answerTimeout, s.cancel, func() error { return s.register(f.handler.Registration()) })
	if err != nil {
		return "", err
	}
	if why := s.registered.GetRefused(); why != "" {
		return leaderIn(why), fmt.Errorf("jobmanager %s refused: %s", address, why)
	}
	select {
	case f.won <- s:
		f.over = true
		return "", nil
	case <-searching.Done():
		return "", searching.Err()
	}
}

// leaderIn is the leader that a standby names in its refusal, or empty; it may
// say that it does not know.
func leaderIn(refusal string) string {
	_, address, _ := strings.Cut(refusal, standbyMark+"; the leader is ")
	if _, _, err := net.SplitHostPort(address); err != nil || strings.Contains(address, " ") {
		return ""
	}
	return address
}

// follow has the leader asked that a standby named.
func (f *finding) follow(searching context.Context, hint string) {
	if hint == "" {
		return
	}
	select {
	case f.hints <- hint:
	case <-searching.Done():
	}
}

// within calls fn and cancels its context when it takes longer than limit or
// the search ends. Once within has returned it cancels nothing any more.
func (c *Client) within(searching context.Context, limit time.Duration, cancel context.CancelCauseFunc, fn func() error) error {
	timer := c.cfg.Clock.NewTimer(limit)
	defer timer.Stop()
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-timer.C():
			cancel(fmt.Errorf("no answer within %s", limit))
		case <-searching.Done():
			cancel(searching.Err())
		case <-done:
		}
	})
	err := fn()
	close(done)
	watch.Wait()
	return err
}

// connect waits until the connection is up or has failed, so that a machine
// that is gone is waited for outside of turn. The fault is what register says.
func (s *admitted) connect() error {
	for {
		s.conn.Connect()
		state := s.conn.GetState()
		if state == connectivity.Ready || state == connectivity.TransientFailure {
			return nil
		}
		if !s.conn.WaitForStateChange(s.ctx, state) {
			return fmt.Errorf("jobmanager %s: %w", s.address, context.Cause(s.ctx))
		}
	}
}

type jobManagerStream = grpc.BidiStreamingClient[controlv1.TaskManagerMessage, controlv1.JobManagerMessage]

// register asks to be admitted and waits for the answer.
func (s *admitted) register(reg *controlv1.Register) error {
	stream, err := controlv1.NewJobManagerClient(s.conn).Session(s.ctx)
	if err != nil {
		return fmt.Errorf("jobmanager %s: %w", s.address, cause(s.ctx, err))
	}
	s.stream = stream
	m := &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_Register{Register: reg}}
	if err := stream.Send(m); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("jobmanager %s: %w", s.address, cause(s.ctx, err))
	}
	// After io.EOF the reason is what Recv says.
	answer, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("jobmanager %s: %w", s.address, cause(s.ctx, err))
	}
	if s.registered = answer.GetRegistered(); s.registered == nil {
		return fmt.Errorf("jobmanager %s answered the registration with %T: run the same release on all machines", s.address, answer.GetBody())
	}
	return nil
}
