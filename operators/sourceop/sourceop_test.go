package sourceop_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/sourceop"
)

// scripted is a source whose reader returns what a test put into feed.
type scripted struct {
	stages   [][]string // of a stagedEnumerator; splits are then the current one
	ends     []string   // what it was told of the last stage
	splits   []string
	bounded  bool
	interval time.Duration
	feed     map[string][]connectors.Fetched
	failures []error // of Discover, first to last
	closed   int
	// momentary says that the start depends on the moment (connectors.Momentary).
	momentary bool
}

func (s *scripted) Name() string   { return "scripted" }
func (s *scripted) Detail() string { return "" }
func (s *scripted) Bounded() bool  { return s.bounded }
func (s *scripted) RowType() columnar.RowType {
	t, err := columnar.TypeOf[int64]()
	if err != nil {
		panic(err)
	}
	return t
}

func (s *scripted) Owner(id string, parallelism int) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(id, "s"))
	return n % parallelism
}

func (s *scripted) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if s.stages != nil {
		return newStaged(s, ctx.Restored), nil
	}
	return enumerator{s}, nil
}

func (s *scripted) NewReader(*connectors.ReaderContext) (connectors.Reader, error) {
	return &reader{src: s}, nil
}

type enumerator struct{ src *scripted }

func (e enumerator) Discover(context.Context) ([]connectors.Split, error) {
	if len(e.src.failures) > 0 {
		err := e.src.failures[0]
		e.src.failures = e.src.failures[1:]
		return nil, err
	}
	var out []connectors.Split
	for _, id := range e.src.splits {
		out = append(out, connectors.Split{ID: id, Position: []byte("0")})
	}
	return out, nil
}

func (e enumerator) Momentary() bool           { return e.src.momentary }
func (e enumerator) Interval() time.Duration   { return e.src.interval }
func (e enumerator) Snapshot() ([]byte, error) { return []byte(strings.Join(e.src.splits, " ")), nil }
func (e enumerator) Close() error              { return nil }

// reader's position of a split is the number of pieces that were returned.
type reader struct {
	src  *scripted
	held []connectors.Split
}

func (r *reader) AddSplits(s []connectors.Split) error {
	r.held = append(r.held, s...)
	return nil
}

func (r *reader) Next() (connectors.Fetched, bool, error) {
	for i, s := range r.held {
		if q := r.src.feed[s.ID]; len(q) > 0 {
			r.src.feed[s.ID] = q[1:]
			n, _ := strconv.Atoi(string(s.Position))
			r.held[i].Position = []byte(strconv.Itoa(n + 1))
			f := q[0]
			f.Split = s.ID
			return f, true, nil
		}
	}
	return connectors.Fetched{}, false, nil
}

func (r *reader) Snapshot() []connectors.Split { return slices.Clone(r.held) }

func (r *reader) Committed([]connectors.Split) {}

func (r *reader) Close() error {
	r.src.closed++
	return nil
}

func rows(times ...int64) connectors.Fetched {
	return connectors.Fetched{Batch: columnar.NewBatch(slices.Clone(times), slices.Clone(times))}
}

func caughtUp(times ...int64) connectors.Fetched {
	f := connectors.Fetched{CaughtUp: true}
	if len(times) > 0 {
		f.Batch = rows(times...).Batch
	}
	return f
}

func newScripted(n int) *scripted {
	s := &scripted{feed: make(map[string][]connectors.Fetched)}
	for i := range n {
		s.splits = append(s.splits, fmt.Sprintf("s%d", i))
	}
	return s
}

func (s *scripted) put(split int, f ...connectors.Fetched) {
	id := fmt.Sprintf("s%d", split)
	s.feed[id] = append(s.feed[id], f...)
}

func start(t *testing.T, src *scripted, cfg sourceop.Config, parallelism int) (*operatortest.Harness, operators.Coordinator) {
	t.Helper()
	cfg.Source = src
	if cfg.Generator == nil {
		cfg.Generator = sourceop.BoundedOutOfOrderness(0)
	}
	if cfg.WatermarkInterval == 0 {
		cfg.WatermarkInterval = time.Nanosecond
	}
	if cfg.FutureMax == 0 {
		cfg.FutureMax = -1
	}
	h := operatortest.New(t, operatortest.Config{Factory: sourceop.New(cfg), Parallelism: parallelism, Sides: []string{dataflow.SideDeadLetter}})
	return h, connect(t, h, nil)
}

