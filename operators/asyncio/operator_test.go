package asyncio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/asyncio"
	"github.com/leatstream/leat/operators/operatortest"
)

// desk answers requests when the test lets it.
type desk struct {
	mu    sync.Mutex
	open  map[int]chan error // guarded by mu
	asked []int              // guarded by mu
	news  chan struct{}
	most  int // at once; guarded by mu
}

func newDesk() *desk { return &desk{open: make(map[int]chan error), news: make(chan struct{}, 1)} }

func (d *desk) ask(ctx context.Context, v int) (string, error) {
	c := make(chan error, 1)
	d.mu.Lock()
	d.open[v] = c
	d.asked = append(d.asked, v)
	d.most = max(d.most, len(d.open))
	d.mu.Unlock()
	d.tell()
	var err error
	select {
	case err = <-c:
	case <-ctx.Done():
		err = ctx.Err()
	}
	d.mu.Lock()
	delete(d.open, v)
	d.mu.Unlock()
	d.tell()
	return fmt.Sprint("a", v), err
}

func (d *desk) tell() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// flying returns what is asked for now.
func (d *desk) flying() (vs []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for v := range d.open {
		vs = append(vs, v)
	}
	slices.Sort(vs)
	return vs
}

// await waits until exactly vs are asked for.
func (d *desk) await(t *testing.T, vs ...int) {
	t.Helper()
	for !slices.Equal(d.flying(), vs) {
		select {
		case <-d.news:
		case <-t.Context().Done():
			t.Fatalf("asked for %v, want %v", d.flying(), vs)
		}
	}
}

func (d *desk) let(v int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[v] <- err
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

func emit(out *operators.Collector[string], _ int, t int64, a *string) { out.Add(*a, t) }

func config(ask func(context.Context, int) (string, error)) asyncio.Config[int, string, string] {
	return asyncio.Config[int, string, string]{Ask: ask, Emit: emit}
}

func open(t *testing.T, cfg asyncio.Config[int, string, string], more ...func(*operatortest.Config)) *operatortest.Harness {
	t.Helper()
	rows, err := columnar.TypeOf[int]()
	if err != nil {
		t.Fatal(err)
	}
	c := operatortest.Config{Factory: asyncio.New(cfg), Rows: rows, Sides: []string{dataflow.SideDeadLetter}}
	for _, f := range more {
		f(&c)
	}
	return operatortest.New(t, c)
}

func batch(vs ...int) *columnar.Batch {
	times := make([]int64, len(vs))
	for i, v := range vs {
		times[i] = int64(v) * 10
	}
	return columnar.NewBatch(vs, times)
}

func rows(h *operatortest.Harness) []string { return operatortest.Rows[string](h, "") }

func wantRows(t *testing.T, h *operatortest.Harness, want ...string) {
	t.Helper()
	if got := rows(h); !slices.Equal(got, want) {
		t.Fatalf("emitted %v, want %v", got, want)
	}
}

func emitted(h *operatortest.Harness, n int) func() bool {
	return func() bool { return len(rows(h)) >= n }
}

func value(h *operatortest.Harness, name string) int64 {
	return h.Subs[0].Metrics.Counter(name).Value()
}

func TestOrderedKeepsTheOrder(t *testing.T) {
	t.Parallel()
	d := newDesk()
	h := open(t, config(d.ask))
	h.Feed(batch(1, 2, 3))
	d.await(t, 1, 2, 3)
	d.let(3, nil)
	d.let(2, nil)
	d.await(t, 1)
	h.RunMail()
	wantRows(t, h)
	d.let(1, nil)
	h.Await(emitted(h, 3))
	wantRows(t, h, "a1", "a2", "a3")
	if got := operatortest.Times[string](h, ""); !slices.Equal(got, []int64{10, 20, 30}) {
		t.Errorf("event times %v", got)
	}
}

func TestUnorderedStaysBehindWatermarks(t *testing.T) {
	t.Parallel()
	d := newDesk()
	cfg := config(d.ask)
	cfg.Unordered = true
	h := open(t, cfg)
	h.Feed(batch(1, 2))
	d.await(t, 1, 2)
	d.let(2, nil)
	h.Await(emitted(h, 1))
	wantRows(t, h, "a2")
	w, _ := h.Subs[0].Operator.(operators.WatermarkHandler)
	if done, err := w.Watermark(15); done || err != nil {
		t.Errorf("the watermark went on before row 1: %t, %v", done, err)
	}
	idle, _ := h.Subs[0].Operator.(operators.IdleDelayer)
	if done, err := idle.IdleReady(); done || err != nil {
		t.Errorf("it was idle with a row in flight: %t, %v", done, err)
	}
	end, _ := h.Subs[0].Operator.(operators.EndHandler)
	if done, err := end.End(); done || err != nil {
		t.Errorf("it ended with a row in flight: %t, %v", done, err)
	}
	d.let(1, nil)
	h.Await(emitted(h, 2))
	h.End()
	wantRows(t, h, "a2", "a1")
}

func TestCapacityBoundsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	for _, unordered := range []bool{false, true} {
		d := newDesk()
		cfg := config(d.ask)
		cfg.Capacity, cfg.Unordered = 2, unordered
		h := open(t, cfg)
		limit, _ := h.Subs[0].Operator.(operators.InputLimiter)
		if !limit.InputReady() {
			t.Error("it takes no row at first")
		}
		h.Feed(batch(1, 2, 3, 4, 5))
		for v := 1; v <= 5; v++ {
			if got, want := limit.InputReady(), v == 5; got != want {
				t.Errorf("with %d answers it takes more rows: %t", v-1, got)
			}
			d.await(t, slices.DeleteFunc([]int{v, v + 1}, func(v int) bool { return v > 5 })...)
			d.let(v, nil)
			h.Await(emitted(h, v))
		}
		if d.most != 2 || !limit.InputReady() {
			t.Errorf("%d at once, ready again: %t", d.most, limit.InputReady())
		}
		wantRows(t, h, "a1", "a2", "a3", "a4", "a5")
	}
}

