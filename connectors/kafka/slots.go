package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/fault"
)

// slotState is the life of a transactional id:
//
//	fresh ──init──▶ ready ──take──▶ open ──seal──▶ sealed ──commit──▶ used ──init──▶ ready
//
// Each init takes a new epoch, so that a sealed transaction is the only one of
// its producer id and epoch for ever.
type slotState uint8

const (
	slotFresh  slotState = iota // nothing known of it
	slotUsed                    // its transaction is committed
	slotReady                   // a transaction may begin
	slotOpen                    // the current transaction
	slotSealed                  // prepared, not committed
)

type slot struct {
	number   int
	txnID    string
	state    slotState
	producer kwire.Producer
	opened   time.Time // of the sealed transaction
}

// slots is a writer's share of its sink's transactional ids. A goroutine makes
// used ids ready again.
type slots struct {
	client        *kwire.Client
	log           *slog.Logger
	wake          func()
	timeoutMillis int32

	work chan struct{} // pokes the goroutine; one pending is enough

	mu    sync.Mutex
	all   []*slot       // guarded by mu (the slots' fields, too)
	err   error         // guarded by mu; fatal
	avail chan struct{} // guarded by mu; closed when a slot got ready or on err
}

func txnIDOf(incarnation, uid string, number int) string {
	return fmt.Sprintf("%s/%s/%d", incarnation, uid, number)
}

func newSlots(client *kwire.Client, log *slog.Logger, wake func(), timeout time.Duration, ids map[int]string) *slots {
	s := &slots{client: client, log: log, wake: wake, timeoutMillis: int32(timeout.Milliseconds()), work: make(chan struct{}, 1), avail: make(chan struct{})}
	for n := range maxKey(ids) + 1 {
		if id, ok := ids[n]; ok {
			s.all = append(s.all, &slot{number: n, txnID: id})
		}
	}
	return s
}

func maxKey(m map[int]string) int {
	out := -1
	for k := range m {
		out = max(out, k)
	}
	return out
}

// init takes a new epoch for a slot. It fences whoever else uses the id and
// aborts what was left open under it.
func (s *slots) init(ctx context.Context, sl *slot, own kwire.Producer) error {
	p, err := s.client.InitProducerID(ctx, sl.txnID, own, s.timeoutMillis)
	if err != nil {
		return txnIDError(sl.txnID, s.timeoutMillis, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sl.producer, sl.state = p, slotReady
	close(s.avail)
	s.avail = make(chan struct{})
	return nil
}

func txnIDError(txnID string, timeoutMillis int32, err error) error {
	switch kwire.CodeOf(err) {
	case kwire.InvalidTxnTimeout:
		return txnTimeoutError(time.Duration(timeoutMillis)*time.Millisecond, 0)
	case kwire.ProducerFenced, kwire.InvalidProducerEpoch:
		return fmt.Errorf("transactional id %q was taken over by another attempt of the job: %w", txnID, err)
	}
	return fatalAuth(err)
}

func txnTimeoutError(ours, most time.Duration) error {
	why := "the brokers' transaction.max.timeout.ms is smaller"
	if most > 0 {
		why = fmt.Sprintf("the brokers' transaction.max.timeout.ms is %v", most)
	}
	return &connectors.FatalError{
		Code: codeTxnTimeout, What: fmt.Sprintf("the sink's transaction time-out of %v is more than the brokers allow", ours), Why: why,
		Fix: "raise transaction.max.timeout.ms of the brokers, or lower the sink's TransactionTimeout; it bounds how long the job may be down without losing prepared records",
	}
}

// run makes used slots ready until ctx ends.
func (s *slots) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.work:
		}
		for sl := s.used(); sl != nil && ctx.Err() == nil; sl = s.used() {
			s.mu.Lock()
			own := sl.producer
			s.mu.Unlock()
			err := fault.Hit(fault.KafkaSinkBeforeReuse)
			if err == nil {
				err = s.init(ctx, sl, own)
			}
			if err != nil && ctx.Err() == nil && !kwire.Retriable(err) {
				s.fail(err)
				return
			}
			s.wake()
		}
	}
}

func (s *slots) used() *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.all {
		if sl.state == slotUsed {
			return sl
		}
	}
	return nil
}

func (s *slots) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
		close(s.avail)
		s.avail = make(chan struct{})
	}
	s.mu.Unlock()
	s.wake()
}

// hasReady reports whether a transaction may begin, or take would fail.
func (s *slots) hasReady() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return true
	}
	for _, sl := range s.all {
		if sl.state == slotReady {
			return true
		}
	}
	return false
}

var errNoSlot = errors.New("every transactional id of the sink is in use")

// take opens a ready slot.
func (s *slots) take() (*slot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	for _, sl := range s.all {
		if sl.state == slotReady {
			sl.state = slotOpen
			return sl, nil
		}
	}
	return nil, errNoSlot
}

// await takes a slot, waiting until one is ready.
func (s *slots) await(ctx context.Context) (*slot, error) {
	for {
		s.mu.Lock()
		c := s.avail
		s.mu.Unlock()
		sl, err := s.take()
		if !errors.Is(err, errNoSlot) {
			return sl, err
		}
		select {
		case <-c:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errNoSlot, ctx.Err())
		}
	}
}

// seal closes the open transaction of sl to writing.
func (s *slots) seal(sl *slot, opened time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sl.state, sl.opened = slotSealed, opened
}

// committed frees the slot of a transaction that is committed.
func (s *slots) committed(t *sealedTxn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.all {
		if sl.state == slotSealed && sl.txnID == t.txnID && sl.producer == t.producer {
			sl.state = slotUsed
			poke(s.work)
		}
	}
}

// oldest returns the sealed slot whose transaction is oldest, nil without one.
func (s *slots) oldest() *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out *slot
	for _, sl := range s.all {
		if sl.state == slotSealed && (out == nil || sl.opened.Before(out.opened)) {
			out = &slot{number: sl.number, txnID: sl.txnID, opened: sl.opened}
		}
	}
	return out
}