// connect starts the coordinator and lets every subtask register.
func connect(t *testing.T, h *operatortest.Harness, restored []byte) operators.Coordinator {
	t.Helper()
	c := h.NewCoordinator(restored)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range h.Subs {
		h.Poll(i)
	}
	h.Deliver(c)
	h.RunMail()
	return c
}

// log describes what was emitted: rows, w=watermark, idle, active.
func log(h *operatortest.Harness) string {
	var out []string
	for _, e := range h.Take() {
		switch {
		case e.Watermark != nil && *e.Watermark == dataflow.TimeMax:
			out = append(out, "w=max")
		case e.Watermark != nil:
			out = append(out, fmt.Sprintf("w=%d", *e.Watermark))
		case e.Idle != nil && *e.Idle:
			out = append(out, "idle")
		case e.Idle != nil:
			out = append(out, "active")
		case e.Side == "":
			out = append(out, fmt.Sprint(columnar.Rows[int64](e.Batch)))
		}
	}
	return strings.Join(out, " ")
}

func expect(t *testing.T, h *operatortest.Harness, want string) {
	t.Helper()
	if got := log(h); got != want {
		t.Fatalf("emitted %q, want %q", got, want)
	}
}

func TestWatermarkIsTheLeastOfSplits(t *testing.T) {
	t.Parallel()
	src := newScripted(2)
	h, _ := start(t, src, sourceop.Config{}, 1)
	expect(t, h, "")
	src.put(0, rows(10, 30, 20))
	h.PollAll(0)
	expect(t, h, "[10 30 20]")
	src.put(1, rows(25))
	h.PollAll(0)
	expect(t, h, "[25] w=24")
	src.put(1, rows(90), rows(5))
	h.PollAll(0)
	expect(t, h, "[90] [5] w=29")
}

func TestIdleNeedsToBeCaughtUp(t *testing.T) {
	t.Parallel()
	src := newScripted(2)
	h, _ := start(t, src, sourceop.Config{IdleAfter: time.Second}, 1)
	src.put(0, rows(100))
	src.put(1, caughtUp(40))
	h.PollAll(0)
	expect(t, h, "[100] [40] w=39")
	h.Advance(500 * time.Millisecond)
	h.PollAll(0)
	expect(t, h, "")
	// Split 1 turns idle by the timer alone; split 0 is quiet, but not
	// caught up, and goes on holding the watermark.
	h.Advance(501 * time.Millisecond)
	expect(t, h, "w=99")
	h.Advance(time.Hour)
	h.PollAll(0)
	expect(t, h, "")
	src.put(0, caughtUp())
	h.PollAll(0)
	expect(t, h, "idle")
	// A record of an idle split is delivered and makes the output active.
	src.put(1, caughtUp(50))
	h.PollAll(0)
	expect(t, h, "active [50]")
}

func TestSubtaskWithoutSplitsIsIdleOnceItKnows(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	src.failures = []error{errors.New("broker is away")}
	h, _ := start(t, src, sourceop.Config{}, 2)
	if s := h.Poll(1); s != operators.PollWait {
		t.Fatalf("poll says %v", s)
	}
	expect(t, h, "") // not idle: the splits are not known yet
	h.Advance(time.Second)
	h.RunMail()
	expect(t, h, "idle")
	src.put(0, rows(7))
	h.PollAll(0)
	expect(t, h, "[7] w=6")
}

func TestPerRowCutsWhereTheWatermarkAdvances(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	h, _ := start(t, src, sourceop.Config{PerRow: true}, 1)
	f := rows(10, 5, 20, 30, 30)
	f.Batch.Origin = &columnar.Origin{Split: "s0", First: 100}
	src.put(0, f)
	h.PollAll(0)
	var places []int64
	for _, e := range h.Out {
		if e.Batch != nil {
			places = append(places, e.Batch.Origin.At(0))
		}
	}
	if !slices.Equal(places, []int64{100, 101, 103, 104}) {
		t.Errorf("positions %v", places)
	}
	expect(t, h, "[10] w=9 [5 20] w=19 [30] w=29 [30]")
}

