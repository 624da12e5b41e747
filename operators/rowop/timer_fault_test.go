package rowop_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/rowop"
)

// setter sets a timer as it is told, by rows.
type setter struct {
	set   func(ctx *rowop.Context[string, string], v string)
	timer func(ctx *rowop.Context[string, string], t rowop.Timer)
}

func (*setter) Open(*rowop.Context[string, string]) error { return nil }

func (s *setter) Process(ctx *rowop.Context[string, string], v string) error {
	s.set(ctx, v)
	ctx.Emit(v)
	return nil
}

func (s *setter) OnTimer(ctx *rowop.Context[string, string], t rowop.Timer) error {
	s.timer(ctx, t)
	return nil
}

// untimed is a setter without OnTimer.
type untimed struct{ s *setter }

func (untimed) Open(*rowop.Context[string, string]) error { return nil }

func (u untimed) Process(ctx *rowop.Context[string, string], v string) error {
	return u.s.Process(ctx, v)
}

func timerHarness(t *testing.T, p func() rowop.Processor[string, string, string], policy operators.ErrorPolicy) *operatortest.Harness {
	key := func(v string) string { return v[:1] }
	cfg := rowop.ProcessConfig[string, string]{Key: key, Hasher: must(columnar.HasherOf(key)), KeyCodec: must(codec.Of[string]())}
	return operatortest.New(t, operatortest.Config{
		Factory: rowop.Process(cfg, p), Rows: must(columnar.TypeOf[string]()), Key: cfg.Hasher, Parallelism: 1, OnError: policy,
	})
}

// A timer that cannot be meant fails the row that sets it, by the policy.
func TestTimersThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	good := &setter{set: func(ctx *rowop.Context[string, string], v string) {
		var at time.Time
		if v != "a-zero" {
			at = time.UnixMilli(5000)
		}
		ctx.SetTimer(at)
	}, timer: func(ctx *rowop.Context[string, string], _ rowop.Timer) { ctx.Emit("fired " + ctx.Key()) }}
	clocked := &setter{set: func(ctx *rowop.Context[string, string], _ string) { ctx.SetProcessingTimer(time.Time{}) }}
	for name, x := range map[string]struct {
		p    rowop.Processor[string, string, string]
		want string
	}{
		"zero":              {good, "SetTimer is given the zero time: give it the time of a row"},
		"zero by the clock": {clocked, "SetProcessingTimer is given the zero time"},
		"no OnTimer":        {untimed{good}, "SetTimer: rowop_test.untimed has no OnTimer: give it OnTimer(ctx, timer) error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := timerHarness(t, func() rowop.Processor[string, string, string] { return x.p }, operators.Fail)
			if err := h.Subs[0].Operator.Process(0, columnar.NewBatch([]string{"a-zero"}, []int64{1000})); err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v, want %s", err, x.want)
			}
		})
	}
	h := timerHarness(t, func() rowop.Processor[string, string, string] { return good }, operators.SkipRecord)
	h.Feed(columnar.NewBatch([]string{"a-zero", "b"}, []int64{1000, 1000}))
	h.Watermark(6000)
	if got := strings.Join(operatortest.Rows[string](h, ""), ","); got != "b,fired b" {
		t.Errorf("%s, want the row after the skipped one, and its timer", got)
	}
}

// Timers in the past fire in their turn, also those that timers set; but event
// time does not stand still for good.
func TestTimersInThePast(t *testing.T) {
	t.Parallel()
	left := 1000
	p := &setter{set: func(ctx *rowop.Context[string, string], _ string) { ctx.SetTimer(time.UnixMilli(5)) }}
	p.timer = func(ctx *rowop.Context[string, string], timer rowop.Timer) {
		if left--; left > 0 {
			ctx.SetTimer(timer.At.Add(-time.Duration(left%2) * time.Millisecond))
			return
		}
		ctx.Emit("done")
	}
	h := timerHarness(t, func() rowop.Processor[string, string, string] { return p }, operators.Fail)
	h.Watermark(6000)
	h.Feed(columnar.NewBatch([]string{"a"}, []int64{7000}))
	h.Watermark(6001)
	if got := strings.Join(operatortest.Rows[string](h, ""), ","); got != "a,done" {
		t.Fatalf("%s, %d left", got, left)
	}
	left = 1 << 40
	h.Feed(columnar.NewBatch([]string{"a"}, []int64{7000}))
	if _, err := h.Subs[0].Operator.(operators.WatermarkHandler).Watermark(6002); err == nil || !strings.Contains(err.Error(), "event time stands still") {
		t.Errorf("%v", err)
	}
}

// Late keys that catch up in small steps set many timers before the time that
// others have reached: each is later than the one that set it.
func TestTimersThatCatchUp(t *testing.T) {
	t.Parallel()
	const steps = 5000
	p := &setter{set: func(ctx *rowop.Context[string, string], v string) {
		if v == "z" {
			ctx.SetTimer(time.UnixMilli(steps))
			return
		}
		ctx.SetTimer(time.UnixMilli(0))
	}}
	p.timer = func(ctx *rowop.Context[string, string], timer rowop.Timer) {
		if at := timer.At.Add(time.Millisecond); at.UnixMilli() < steps {
			ctx.SetTimer(at)
		}
	}
	h := timerHarness(t, func() rowop.Processor[string, string, string] { return p }, operators.Fail)
	h.Feed(columnar.NewBatch([]string{"z"}, []int64{1}))
	h.Watermark(steps)
	var late []string
	for i := range 250 {
		late = append(late, string([]byte{byte(i%250 + 1)}))
	}
	h.Feed(columnar.NewBatch(late, make([]int64, len(late))))
	h.Watermark(steps + 1) // 1,250,000 timers
}

// A key that stands still is set aside; the others go on.
func TestTimersOfOthersGoOn(t *testing.T) {
	t.Parallel()
	p := &setter{set: func(ctx *rowop.Context[string, string], _ string) { ctx.SetTimer(time.UnixMilli(1000)) }}
	p.timer = func(ctx *rowop.Context[string, string], timer rowop.Timer) {
		switch {
		case ctx.Key() == "a":
			ctx.SetTimer(timer.At)
		case timer.At.UnixMilli() < 6000:
			ctx.SetTimer(timer.At.Add(time.Second))
		default:
			ctx.Emit("the end of " + ctx.Key())
		}
	}
	h := timerHarness(t, func() rowop.Processor[string, string, string] { return p }, operators.SkipRecord)
	h.Feed(columnar.NewBatch([]string{"a", "b"}, []int64{1, 1}))
	h.Watermark(10_000)
	if got := strings.Join(operatortest.Rows[string](h, ""), ","); got != "a,b,the end of b" {
		t.Errorf("%s", got)
	}
}
