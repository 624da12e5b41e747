package streamtest_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type visit struct {
	User string
	At   time.Time
}

func sec(n int) time.Time { return time.Unix(int64(n), 0).UTC() }

// visits tells when a user has been quiet for ten seconds of event time, and
// reminds of those who came a minute of processing time ago.
type visits struct {
	count state.Value[int64]
	pages state.Map[string, int64]
}

var first = stream.SideTag("first", "")

func (v *visits) Open(ctx *stream.ProcessContext[string, string]) (err error) {
	err = v.pages.Open(ctx.State(), "pages")
	if err != nil {
		return err
	}
	return v.count.Open(ctx.State(), "count")
}

func (v *visits) Process(ctx *stream.ProcessContext[string, string], e visit) error {
	switch e.User {
	case "error":
		return errors.New("user code says no")
	case "panic":
		panic("user code gives up")
	}
	n, ok := v.count.Get()
	if !ok {
		stream.EmitSide(ctx, first, e.User)
		ctx.SetProcessingTimer(ctx.Now().Add(time.Minute))
	}
	v.count.Set(n + 1)
	v.pages.Put(fmt.Sprint(e.At.Second()), n)
	ctx.Counter("visits").Add(1)
	ctx.SetTimer(e.At.Add(10 * time.Second))
	return nil
}

func (v *visits) OnTimer(ctx *stream.ProcessContext[string, string], t stream.Timer) error {
	n, _ := v.count.Get()
	if t.Processing {
		ctx.Emit(fmt.Sprintf("remind %s at %s", ctx.Key(), ctx.Now().Format("15:04:05.000")))
		return nil
	}
	ctx.Emit(fmt.Sprintf("%s quiet after %d", ctx.Key(), n))
	v.count.Clear()
	v.pages.Clear()
	return nil
}

func quiet(src connectors.SourceOf[visit], opts ...stream.SourceOption) *stream.Env {
	env := stream.NewEnv(stream.MaxParallelism(16))
	opts = append(opts, stream.UID("visits"), stream.Timestamps(func(v visit) time.Time { return v.At }))
	in := stream.From(env, src, opts...)
	byUser := stream.KeyBy(in, func(v visit) string { return v.User })
	stream.Process(byUser, &visits{}, stream.UID("quiet")).To(streamtest.Sink(""), stream.UID("out"))
	return env
}

func newQuiet(t *testing.T) (*streamtest.Driver, *streamtest.DriverInput[visit], *streamtest.DriverOutput[string]) {
	t.Helper()
	d := streamtest.NewDriver(t, quiet(streamtest.Source(visit{}), streamtest.ExplicitWatermarks()))
	return d, streamtest.Input(d, "visits", visit{}), streamtest.Output(d, "out", "")
}

func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("\n got %+v\nwant %+v", got, want)
	}
}

func TestDriverMovesBothClocks(t *testing.T) {
	t.Parallel()
	d, in, out := newQuiet(t)
	side := streamtest.SideOutput(d, "quiet", "first", "")
	in.Push(visit{"ann", sec(1)}, visit{"bob", sec(2)}, visit{"ann", sec(3)})
	same(t, side.Take(), []string{"ann", "bob"})
	same(t, out.Take(), nil)
	in.Watermark(sec(12))
	same(t, out.TakeTimed(), []streamtest.TimedRow[string]{{At: sec(11), Row: "ann quiet after 2"}, {At: sec(12), Row: "bob quiet after 1"}})
	if wm, ok := d.Watermark("quiet"); !ok || !wm.Equal(sec(12)) {
		t.Errorf("watermark %s, %v", wm, ok)
	}
	d.Advance(time.Minute)
	same(t, out.Len(), 0) // a timer fires once its time has passed
	d.Advance(time.Hour)
	reminded := out.Take()
	slices.Sort(reminded)
	same(t, reminded, []string{"remind ann at 00:01:00.001", "remind bob at 00:01:00.001"})
	same(t, d.Counter("quiet", "visits"), 3)
	in.Push(visit{"cid", sec(20)})
	d.EndInput()
	same(t, out.Len(), 3)
	row, ok := out.Next()
	same(t, row+fmt.Sprint(ok), "ann quiet after 0true") // its second timer
}

