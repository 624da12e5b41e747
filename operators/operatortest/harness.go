// Package operatortest drives operators in tests without a task: it feeds
// batches, watermarks, time and checkpoints to all subtasks of one operator,
// restores them at any parallelism, and keeps what they emit. It does not
// chain operators or move data.
package operatortest

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// Config describes the operator under test.
type Config struct {
	Factory operators.Factory
	// Rows is the type of the input; nil for a source.
	Rows columnar.RowType
	// Key partitions the input; an operator with it is keyed. Without it rows
	// go to the subtasks in turn.
	Key            columnar.KeyHasher
	Parallelism    int
	MaxParallelism int
	// BatchRows cuts the input into batches of this size; 0 leaves it.
	BatchRows int
	// Sides are the side outputs that someone consumes.
	Sides []string
	// NotReady makes every NotReady-th question whether there is room
	// downstream be answered with no; 0 never.
	NotReady int
	// Start is what the clock shows at first.
	Start   time.Time
	TxnPool int
	OnError operators.ErrorPolicy
}

// Emitted is one thing that a subtask emitted.
type Emitted struct {
	Subtask int
	// Side is the tag of a side output, "" for the main one.
	Side  string
	Batch *columnar.Batch // nil for the rest
	// Watermark and Idle are what a source told; nil when it is not that.
	Watermark *int64
	Idle      *bool
}

// Harness runs all subtasks of one operator. It is used on the test's
// goroutine; only Mail and Wake of the contexts may be called from others.
type Harness struct {
	tb   testing.TB
	cfg  Config
	Subs []*Subtask
	// Out holds what was emitted since the last Take, in order.
	Out   []Emitted
	Clock *clock.Manual
	part  columnar.Partitioner

	mu      sync.Mutex
	mail    []func() error // guarded by mu
	arrived chan struct{}  // has room for one
	timers  []*timer
	turn    int
	asked   int
	// Events are what subtasks sent to their coordinator.
	Events []Event
	// FromSavepoint is given to the operators at the next Restore.
	FromSavepoint bool
}

// Event is a message to the coordinator.
type Event struct {
	Subtask int
	Payload []byte
}

// Subtask is one parallel instance.
type Subtask struct {
	Index    int
	Operator operators.Operator
	State    state.Backend // nil when not keyed
	Metrics  *Metrics
	Woken    int // calls of Wake since the last Poll; guarded by the harness
}

// Snapshot is a checkpoint of all subtasks.
type Snapshot struct {
	ID       dataflow.CheckpointID
	Operator [][]byte // by subtask
	Keyed    [][]byte
}

type timer struct {
	at   int64
	fn   func() error
	gone bool
}

// New opens the operator at a fresh start. It is closed when the test ends.
func New(tb testing.TB, cfg Config) *Harness {
	tb.Helper()
	if cfg.Parallelism == 0 {
		cfg.Parallelism = 1
	}
	if cfg.MaxParallelism == 0 {
		cfg.MaxParallelism = 128
	}
	if cfg.Start.IsZero() {
		cfg.Start = time.UnixMilli(1_700_000_000_000)
	}
	h := &Harness{tb: tb, cfg: cfg, Clock: clock.NewManual(cfg.Start), arrived: make(chan struct{}, 1)}
	h.open(cfg.Parallelism, nil)
	tb.Cleanup(h.Close)
	return h
}

func (h *Harness) open(parallelism int, from *Snapshot) {
	h.tb.Helper()
	h.cfg.Parallelism = parallelism
	for i := range parallelism {
		s := &Subtask{Index: i, Operator: h.cfg.Factory.New(), Metrics: NewMetrics()}
		groups := dataflow.KeyGroupsOf(i, h.cfg.MaxParallelism, parallelism)
		if h.cfg.Key != nil {
			s.State = memstate.New(groups, h.cfg.MaxParallelism)
			if from != nil {
				for _, b := range from.Keyed {
					h.check(s.State.Restore(bytes.NewReader(b), state.RestorePart{}))
				}
			}
		}
		h.Subs = append(h.Subs, s)
		ctx := h.context(s, groups)
		if from != nil {
			ctx.Restored = from.Operator
		}
		h.check(s.Operator.Open(ctx))
	}
}

// Context returns another context of a subtask, as at a fresh start, for an
// operator that the test itself opens: to change what it is given, or to see
// it fail.
func (h *Harness) Context(subtask int) *operators.Context {
	return h.context(h.Subs[subtask], dataflow.KeyGroupsOf(subtask, h.cfg.MaxParallelism, h.cfg.Parallelism))
}

