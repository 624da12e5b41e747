package minicluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/taskexec"
)

const (
	// sessionQueueMax bounds the messages under way in each direction.
	sessionQueueMax = 8192
	// retryPause is the time between two tries to find a leader.
	retryPause = 10 * time.Millisecond
)

var errSessionOver = errors.New("session has ended")

// session joins a taskmanager and a dispatcher in memory. Messages are
// copied: neither side sees the other's later changes.
type session struct {
	down chan *controlv1.JobManagerMessage  // to the taskmanager
	up   chan *controlv1.TaskManagerMessage // to the dispatcher
	over chan struct{}
	once sync.Once
	why  string // set before over is closed
}

var _ dispatcher.Session = (*session)(nil)

func newSession() *session {
	return &session{
		down: make(chan *controlv1.JobManagerMessage, sessionQueueMax),
		up:   make(chan *controlv1.TaskManagerMessage, sessionQueueMax),
		over: make(chan struct{}),
	}
}

// Send implements dispatcher.Session.
func (s *session) Send(m *controlv1.JobManagerMessage) error {
	return offer(s, s.down, proto.CloneOf(m))
}

func (s *session) sendUp(m *controlv1.TaskManagerMessage) error {
	return offer(s, s.up, proto.CloneOf(m))
}

func offer[M any](s *session, queue chan M, m M) error {
	select {
	case <-s.over:
		return errSessionOver
	default:
	}
	select {
	case queue <- m:
		return nil
	default:
		s.Close("the other side does not keep up")
		return errSessionOver
	}
}

// Close implements dispatcher.Session.
func (s *session) Close(reason string) {
	s.once.Do(func() {
		s.why = reason
		close(s.over)
	})
}

// attend keeps a taskmanager in session with whoever leads, until ctx ends.
func (c *Cluster) attend(ctx context.Context, tm *taskManager) {
	for ctx.Err() == nil {
		if d := c.leading(); d != nil && !tm.isCut() {
			c.converse(ctx, d, tm)
		}
		timer := c.cfg.Clock.NewTimer(retryPause)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// converse runs one session. Two helpers carry messages; both have ended when
// it returns.
func (c *Cluster) converse(ctx context.Context, d *dispatcher.Dispatcher, tm *taskManager) {
	reg := tm.exec.Registration()
	s := newSession()
	registered, err := d.Connect(reg, s)
	if err != nil || registered.GetRefused() != "" {
		return
	}
	tm.set(s)
	tm.exec.Connected(registered, s.sendUp, s.Close)
	var helpers sync.WaitGroup
	helpers.Go(func() {
		carry(s, s.up, func(m *controlv1.TaskManagerMessage) { d.Receive(reg.GetId(), reg.GetInstance(), m) })
	})
	helpers.Go(func() { carry(s, s.down, tm.exec.Received) })
	select {
	case <-s.over:
	case <-ctx.Done():
		s.Close("the taskmanager ends")
	}
	helpers.Wait()
	tm.exec.Disconnected(s.why)
	d.Disconnect(reg.GetId(), reg.GetInstance())
}

// carry hands on messages in order until the session is over.
func carry[M any](s *session, queue chan M, hand func(M)) {
	for {
		select {
		case <-s.over:
			return
		default:
		}
		select {
		case m := <-queue:
			hand(m)
		case <-s.over:
			return
		}
	}
}

// taskManager is one taskmanager of the cluster.
type taskManager struct {
	id       string
	exec     *taskexec.Executor
	launcher *recorder
	drain    context.CancelFunc // it ends in order, its session last
	stop     context.CancelFunc // both at once
	done     chan struct{}      // its goroutines have ended

	mu      sync.Mutex
	current *session // guarded by mu
	cut     bool     // guarded by mu; partitioned from the jobmanager
}

func (tm *taskManager) set(s *session) {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.current = s
	if tm.cut {
		s.Close("the network was cut")
	}
}

func (tm *taskManager) isCut() bool {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	return tm.cut
}

// setCut breaks or mends its way to the jobmanager.
func (tm *taskManager) setCut(cut bool) {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	tm.cut = cut
	if cut && tm.current != nil {
		tm.current.Close("the network was cut")
	}
}