func TestDriverReadsState(t *testing.T) {
	t.Parallel()
	d, in, _ := newQuiet(t)
	d.Rescale(3)
	in.Push(visit{"ann", sec(1)}, visit{"bob", sec(2)}, visit{"ann", sec(3)})
	var n int64
	if ok := streamtest.ValueOf(d, "quiet", "ann", "count", &n); n != 2 || !ok {
		t.Errorf("ann has %d, %v", n, ok)
	}
	if ok := streamtest.ValueOf(d, "quiet", "eve", "count", &n); ok {
		t.Error("eve has state")
	}
	var pages state.Map[string, int64]
	streamtest.StateOf(d, "quiet", "ann", func(k *state.Keyed) error { return pages.Open(k, "pages") })
	if n, ok := pages.Get("3"); n != 1 || !ok {
		t.Errorf("ann's page 3 is %d, %v", n, ok)
	}
	same(t, d.StateLen("quiet", "pages"), 3)
	same(t, d.StateLen("quiet", "count"), 2)
	in.Watermark(sec(100))
	same(t, d.StateLen("quiet", "pages"), 0)
	for want, fn := range map[string]func(){
		`there is no state "cuont", only ["count" "pages" `:                                      func() { streamtest.ValueOf(d, "quiet", "ann", "cuont", &n) },
		`the job has no operator "quite", only ["visits" "quiet" "out"]`:                         func() { d.StateLen("quite", "count") },
		`operator "out" has no keyed state`:                                                      func() { d.StateLen("out", "count") },
		`the keys of operator "quiet" are of type string, but the test asks for 7 of type int64`: func() { streamtest.ValueOf(d, "quiet", int64(7), "count", &n) },
		`operator "quiet" has no counter "visit", only ["visits"]`:                               func() { d.Counter("quiet", "visit") },
		"holds values of schema":                                                                 func() { streamtest.ValueOf(d, "quiet", "ann", "count", new(string)) },
	} {
		snap := d.Snapshot()
		if err := d.Catch(fn); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		d.Restore(snap)
	}
}