func (h *Harness) context(s *Subtask, groups dataflow.KeyGroupRange) *operators.Context {
	return &operators.Context{
		Info: dataflow.TaskInfo{
			Job: "job", JobName: "test", Operator: dataflow.OperatorIDOf("op"), UID: "op", Name: "op",
			Subtask: s.Index, Parallelism: h.cfg.Parallelism, MaxParallelism: h.cfg.MaxParallelism, Attempt: 1,
		},
		KeyGroups: groups, State: s.State, Out: &output{h: h, sub: s}, Clock: h.Clock,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Mail: h.post, At: h.at,
		Wake:          func() { h.wake(s) },
		SendEvent:     func(p []byte) { h.Events = append(h.Events, Event{s.Index, p}) },
		FromSavepoint: h.FromSavepoint, Incarnation: "test", TxnPool: h.cfg.TxnPool, Metrics: s.Metrics, OnError: h.cfg.OnError,
	}
}

func (h *Harness) check(err error) {
	h.tb.Helper()
	if err != nil {
		h.tb.Fatalf("operator: %v", err)
	}
}

func (h *Harness) post(fn func() error) {
	h.mu.Lock()
	h.mail = append(h.mail, fn)
	h.mu.Unlock()
	select {
	case h.arrived <- struct{}{}:
	default:
	}
}

func (h *Harness) wake(s *Subtask) {
	h.mu.Lock()
	s.Woken++
	h.mu.Unlock()
	select {
	case h.arrived <- struct{}{}:
	default:
	}
}

func (h *Harness) at(millis int64, fn func() error) func() {
	t := &timer{at: millis, fn: fn}
	h.timers = append(h.timers, t)
	return func() { t.gone = true }
}

// RunMail runs the mail that has arrived.
func (h *Harness) RunMail() {
	h.tb.Helper()
	h.mu.Lock()
	mail := h.mail
	h.mail = nil
	h.mu.Unlock()
	for _, fn := range mail {
		h.check(fn())
	}
}

// Await runs mail until done holds, and fails the test if that takes minutes.
func (h *Harness) Await(done func() bool) {
	h.tb.Helper()
	for {
		h.RunMail()
		if done() {
			return
		}
		select {
		case <-h.arrived:
		case <-h.tb.Context().Done():
			h.tb.Fatal("the test ended while waiting")
		}
	}
}