// TestRandomDelays compares with the plain loop, with rows that fail, snapshots
// and restores at other parallelisms.
func TestRandomDelays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0))
			var spin atomic.Uint64
			cfg := config(func(_ context.Context, v int) (string, error) {
				for range spin.Add(7919) % 500 { // some are slower than others
					spin.Load()
				}
				if v%11 == 0 {
					return "", errors.New("eleven")
				}
				return fmt.Sprint("a", v), nil
			})
			cfg.Capacity, cfg.Unordered = 1+rng.IntN(20), rng.IntN(2) == 0
			h := open(t, cfg, func(c *operatortest.Config) {
				c.OnError, c.BatchRows, c.NotReady = operators.SkipRecord, []int{0, 1, 3}[rng.IntN(3)], rng.IntN(3)
			})
			var want []string
			sameOrder := !cfg.Unordered
			for v := 0; v < 600; {
				n := min(1+rng.IntN(60), 600-v)
				var vs []int
				for range n {
					if vs = append(vs, v); v%11 != 0 {
						want = append(want, fmt.Sprint("a", v))
					}
					v++
				}
				h.Feed(batch(vs...))
				switch rng.IntN(4) {
				case 0:
					h.RunMail()
				case 1:
					p := 1 + rng.IntN(3)
					sameOrder = sameOrder && p == 1 && len(h.Subs) == 1
					h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), p)
				}
			}
			h.Await(func() bool {
				for _, s := range h.Subs {
					if done, err := s.Operator.(operators.EndHandler).End(); err != nil || !done {
						return false
					}
				}
				return true
			})
			got := rows(h)
			for i, at := range operatortest.Times[string](h, "") {
				if fmt.Sprint("a", at/10) != got[i] {
					t.Fatalf("%s has the time %d", got[i], at)
				}
			}
			if !sameOrder {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("emitted %d rows %v,\nwant %d %v", len(got), got, len(want), want)
			}
		})
	}
}

func TestSnapshotHoldsRowsInFlight(t *testing.T) {
	t.Parallel()
	d := newDesk()
	cfg := config(d.ask)
	cfg.Capacity = 3
	h := open(t, cfg)
	h.Feed(batch(1, 2, 3, 4, 5, 6))
	d.await(t, 1, 2, 3)
	d.let(1, nil)
	h.Await(emitted(h, 1))
	d.await(t, 2, 3, 4)
	d.let(3, nil) // answered, but not emitted
	d.await(t, 2, 4)
	snap := h.Checkpoint(operators.Checkpoint{ID: 1})
	h.Take()
	h.Restore(snap, 1)
	h.RunMail()
	d.await(t, 2, 3, 4)
	for v := 2; v <= 6; v++ {
		d.await(t, slices.DeleteFunc([]int{v, v + 1, v + 2}, func(v int) bool { return v > 6 })...)
		d.let(v, nil)
		h.Await(emitted(h, v-1))
	}
	wantRows(t, h, "a2", "a3", "a4", "a5", "a6")
	if got := operatortest.Times[string](h, ""); !slices.Equal(got, []int64{20, 30, 40, 50, 60}) {
		t.Errorf("event times %v", got)
	}
	h.Restore(snap, 5)
	h.RunMail()
	d.await(t, 2, 3, 4, 5, 6) // one each
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, unordered := range []bool{false, true} {
		d := newDesk()
		cfg := config(d.ask)
		cfg.Unordered, cfg.Timeout = unordered, time.Second
		h := open(t, cfg, func(c *operatortest.Config) { c.OnError = operators.ToDeadLetters })
		h.Feed(batch(1))
		d.await(t, 1)
		h.Advance(600 * time.Millisecond)
		h.Feed(batch(2))
		d.await(t, 1, 2)
		h.Advance(500 * time.Millisecond)
		d.await(t, 2) // the context of 1 ended
		letters := operatortest.Rows[connectors.DeadLetter](h, dataflow.SideDeadLetter)
		if len(letters) != 1 || letters[0].Error != "no answer within 1s" || string(letters[0].Value) != "1" || letters[0].Timestamp != 10 {
			t.Fatalf("dead letters %+v", letters)
		}
		d.let(2, nil)
		h.Await(emitted(h, 1))
		h.Advance(time.Hour)
		h.End()
		wantRows(t, h, "a2")
		if n := value(h, asyncio.MetricTimeouts); n != 1 {
			t.Errorf("%d time-outs counted", n)
		}
	}
}