func TestDriverNamesSideOutputs(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv(stream.MaxParallelism(16))
	in := stream.From(env, streamtest.Source(visit{}), stream.UID("visits"), stream.Timestamps(func(v visit) time.Time { return v.At }))
	out := stream.Process(stream.KeyBy(in, func(v visit) string { return v.User }), &visits{}, stream.UID("quiet"))
	out.To(streamtest.Sink(""), stream.UID("out"))
	stream.Side(out, first).To(streamtest.Sink(""), stream.UID("firsts"))
	d := streamtest.NewDriver(t, env)
	streamtest.SideOutput(d, "quiet", "first", "")
	streamtest.SideOutput(d, "quiet", dataflow.SideLate, visit{})
	want := `operator "quiet" has no side output "frist" that the job reads, only ["first"]`
	if err := d.Catch(func() { streamtest.SideOutput(d, "quiet", "frist", "") }); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestDriverRestores(t *testing.T) {
	t.Parallel()
	d, in, out := newQuiet(t)
	in.Push(visit{"ann", sec(1)}, visit{"bob", sec(2)})
	in.Watermark(sec(5))
	snap := d.Snapshot()
	in.Push(visit{"ann", sec(6)})
	in.Watermark(sec(30))
	same(t, out.Take(), []string{"ann quiet after 2", "bob quiet after 1", "ann quiet after 0"})
	for _, parallelism := range []int{1, 2, 7} {
		d.RestoreAt(snap, parallelism)
		if wm, _ := d.Watermark("quiet"); !wm.Equal(sec(5)) {
			t.Errorf("watermark %s at parallelism %d", wm, parallelism)
		}
		in.Push(visit{"bob", sec(9)})
		d.Rescale(8 - parallelism)
		in.Watermark(sec(30))
		got := out.Take()
		slices.Sort(got)
		same(t, got, []string{"ann quiet after 1", "bob quiet after 0", "bob quiet after 2"})
	}
	d.Advance(2 * time.Minute)
	same(t, len(out.Take()), 2)
}

// TestDriverRestoresAnotherProgram hands state to a program with other
// operators.
func TestDriverRestoresAnotherProgram(t *testing.T) {
	t.Parallel()
	d, in, _ := newQuiet(t)
	in.Push(visit{"ann", sec(1)})
	snap := d.Snapshot()
	next, nextIn, nextOut := newQuiet(t)
	next.Restore(snap)
	nextIn.Push(visit{"ann", sec(2)})
	nextIn.End()
	same(t, nextOut.Len(), 3)

	env := stream.NewEnv(stream.MaxParallelism(16))
	stream.From(env, streamtest.Source(0), stream.UID("visits")).To(streamtest.Sink(0), stream.UID("out"))
	other := streamtest.NewDriver(t, env)
	err := other.Catch(func() { other.Restore(snap) })
	if err == nil || !strings.Contains(err.Error(), `the snapshot holds state of operators ["quiet"], which the job does not have`) {
		t.Errorf("error %v", err)
	}
}

func TestDriverTellsErrors(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"error": `operator "quiet", subtask 0, at "visits-0@1": user code says no`,
		"panic": `operator "quiet", subtask 0, at "visits-0@1": panic at streamtest/driver_test.go:`,
	} {
		d, in, out := newQuiet(t)
		in.Push(visit{"ann", sec(1)})
		snap := d.Snapshot()
		err := d.Catch(func() {
			in.Push(visit{user, sec(2)})
			in.Watermark(sec(100)) // has no effect any more
			d.Advance(time.Hour)
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", user, err, want)
		}
		same(t, out.Take(), nil)
		d.Restore(snap)
		in.Watermark(sec(100))
		same(t, out.Take(), []string{"ann quiet after 1"})
	}
}

// TestDriverRunsTheJobsOwnStrategy pushes into sources that have a watermark
// strategy and sinks that would write elsewhere.
func TestDriverRunsTheJobsOwnStrategy(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := collection.Slice(visit{"never read", sec(0)})
	in := stream.From(env, src, stream.UID("visits"), stream.Timestamps(func(v visit) time.Time { return v.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Second)))
	win := stream.KeyBy(in, func(v visit) string { return v.User }).Window(stream.Tumbling(10 * time.Second))
	counts := stream.AggregateWindow(win, countVisits{}, func(u string, w stream.Window, n int64) string {
		return fmt.Sprintf("%s %s: %d", w.Start().Format("15:04:05"), u, n)
	}, stream.UID("counts"))
	written := collection.NewCollector("")
	counts.To(written, stream.UID("out"))

	d := streamtest.NewDriverWith(t, env, streamtest.DriverOptions{Parallelism: 2, Start: sec(1000)})
	push := streamtest.Input(d, "visits", visit{})
	out := streamtest.Output(d, "counts", "")
	late := streamtest.SideOutput(d, "counts", dataflow.SideLate, visit{})
	push.Push(visit{"ann", sec(1)}, visit{"ann", sec(14)}, visit{"ann", sec(2)})
	same(t, out.Take(), nil)
	push.PushAt(sec(1), visit{"bob", sec(15)}) // the job's own function wins
	same(t, out.Take(), []string{"00:00:00 ann: 2"})
	push.Push(visit{"bob", sec(16)})
	push.Push(visit{"ann", sec(3)})
	same(t, late.Take(), []visit{{"ann", sec(3)}})
	push.End()
	got := out.Take()
	slices.Sort(got)
	same(t, got, []string{"00:00:10 ann: 1", "00:00:10 bob: 2"})
	same(t, len(written.Rows()), 0)
	same(t, d.Now(), sec(1000))
}

type countVisits struct{}

func (countVisits) Add(n *int64, _ visit) { *n++ }
func (countVisits) Result(n *int64) int64 { return *n }

func TestDriverRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(d *streamtest.Driver)
		want string
	}{
		"unknown input":       {func(d *streamtest.Driver) { streamtest.Input(d, "visit", visit{}) }, `the job has no source "visit", only ["visits"]`},
		"type of an input":    {func(d *streamtest.Driver) { streamtest.Input(d, "visits", "") }, `the rows of source "visits" are streamtest_test.visit, not string`},
		"unknown output":      {func(d *streamtest.Driver) { streamtest.Output(d, "outs", "") }, `the job has no operator "outs"`},
		"type of a sink":      {func(d *streamtest.Driver) { streamtest.Output(d, "out", 0) }, `the rows of "out" are string, not int`},
		"type of an operator": {func(d *streamtest.Driver) { streamtest.Output(d, "quiet", 0) }, `the rows of "quiet" are string, not int`},
		"late output": {func(d *streamtest.Driver) {
			d.Advance(1)
			streamtest.Output(d, "out", "")
		}, `is asked for after the job has started`},
		"type of a side output": {func(d *streamtest.Driver) {
			streamtest.SideOutput(d, "quiet", "first", 0)
			streamtest.Input(d, "visits", visit{}).Push(visit{"ann", sec(1)})
		}, `the rows are []string, but the test reads []int`},
		"push after the end": {func(d *streamtest.Driver) {
			d.EndInput()
			streamtest.Input(d, "visits", visit{}).Push(visit{"ann", sec(1)})
		}, `input "visits" has ended`},
		"no dead letters": {func(d *streamtest.Driver) {
			streamtest.Input(d, "visits", visit{}).PushDeadLetter(connectors.DeadLetter{})
		}, `source "visits" has no consumer of dead letters`},
		"gauge": {func(d *streamtest.Driver) { d.Gauge("quiet", "heat") }, `operator "quiet" has no gauge "heat"`},
	} {
		d := streamtest.NewDriver(t, quiet(streamtest.Source(visit{})))
		err := d.Catch(func() { c.do(d) })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// fatal is a TB that keeps what would end a test.
type fatal struct {
	streamtest.Console
	text string
}

func (f *fatal) Fatalf(format string, args ...any) { f.text = fmt.Sprintf(format, args...) }

func TestDriverEndsTheTest(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	stream.From(env, collection.Slice(1))
	var tb fatal
	d := streamtest.NewDriver(&tb, env)
	if !strings.Contains(tb.text, `source has state and needs a name for good`) {
		t.Errorf("the test ended with %q", tb.text)
	}
	// Nothing of these may panic.
	in, out := streamtest.Input(d, "x", 0), streamtest.Output(d, "y", 0)
	in.Push(1)
	in.End()
	d.Advance(d.Now().Sub(sec(1)))
	d.Restore(d.Snapshot())
	d.Rescale(2)
	same(t, out.Take(), nil)
	same(t, d.Counter("x", "y"), 0)

	tb = fatal{}
	d = streamtest.NewDriver(&tb, quiet(streamtest.Source(visit{})))
	streamtest.Input(d, "visits", visit{}).Push(visit{"error", sec(1)})
	if !strings.Contains(tb.text, "user code says no") {
		t.Errorf("the test ended with %q", tb.text)
	}
}

func TestDriverPassesDeadLettersOn(t *testing.T) {
	t.Parallel()
	d := streamtest.NewDriver(t, quiet(streamtest.Source(visit{})))
	letters := streamtest.SideOutput(d, "visits", dataflow.SideDeadLetter, connectors.DeadLetter{})
	streamtest.Input(d, "visits", visit{}).PushDeadLetter(connectors.DeadLetter{Error: "bad", Timestamp: 5})
	got := letters.TakeTimed()
	if len(got) != 1 || got[0].Row.Operator != "visits" || got[0].At.UnixMilli() != 5 {
		t.Fatalf("letters %+v", got)
	}
}

// TestDriverIdle: an idle input holds nothing back.
func TestDriverIdle(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	all := stream.From(env, streamtest.Source(visit{}), stream.UID("a"), streamtest.ExplicitWatermarks()).
		Union(stream.From(env, streamtest.Source(visit{}), stream.UID("b"), streamtest.ExplicitWatermarks()))
	byUser := stream.KeyBy(all, func(v visit) string { return v.User })
	stream.Process(byUser, &visits{}, stream.UID("quiet"))
	d := streamtest.NewDriver(t, env)
	a, b, out := streamtest.Input(d, "a", visit{}), streamtest.Input(d, "b", visit{}), streamtest.Output(d, "quiet", "")
	a.PushAt(sec(1), visit{"ann", sec(1)})
	a.Watermark(sec(50))
	same(t, out.Len(), 0)
	b.Idle()
	same(t, out.Take(), []string{"ann quiet after 1"})
	b.PushAt(sec(60), visit{"bob", sec(60)})
	// What was said of event time is not taken back by a restart.
	d.Rescale(2)
	if wm, _ := d.Watermark("quiet"); !wm.Equal(sec(50)) {
		t.Errorf("watermark %s after a restart", wm)
	}
	a.Watermark(sec(80))
	same(t, out.Len(), 0)
	b.End()
	same(t, out.Take(), []string{"bob quiet after 1"})
}

// spender compares what a user spends with a limit that may change.
type spender struct{ limit, spent state.Value[int64] }

func (s *spender) Open(ctx *stream.ProcessContext[string, string]) error {
	if err := s.limit.Open(ctx.State(), "limit"); err != nil {
		return err
	}
	return s.spent.Open(ctx.State(), "spent")
}

func (s *spender) ProcessFirst(ctx *stream.ProcessContext[string, string], amount order) error {
	n, _ := s.spent.Get()
	s.spent.Set(n + amount.Cents)
	if limit, ok := s.limit.Get(); ok && n+amount.Cents > limit {
		ctx.Emit(fmt.Sprintf("%s %d > %d", ctx.Key(), n+amount.Cents, limit))
	}
	return nil
}

func (s *spender) ProcessSecond(_ *stream.ProcessContext[string, string], limit order) error {
	s.limit.Set(limit.Cents)
	return nil
}

// TestDriverTwoInputs drives an operator with two inputs, on each backend.
func TestDriverTwoInputs(t *testing.T) {
	t.Parallel()
	for _, backend := range streamtest.Backends() {
		env := stream.NewEnv(stream.MaxParallelism(8))
		customer := func(o order) string { return o.Customer }
		orders := stream.KeyBy(stream.From(env, streamtest.Source(order{}), stream.UID("orders")), customer)
		limits := stream.KeyBy(stream.From(env, streamtest.Source(order{}), stream.UID("limits")), customer)
		stream.CoProcess(stream.ConnectKeyed(orders, limits), &spender{}, stream.UID("spender"))
		d := streamtest.NewDriverWith(t, env, streamtest.DriverOptions{Backend: backend})
		order1, limit := streamtest.Input(d, "orders", order{}), streamtest.Input(d, "limits", order{})
		out := streamtest.Output(d, "spender", "")
		order1.Push(order{"ann", 10, sec(1)})
		limit.Push(order{"ann", 15, sec(1)}, order{"bob", 1, sec(1)})
		d.Rescale(3)
		order1.Push(order{"bob", 1, sec(1)}, order{"ann", 6, sec(1)})
		limit.Push(order{"ann", 20, sec(1)})
		d.Rescale(2)
		order1.Push(order{"ann", 4, sec(1)}, order{"ann", 1, sec(1)})
		same(t, out.Take(), []string{"ann 16 > 15", "ann 21 > 20"})
		var n int64
		if streamtest.ValueOf(d, "spender", "bob", "spent", &n); n != 1 || d.StateLen("spender", "limit") != 2 {
			t.Errorf("%s: bob has spent %d, there are %d limits", backend.Name, n, d.StateLen("spender", "limit"))
		}
	}
}