// Advance moves the clock and fires the timers that are due, in order of time.
func (h *Harness) Advance(d time.Duration) {
	h.tb.Helper()
	h.Clock.Advance(d)
	for {
		now := clock.Millis(h.Clock)
		at := -1
		for i, t := range h.timers {
			if !t.gone && t.at < now && (at < 0 || t.at < h.timers[at].at) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		t := h.timers[at]
		t.gone = true
		h.check(t.fn())
	}
}

// Feed gives rows to the subtasks, cut and partitioned as configured.
func (h *Harness) Feed(b *columnar.Batch) {
	h.tb.Helper()
	n := h.cfg.Rows.Len(b.Rows)
	size := h.cfg.BatchRows
	if size <= 0 {
		size = max(n, 1)
	}
	for from := 0; from < n; from += size {
		to := min(from+size, n)
		c := &columnar.Batch{Rows: h.cfg.Rows.Gather(nil, b.Rows, indexes(from, to)), Shared: b.Shared}
		if b.Times != nil {
			c.Times = append([]int64(nil), b.Times[from:to]...)
		}
		h.route(c, to-from)
	}
}

func indexes(from, to int) []int32 {
	idx := make([]int32, 0, to-from)
	for i := from; i < to; i++ {
		idx = append(idx, int32(i))
	}
	return idx
}

func (h *Harness) route(b *columnar.Batch, n int) {
	h.tb.Helper()
	if h.cfg.Key == nil {
		h.turn++
		h.check(h.Subs[h.turn%len(h.Subs)].Operator.Process(0, b))
		return
	}
	targets := columnar.NewKeyTargets(h.cfg.MaxParallelism, h.cfg.Parallelism).
		Append(nil, h.cfg.Key.HashRows(make([]uint64, 0, n), b.Rows))
	h.part.Split(b, h.cfg.Rows, targets, h.cfg.Parallelism, func(to int, b *columnar.Batch) {
		h.check(h.Subs[to].Operator.Process(0, b))
	})
}

// FeedTo gives a batch to one subtask, as it is.
func (h *Harness) FeedTo(subtask int, b *columnar.Batch) {
	h.tb.Helper()
	h.check(h.Subs[subtask].Operator.Process(0, b))
}

// Watermark advances event time in all subtasks.
func (h *Harness) Watermark(wm int64) {
	h.tb.Helper()
	for i := range h.Subs {
		h.WatermarkTo(i, wm)
	}
}

// callsMax bounds how often an operator may say that it is not done.
const callsMax = 1 << 20

// WatermarkTo advances event time in one subtask.
func (h *Harness) WatermarkTo(subtask int, wm int64) {
	h.tb.Helper()
	w, ok := h.Subs[subtask].Operator.(operators.WatermarkHandler)
	if !ok {
		return
	}
	for range callsMax {
		done, err := w.Watermark(wm)
		h.check(err)
		if done {
			return
		}
	}
	h.tb.Fatalf("Watermark(%d) is not done after %d calls", wm, callsMax)
}

// End ends the input of all subtasks: the greatest watermark, then End.
func (h *Harness) End() {
	h.tb.Helper()
	h.Watermark(dataflow.TimeMax)
	for _, s := range h.Subs {
		e, ok := s.Operator.(operators.EndHandler)
		for done := !ok; !done; {
			var err error
			done, err = e.End()
			h.check(err)
		}
	}
}

// Checkpoint snapshots all subtasks.
func (h *Harness) Checkpoint(cp operators.Checkpoint) *Snapshot {
	h.tb.Helper()
	snap := &Snapshot{ID: cp.ID}
	for _, s := range h.Subs {
		if o, ok := s.Operator.(operators.Snapshotter); ok {
			b, err := o.Snapshot(cp)
			h.check(err)
			snap.Operator = append(snap.Operator, bytes.Clone(b))
		}
		if s.State == nil {
			continue
		}
		frozen, err := s.State.Snapshot(cp.ID)
		h.check(err)
		var buf bytes.Buffer
		_, err = frozen.WriteTo(&buf)
		h.check(err)
		frozen.Release()
		snap.Keyed = append(snap.Keyed, buf.Bytes())
	}
	return snap
}

// Committed tells all subtasks that a checkpoint was committed.
func (h *Harness) Committed(cp dataflow.CheckpointID) {
	h.tb.Helper()
	for _, s := range h.Subs {
		if l, ok := s.Operator.(operators.CheckpointListener); ok {
			h.check(l.CheckpointCommitted(cp))
		}
	}
}

// Restore throws the subtasks away, with all mail and timers, and opens
// parallelism new ones from a snapshot. What was emitted stays.
func (h *Harness) Restore(from *Snapshot, parallelism int) {
	h.tb.Helper()
	h.Close()
	h.open(parallelism, from)
}

// Close closes the subtasks. It may be called again.
func (h *Harness) Close() {
	h.tb.Helper()
	for _, s := range h.Subs {
		h.check(s.Operator.Close())
		if s.State != nil {
			h.check(s.State.Close())
		}
	}
	h.Subs, h.timers, h.Events = nil, nil, nil
	h.mu.Lock()
	h.mail = nil
	h.mu.Unlock()
}

// Poll polls a source's subtask once.
func (h *Harness) Poll(subtask int) operators.PollStatus {
	h.tb.Helper()
	s := h.Subs[subtask]
	h.mu.Lock()
	s.Woken = 0
	h.mu.Unlock()
	status, err := s.Operator.(operators.SourceOperator).Poll()
	h.check(err)
	return status
}

// PollAll polls a source's subtask until it has nothing, and returns why.
func (h *Harness) PollAll(subtask int) operators.PollStatus {
	h.tb.Helper()
	for range callsMax {
		if s := h.Poll(subtask); s != operators.PollMore {
			return s
		}
	}
	h.tb.Fatalf("the source is not done after %d polls", callsMax)
	return 0
}

// Send gives a source's subtask a message of its coordinator.
func (h *Harness) Send(subtask int, payload []byte) {
	h.tb.Helper()
	h.check(h.Subs[subtask].Operator.(operators.SourceOperator).HandleEvent(payload))
}

// NewCoordinator makes the coordinator of the source, whose messages reach
// the subtasks at once and whose slow work runs at once. What subtasks send is
// delivered by Deliver.
func (h *Harness) NewCoordinator(restored []byte) operators.Coordinator {
	h.tb.Helper()
	c, err := h.cfg.Factory.(operators.CoordinatorFactory).NewCoordinator(&operators.CoordinatorContext{
		Info: dataflow.TaskInfo{UID: "op"}, Parallelism: h.cfg.Parallelism, Restored: restored, Clock: h.Clock,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Send: h.Send, Mail: h.post,
		Async: func(fn func() error, done func(error) error) {
			err := fn()
			h.post(func() error { return done(err) })
		},
		After: func(millis int64, fn func() error) { h.at(clock.Millis(h.Clock)+millis, fn) },
	})
	h.check(err)
	h.tb.Cleanup(func() { h.check(c.Close()) })
	return c
}

// Deliver gives the coordinator what subtasks have sent.
func (h *Harness) Deliver(c operators.Coordinator) {
	h.tb.Helper()
	events := h.Events
	h.Events = nil
	for _, e := range events {
		h.check(c.HandleEvent(e.Subtask, e.Payload))
	}
}
