package rowop_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/rowop"
	"github.com/leatstream/leat/state"
)

// first emits the first row of a key, and again once its state has expired.
type first struct {
	ttl  state.TTL
	seen *state.Value[bool]
}

func (f *first) Open(ctx *rowop.Context[string, string]) (err error) {
	f.seen, err = state.NewValue[bool](ctx.State(), "seen", state.WithTTL(f.ttl))
	return err
}

func (f *first) Process(ctx *rowop.Context[string, string], v string) error {
	if _, ok := f.seen.Get(); !ok {
		f.seen.Set(true)
		ctx.Emit(v)
	}
	return nil
}

func firstHarness(t *testing.T, ttl state.TTL) *operatortest.Harness {
	t.Helper()
	key := func(v string) string { return v }
	cfg := rowop.ProcessConfig[string, string]{Key: key, Hasher: must(columnar.HasherOf(key)), KeyCodec: must(codec.Of[string]())}
	return operatortest.New(t, operatortest.Config{
		Factory: rowop.Process(cfg, func() rowop.Processor[string, string, string] { return &first{ttl: ttl} }),
		Rows:    must(columnar.TypeOf[string]()), Key: cfg.Hasher, Parallelism: 2,
	})
}

func wantRows(t *testing.T, h *operatortest.Harness, where string, want ...string) {
	t.Helper()
	if got := sorted(operatortest.Rows[string](h, "")); !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", where, got, want)
	}
	h.Take()
}

func TestStateExpiresByTheClock(t *testing.T) {
	t.Parallel()
	h := firstHarness(t, state.TTL{After: time.Minute})
	feed := func(vs ...string) { t.Helper(); h.Feed(columnar.NewBatch(vs, nil)) }
	feed("a", "b", "a")
	wantRows(t, h, "at first", "a", "b")
	h.Advance(59 * time.Second)
	feed("a", "c")
	wantRows(t, h, "after 59 s", "c")
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 3)
	feed("a", "b", "c")
	wantRows(t, h, "restored at once")
	h.Advance(time.Second)
	feed("a", "b", "c")
	wantRows(t, h, "after a minute", "a", "b")
	snap := h.Checkpoint(operators.Checkpoint{ID: 2})
	h.Clock.Advance(30 * time.Second) // the job is down
	h.Restore(snap, 1)
	h.Advance(30 * time.Second)
	feed("a", "b", "c")
	wantRows(t, h, "after another minute", "a", "b", "c")
}

func TestStateIsRemovedWhileNothingComes(t *testing.T) {
	t.Parallel()
	h := firstHarness(t, state.TTL{After: time.Minute})
	var rows []string
	for i := range 30_000 {
		rows = append(rows, fmt.Sprint("a key of some length ", i))
	}
	h.Feed(columnar.NewBatch(rows, nil))
	bytes := func() (n int64) {
		for _, s := range h.Subs {
			n += s.State.Bytes()
		}
		return n
	}
	full := bytes()
	for range 100 {
		h.Advance(time.Second)
	}
	if left := bytes(); left > full/100 {
		t.Errorf("%d of %d bytes are left of state that has expired, with no row and no watermark since", left, full)
	}
}

func TestStateExpiresByTheWatermark(t *testing.T) {
	t.Parallel()
	h := firstHarness(t, state.TTL{After: time.Second, Time: state.EventTime})
	feed := func(at int64, vs ...string) {
		t.Helper()
		times := make([]int64, len(vs))
		for i := range times {
			times[i] = at
		}
		h.Feed(columnar.NewBatch(vs, times))
	}
	feed(1000, "a", "b")
	wantRows(t, h, "at first", "a", "b")
	h.Watermark(1999)
	h.Advance(time.Hour) // no matter
	feed(2500, "a")
	wantRows(t, h, "before the watermark")
	h.Watermark(2000)
	feed(2600, "a")
	wantRows(t, h, "at the watermark", "a")
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 5)
	feed(2700, "a", "b") // the watermark has not come yet: what was gone stays gone
	wantRows(t, h, "after the restore", "b")
	h.Watermark(3600)
	feed(100, "late")
	wantRows(t, h, "late", "late")
	h.Watermark(4599)
	feed(100, "late", "a", "b")
	wantRows(t, h, "late again", "a", "b")
	// The end of the input is no time.
	h.Watermark(dataflow.TimeMax)
	feed(5000, "a", "late")
	wantRows(t, h, "at the end")
}