func TestAbsurdTimesDoNotMoveTheWatermark(t *testing.T) {
	t.Parallel()
	for _, perRow := range []bool{false, true} {
		src := newScripted(1)
		h, _ := start(t, src, sourceop.Config{FutureMax: time.Hour, PerRow: perRow}, 1)
		now := h.Clock.Now().UnixMilli()
		src.put(0, rows(now, dataflow.TimeMax, now+2*3_600_000), rows(now+5))
		h.PollAll(0)
		var wm int64
		for _, e := range h.Out {
			if e.Watermark != nil {
				wm = *e.Watermark
			}
		}
		if wm != now+4 {
			t.Errorf("per row %v: watermark %d, want %d", perRow, wm, now+4)
		}
		if n := h.Subs[0].Metrics.Counter(sourceop.MetricFutureIgnored).Value(); !perRow && n != 2 {
			t.Errorf("%d records were counted, want 2", n)
		}
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	h, _ := start(t, src, sourceop.Config{}, 1)
	src.put(0, connectors.Fetched{Bad: []connectors.DeadLetter{{Error: "no JSON", Topic: "orders", Offset: 9, Timestamp: 4}}})
	h.PollAll(0)
	got := operatortest.Rows[connectors.DeadLetter](h, dataflow.SideDeadLetter)
	if len(got) != 1 || got[0].Operator != "op" || got[0].Offset != 9 {
		t.Fatalf("dead letters %+v", got)
	}
	if n := h.Subs[0].Metrics.Counter(sourceop.MetricDeadLetters).Value(); n != 1 {
		t.Errorf("%d dead letters were counted", n)
	}
}

func TestBoundedSourceEnds(t *testing.T) {
	t.Parallel()
	src := newScripted(2)
	src.bounded = true
	h, _ := start(t, src, sourceop.Config{}, 3)
	src.put(0, connectors.Fetched{Batch: rows(1).Batch, SplitEnd: true})
	if s := h.PollAll(0); s != operators.PollFinished {
		t.Fatalf("subtask 0 says %v", s)
	}
	if s := h.PollAll(1); s != operators.PollWait {
		t.Fatalf("subtask 1 says %v before its split ended", s)
	}
	src.put(1, connectors.Fetched{SplitEnd: true})
	if s := h.PollAll(1); s != operators.PollFinished {
		t.Fatalf("subtask 1 says %v", s)
	}
	if s := h.PollAll(2); s != operators.PollFinished {
		t.Fatalf("subtask 2, without splits, says %v", s)
	}
	if got := log(h); !strings.HasSuffix(got, "w=max") {
		t.Fatalf("emitted %q", got)
	}
}

// TestRestore checks that splits go to their new owners with position and
// watermark, that nothing is assigned twice, and that the watermark begins at
// the least of what was restored.
func TestRestore(t *testing.T) {
	t.Parallel()
	src := newScripted(3)
	h, c := start(t, src, sourceop.Config{}, 1)
	src.put(0, rows(100))
	src.put(1, rows(200))
	src.put(2, rows(300))
	h.PollAll(0)
	state, err := c.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	snap := h.Checkpoint(operators.Checkpoint{ID: 1})
	h.Take()

	src.splits = append(src.splits, "s3")
	h.Restore(snap, 2)
	connect(t, h, state)
	expect(t, h, "w=99 w=199") // subtask 0 has s0 and s2, subtask 1 has s1
	// Subtask 1 got s3, which is new: its watermark waits for it.
	src.put(1, rows(900))
	src.put(3, rows(1000))
	h.PollAll(1)
	expect(t, h, "[900] [1000] w=899")
	src.put(0, rows(50), rows(400))
	h.PollAll(0)
	expect(t, h, "[50] [400] w=299")
	again := h.Checkpoint(operators.Checkpoint{ID: 2})
	h.Restore(again, 1)
	connect(t, h, state)
	expect(t, h, "w=299")
}

func TestDiscoveryFindsMore(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	src.interval = time.Second
	src.failures = []error{errors.New("one"), errors.New("two")}
	h, _ := start(t, src, sourceop.Config{}, 1)
	for range 3 {
		h.Advance(time.Second)
		h.RunMail()
	}
	src.put(0, rows(1))
	h.PollAll(0)
	src.splits = append(src.splits, "s1")
	h.Advance(2 * time.Second)
	h.RunMail()
	src.put(1, rows(2))
	h.PollAll(0)
	if got := operatortest.Rows[int64](h, ""); !slices.Equal(got, []int64{1, 2}) {
		t.Fatalf("rows %v", got)
	}
}

func TestFatalDiscoveryFailsTheJob(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	src.failures = []error{fmt.Errorf("asking: %w", &connectors.FatalError{What: "topic is gone"})}
	h := operatortest.New(t, operatortest.Config{Factory: sourceop.New(sourceop.Config{Source: src})})
	var failed error
	c, err := sourceop.New(sourceop.Config{Source: src}).NewCoordinator(&operators.CoordinatorContext{
		Parallelism: 1, Clock: h.Clock, Async: func(fn func() error, done func(error) error) { failed = done(fn()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if failed == nil || !strings.Contains(failed.Error(), "topic is gone") {
		t.Fatalf("error %v", failed)
	}
}

// TestHold drives a coordinator whose first positions depend on the moment:
// no split is assigned before they are in a committed checkpoint.
func TestHold(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	src.momentary = true
	var wishes, sent int
	var again func() error
	coordinator := func(restored []byte, checkpoints bool) (operators.Coordinator, func(cp dataflow.CheckpointID)) {
		wishes, sent, again = 0, 0, nil
		ctx := &operators.CoordinatorContext{
			Parallelism: 1, Restored: restored, Clock: clock.NewManual(time.Unix(0, 0)),
			Async: func(fn func() error, done func(error) error) {
				if err := done(fn()); err != nil {
					t.Error(err)
				}
			},
			Send:  func(int, []byte) { sent++ },
			After: func(_ int64, fn func() error) { again = fn },
		}
		if checkpoints {
			ctx.WantCheckpoint = func() { wishes++ }
		}
		c, err := sourceop.New(sourceop.Config{Source: src}).NewCoordinator(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.HandleEvent(0, []byte(`{"held":[]}`)); err != nil {
			t.Fatal(err)
		}
		return c, func(cp dataflow.CheckpointID) {
			if err := c.(operators.CheckpointListener).CheckpointCommitted(cp); err != nil {
				t.Error(err)
			}
		}
	}
	snapshot := func(c operators.Coordinator, cp dataflow.CheckpointID) {
		if _, err := c.Snapshot(cp); err != nil {
			t.Error(err)
		}
	}
	c, commit := coordinator(nil, true)
	snapshot(c, 1) // before the positions are known
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if commit(1); wishes != 1 || sent != 0 {
		t.Errorf("%d wishes, %d assignments after a checkpoint without positions; want 1, 0", wishes, sent)
	}
	snapshot(c, 2) // aborted
	snapshot(c, 3)
	if err := again(); err != nil || wishes != 2 || sent != 0 {
		t.Errorf("%d wishes, %d assignments, %v; want 2, 0", wishes, sent, err)
	}
	if commit(3); sent != 1 {
		t.Errorf("%d assignments after the commit, want 1", sent)
	}
	if err := again(); err != nil || wishes != 2 {
		t.Errorf("%d wishes although it has what it wanted, %v", wishes, err)
	}
	commit(4)
	for name, c := range map[string]struct {
		restored    []byte
		checkpoints bool
	}{"restored": {restored: []byte("s0"), checkpoints: true}, "without checkpoints": {}} {
		if x, _ := coordinator(c.restored, c.checkpoints); x.Start() != nil || sent != 1 || wishes != 0 {
			t.Errorf("%s: %d assignments and %d wishes at the start, want 1, 0", name, sent, wishes)
		}
	}
}

// TestIdleModel compares random runs with a model that looks at all splits
// anew: the order in which splits turn idle makes no difference.
func TestIdleModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		const n = 4
		src := newScripted(n)
		h, _ := start(t, src, sourceop.Config{IdleAfter: 100 * time.Millisecond}, 1)
		var wm [n]int64
		var quiet [n]time.Time
		var caught, idle [n]bool
		for i := range n {
			wm[i], quiet[i] = dataflow.TimeMin, h.Clock.Now()
		}
		emitted := dataflow.TimeMin
		// A timer fires when the clock has passed it, a poll sees it reached.
		look := func(least time.Duration) {
			low, high, active := dataflow.TimeMax, dataflow.TimeMin, false
			for i := range n {
				idle[i] = idle[i] || caught[i] && h.Clock.Now().Sub(quiet[i]) >= least
				high = max(high, wm[i])
				if !idle[i] {
					active, low = true, min(low, wm[i])
				}
			}
			if !active {
				low = high
			}
			emitted = max(emitted, low)
		}
		for range 200 {
			h.Advance(time.Duration(rng.IntN(60)) * time.Millisecond)
			look(101 * time.Millisecond)
			if i := rng.IntN(n); rng.IntN(2) == 0 {
				at := rng.Int64N(10_000)
				caught[i] = rng.IntN(2) == 0
				f := rows(at)
				f.CaughtUp = caught[i]
				src.put(i, f)
				wm[i], quiet[i], idle[i] = max(wm[i], at-1), h.Clock.Now(), false
			}
			h.PollAll(0)
			look(100 * time.Millisecond)
			out := log(h)
			if got, ok := h.Subs[0].Metrics.Read(sourceop.MetricWatermark); !ok || got != float64(emitted) {
				t.Fatalf("seed %d: watermark %v, want %d (last emitted %q)", seed, got, emitted, out)
			}
		}
	}
}