func TestFallback(t *testing.T) {
	t.Parallel()
	d := newDesk()
	cfg := config(d.ask)
	cfg.Timeout = time.Second
	cfg.Fallback = func(v int) (string, error) { return fmt.Sprint("late", v), nil }
	h := open(t, cfg)
	h.Feed(batch(1, 2))
	d.await(t, 1, 2)
	d.let(2, nil)
	d.await(t, 1)
	h.RunMail()
	h.Advance(1001 * time.Millisecond)
	h.Await(emitted(h, 2))
	wantRows(t, h, "late1", "a2")
}

// TestDeafFunctionKeepsItsPlace: one that does not heed its context still
// counts as long as it runs: no more are asked for at once than there is
// capacity, though their rows have had their results. Each row has one result,
// in order where that is kept, and what comes after its time-out is dropped.
func TestDeafFunctionKeepsItsPlace(t *testing.T) {
	t.Parallel()
	for _, unordered := range []bool{false, true} {
		t.Run(fmt.Sprintf("unordered=%t", unordered), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { deaf(t, unordered) })
		})
	}
}

func deaf(t *testing.T, unordered bool) {
	var mu sync.Mutex
	var asked []int // guarded by mu
	let := make(map[int]chan struct{})
	for v := range 5 {
		let[v] = make(chan struct{})
	}
	cfg := config(func(_ context.Context, v int) (string, error) {
		mu.Lock()
		asked = append(asked, v)
		mu.Unlock()
		<-let[v]
		return fmt.Sprint("a", v), nil
	})
	cfg.Capacity, cfg.Timeout, cfg.Unordered = 2, time.Second, unordered
	cfg.Fallback = func(v int) (string, error) { return fmt.Sprint("late", v), nil }
	h := open(t, cfg)
	// quiet waits until nothing moves by itself, and compares what was asked
	// for and what came out.
	quiet := func(wantAsked []int, want ...string) {
		t.Helper()
		synctest.Wait()
		h.RunMail()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(asked)
		if !slices.Equal(asked, wantAsked) {
			t.Errorf("asked for %v, want %v", asked, wantAsked)
		}
		got := operatortest.Rows[string](h, "")
		if unordered {
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("results %v, want %v", got, want)
		}
	}
	h.Feed(batch(0, 1, 2, 3, 4))
	quiet([]int{0, 1})
	h.Advance(2 * time.Second)
	quiet([]int{0, 1}, "late0", "late1") // both still run: nothing else is asked for
	close(let[1])
	quiet([]int{0, 1, 2}, "late0", "late1") // its answer is of no use any more
	close(let[2])
	quiet([]int{0, 1, 2, 3}, "late0", "late1", "a2")
	close(let[0])
	quiet([]int{0, 1, 2, 3, 4}, "late0", "late1", "a2")
	close(let[4])
	after := []string{"late0", "late1", "a2"}
	if unordered {
		after = append(after, "a4")
	}
	quiet([]int{0, 1, 2, 3, 4}, after...)
	close(let[3])
	quiet([]int{0, 1, 2, 3, 4}, "late0", "late1", "a2", "a3", "a4")
}

