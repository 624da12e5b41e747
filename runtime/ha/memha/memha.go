// Package memha coordinates the jobmanagers of one process in memory: for
// clusters in one process, tests and the simulation. Nothing outlives it.
package memha

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/ha"
)

// Fault is what a fault hook does to a Commit.
type Fault int

// Faults of a Commit.
const (
	FaultNone Fault = iota
	// FaultRefused: nothing is written and the caller knows.
	FaultRefused
	// FaultLost: nothing is written, the caller gets ErrUnknown.
	FaultLost
	// FaultUnanswered: it is written, the caller gets ErrUnknown.
	FaultUnanswered
	// FaultDeposed: the leadership ends just before the write.
	FaultDeposed
)

// Service is the state that all contenders share.
type Service struct {
	mu      sync.Mutex
	data    map[string][]byte                      // guarded by mu
	epoch   dataflow.Epoch                         // guarded by mu; of the latest leadership
	leader  *leadership                            // guarded by mu
	changed chan struct{}                          // guarded by mu; closed when leader changes
	hook    func(dataflow.Epoch, []ha.Write) Fault // guarded by mu
	waiting int                                    // guarded by mu; contenders in Campaign
}

// NewService returns a service without a leader.
func NewService() *Service {
	return &Service{data: map[string][]byte{}, changed: make(chan struct{})}
}

// Contender returns one jobmanager's way in.
func (s *Service) Contender() *Contender {
	ctx, cancel := context.WithCancel(context.Background())
	return &Contender{service: s, ctx: ctx, cancel: cancel}
}

// SetFaults has hook asked about each Commit; nil ends it. The hook is called
// without locks held and must not call Commit.
func (s *Service) SetFaults(hook func(dataflow.Epoch, []ha.Write) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Depose ends the present leadership, as if its lease had run out.
func (s *Service) Depose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setLeaderLocked(nil)
}

// Waiting returns how many contenders wait in Campaign.
func (s *Service) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

func (s *Service) setLeaderLocked(l *leadership) {
	if s.leader != nil {
		close(s.leader.done)
	}
	s.leader = l
	close(s.changed)
	s.changed = make(chan struct{})
}

// Contender is a ha.Coordination in memory.
type Contender struct {
	service *Service
	ctx     context.Context //nolint:containedctx // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // watchers
}

var _ ha.Coordination = (*Contender)(nil)

// Campaign implements ha.Coordination.
func (c *Contender) Campaign(ctx context.Context, me ha.Leader) (ha.Leadership, error) {
	s := c.service
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting++
	defer func() { s.waiting-- }()
	for {
		if c.ctx.Err() != nil {
			return nil, ha.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("campaign of %q: %w", me.ID, err)
		}
		if s.leader == nil {
			s.epoch++
			me.Epoch = s.epoch
			l := &leadership{owner: c, leader: me, done: make(chan struct{})}
			s.setLeaderLocked(l)
			return l, nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
		s.mu.Lock()
	}
}

// Watch implements ha.Coordination.
func (c *Contender) Watch(ctx context.Context) <-chan *ha.Leader {
	out := make(chan *ha.Leader, 1)
	c.wg.Go(func() {
		defer close(out)
		sent, first := ha.Leader{}, true
		for {
			leader, changed := c.service.current()
			value := ha.Leader{}
			if leader != nil {
				value = *leader
			}
			if first || value != sent {
				select {
				case out <- leader:
					sent, first = value, false
				case <-changed:
					continue
				case <-ctx.Done():
					return
				case <-c.ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			case <-c.ctx.Done():
				return
			}
		}
	})
	return out
}

func (s *Service) current() (*ha.Leader, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == nil {
		return nil, s.changed
	}
	l := s.leader.leader
	return &l, s.changed
}

// Close implements ha.Coordination: it ends the contender's leadership.
func (c *Contender) Close() error {
	c.cancel()
	s := c.service
	s.mu.Lock()
	if s.leader != nil && s.leader.owner == c {
		s.setLeaderLocked(nil)
	}
	s.mu.Unlock()
	c.wg.Wait()
	return nil
}

type leadership struct {
	owner  *Contender
	leader ha.Leader
	done   chan struct{}
}

var _ ha.Leadership = (*leadership)(nil)

func (l *leadership) Epoch() dataflow.Epoch { return l.leader.Epoch }

func (l *leadership) Done() <-chan struct{} { return l.done }

func (l *leadership) Load(ctx context.Context, prefix string) (map[string][]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("load %q: %w", prefix, err)
	}
	s := l.owner.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader != l {
		return nil, fmt.Errorf("load %q: epoch %d: %w", prefix, l.Epoch(), ha.ErrFenced)
	}
	found := map[string][]byte{}
	for key, value := range s.data {
		if strings.HasPrefix(key, prefix) {
			found[key] = bytes.Clone(value)
		}
	}
	return found, nil
}

func (l *leadership) Commit(ctx context.Context, writes []ha.Write) error {
	if err := ha.CheckWrites(writes); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s := l.owner.service
	switch l.fault(writes) {
	case FaultRefused:
		return errors.New("commit: refused by the fault hook, nothing was written")
	case FaultLost:
		return fmt.Errorf("commit: %w", ha.ErrUnknown)
	case FaultUnanswered:
		if err := l.apply(writes); err != nil {
			return err
		}
		return fmt.Errorf("commit: %w", ha.ErrUnknown)
	case FaultDeposed:
		s.Depose()
	}
	return l.apply(writes)
}

func (l *leadership) fault(writes []ha.Write) Fault {
	s := l.owner.service
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return FaultNone
	}
	return hook(l.Epoch(), writes)
}

func (l *leadership) apply(writes []ha.Write) error {
	s := l.owner.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader != l {
		return fmt.Errorf("commit: epoch %d: %w", l.Epoch(), ha.ErrFenced)
	}
	for _, w := range writes {
		if w.Value == nil {
			delete(s.data, w.Key)
		} else {
			s.data[w.Key] = append([]byte{}, w.Value...)
		}
	}
	return nil
}

func (l *leadership) Resign(ctx context.Context) error {
	s := l.owner.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leader == l {
		s.setLeaderLocked(nil)
	}
	return nil
}