func TestRetries(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	hopeless := errors.New("hopeless")
	cfg := config(func(_ context.Context, v int) (string, error) {
		n := calls.Add(1)
		switch {
		case v == 2:
			return "", hopeless
		case n < 4:
			return "", errors.New("not yet")
		}
		return fmt.Sprint("a", v, " after ", n), nil
	})
	cfg.Retry = asyncio.Retry{
		Attempts: 4, Delay: 100 * time.Millisecond, Factor: 3, DelayMax: 250 * time.Millisecond,
		If: func(err error) bool { return !errors.Is(err, hopeless) },
	}
	h := open(t, cfg, func(c *operatortest.Config) { c.OnError = operators.SkipRecord })
	h.Feed(batch(1))
	for n, want := range []time.Duration{100, 250, 250} {
		d, ok := h.Clock.Next()
		for ; !ok; d, ok = h.Clock.Next() {
			h.RunMail()
		}
		if d != want*time.Millisecond || calls.Load() != int64(n+1) {
			t.Fatalf("after %d calls it waits %s, want %s", calls.Load(), d, want*time.Millisecond)
		}
		h.Advance(d)
	}
	h.Await(emitted(h, 1))
	h.Feed(batch(2))
	h.Await(func() bool { return value(h, "numRecordsSkipped") == 1 })
	wantRows(t, h, "a1 after 4")
	if n := calls.Load(); n != 5 || value(h, asyncio.MetricRetries) != 3 {
		t.Errorf("%d calls, %d retries", n, value(h, asyncio.MetricRetries))
	}
}

// failure gives rows to an operator and runs its mail until that fails.
func failure(op operators.Operator, mail chan func() error) error {
	b := batch(7, 8, 9)
	b.Origin = &columnar.Origin{Split: "orders-3", First: 40}
	if err := op.Process(0, b); err != nil {
		return err
	}
	for {
		if err := (<-mail)(); err != nil {
			return err
		}
	}
}

func TestFailuresNameTheRow(t *testing.T) {
	t.Parallel()
	for what, ask := range map[string]func(context.Context, int) (string, error){
		"panic at operator_test.go:": func(_ context.Context, v int) (string, error) {
			if v == 8 {
				panic("boom")
			}
			return "", nil
		},
		"eight": func(_ context.Context, v int) (string, error) {
			if v == 8 {
				return "", errors.New("eight")
			}
			return "", nil
		},
	} {
		h := open(t, config(ask))
		mail := make(chan func() error, 10)
		op := asyncio.New(config(ask)).New()
		ctx := h.Context(0)
		ctx.Mail = func(fn func() error) { mail <- fn }
		if err := op.Open(ctx); err != nil {
			t.Fatal(err)
		}
		err := failure(op, mail)
		if !strings.Contains(err.Error(), what) {
			t.Errorf("failed with %v, want %s", err, what)
		}
		if p, _ := op.(operators.Positioner); p.Position() != "orders-3@41" {
			t.Errorf("at %q", p.Position())
		}
		if err := op.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	d := newDesk()
	cfg := config(func(ctx context.Context, v int) (string, error) { return d.ask(ctx, v%10) })
	keys, err := codec.Of[int]()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Cache = func() asyncio.Cache[int, string] {
		return asyncio.NewCache[int, int, string](func(v int) int { return v % 10 }, keys, time.Minute, 2)
	}
	h := open(t, cfg, func(c *operatortest.Config) { c.OnError = operators.SkipRecord })
	h.Feed(batch(1, 11, 2, 21))
	d.await(t, 1, 2) // equal keys in flight are asked for once
	d.let(1, nil)
	d.await(t, 2)
	d.let(2, nil)
	h.Await(emitted(h, 4))
	wantRows(t, h, "a1", "a1", "a2", "a1")
	h.Take()
	h.Feed(batch(12, 31)) // both are there
	wantRows(t, h, "a2", "a1")
	h.Take()
	h.Feed(batch(3)) // the one used longest ago, 2, makes room
	d.await(t, 3)
	d.let(3, nil)
	h.Await(emitted(h, 1))
	h.Feed(batch(41, 42))
	d.await(t, 2)
	d.let(2, errors.New("down"))
	h.Await(func() bool { return value(h, "numRecordsSkipped") == 1 })
	wantRows(t, h, "a3", "a1")
	h.Take()
	h.Feed(batch(52)) // errors are not kept
	d.await(t, 2)
	d.let(2, nil)
	h.Await(emitted(h, 1))
	h.Advance(time.Minute)
	h.Feed(batch(62)) // too old
	d.await(t, 2)
	d.let(2, nil)
	h.Await(emitted(h, 2))
	if hits, misses := value(h, asyncio.MetricCacheHits), value(h, asyncio.MetricCacheMiss); hits != 5 || misses != 6 {
		t.Errorf("%d hits, %d misses", hits, misses)
	}
	if d.count() != 6 {
		t.Errorf("asked %d times", d.count())
	}
}

// TestCloseEndsTheContext: no goroutine stays, and none needs an answer.
func TestCloseEndsTheContext(t *testing.T) {
	t.Parallel()
	d := newDesk()
	h := open(t, config(d.ask))
	h.Feed(batch(1, 2, 3))
	d.await(t, 1, 2, 3)
	h.Close()
	if fs := d.flying(); len(fs) > 0 {
		t.Errorf("after Close %v are still asked for", fs)
	}
}
