package stream_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func ExampleTryMap() {
	env := stream.NewEnv()
	words := stream.From(env, collection.Slice("1", "two", "3"), stream.UID("words"))
	numbers := stream.TryMap(words, strconv.Atoi, stream.UID("parse"), stream.OnError(stream.SkipRecord))
	show(env, numbers)
	// Output:
	// 1
	// 3
}

func ExampleOnError() {
	env := stream.NewEnv()
	words := stream.From(env, collection.Slice("1", "two", "3"), stream.UID("words"))
	numbers := stream.TryMap(words, strconv.Atoi, stream.UID("parse"), stream.OnError(stream.ToDeadLetters))
	numbers.To(collection.NewCollector(0), stream.UID("numbers"))
	show(env, stream.Map(stream.DeadLetters(numbers), func(d connectors.DeadLetter) string {
		return fmt.Sprintf("%s at %s/%d: %s: %s", d.Operator, d.Topic, d.Offset, d.Value, d.Error)
	}))
	// Output:
	// parse at part/1: "two": strconv.Atoi: parsing "two": invalid syntax
}

func ExampleTryFlatMap() {
	env := stream.NewEnv()
	lines := stream.From(env, collection.Slice("1 2", "3 four", "5"), stream.UID("lines"))
	numbers := stream.TryFlatMap(lines, func(line string, emit func(int)) error {
		for _, w := range strings.Fields(line) {
			n, err := strconv.Atoi(w)
			if err != nil {
				return err // what was emitted for the line is taken back
			}
			emit(n)
		}
		return nil
	}, stream.OnError(stream.SkipRecord))
	show(env, numbers)
	// Output:
	// 1
	// 2
	// 5
}

func ExampleDataStream_TryFilter() {
	env := stream.NewEnv()
	words := stream.From(env, collection.Slice("1", "two", "30"), stream.UID("words"))
	large := words.TryFilter(func(w string) (bool, error) {
		n, err := strconv.Atoi(w)
		return n > 10, err
	}, stream.OnError(stream.SkipRecord))
	show(env, large)
	// Output:
	// 30
}

var errUnlucky = errors.New("unlucky")

// ledger changes every kind of state, emits, and sets timers before it looks
// at the row and fails.
type ledger struct {
	sum   state.Value[int64]
	rows  state.List[int64]
	by    state.Map[int64, int64]
	total stream.ListState[int64]
}

func (l *ledger) Open(ctx *stream.ProcessContext[string, string]) error {
	if err := l.sum.Open(ctx.State(), "sum"); err != nil {
		return err
	}
	if err := l.rows.Open(ctx.State(), "rows"); err != nil {
		return err
	}
	if err := l.by.Open(ctx.State(), "by"); err != nil {
		return err
	}
	return l.total.Open(ctx, "total")
}

func (l *ledger) Process(ctx *stream.ProcessContext[string, string], c click) error {
	sum, _ := l.sum.Get()
	l.sum.Set(sum + c.N)
	l.rows.Add(c.N)
	n, _ := l.by.Get(c.N % 3)
	l.by.Put(c.N%3, n+1)
	l.by.Delete(c.N % 5)
	l.total.Add(c.N)
	ctx.Emit(fmt.Sprint(ctx.Key(), " sum ", sum+c.N))
	stream.EmitSide(ctx, large, fmt.Sprint("side ", c.N))
	ctx.SetTimer(time.UnixMilli(c.N * 1000))
	ctx.ClearTimer(time.UnixMilli((c.N - 1) * 1000))
	if c.N%7 == 3 {
		return errUnlucky
	}
	return nil
}

func (l *ledger) OnTimer(ctx *stream.ProcessContext[string, string], t stream.Timer) error {
	sum, _ := l.sum.Get()
	l.sum.Set(sum + 1)
	ctx.Emit(fmt.Sprint(ctx.Key(), " timer ", t.At.Unix()))
	if t.At.Unix()%5 == 0 {
		return errUnlucky
	}
	return nil
}

// cautious is a ledger that looks at the row first: what a failed row leaves
// behind must be what it never did.
type cautious struct{ ledger }

func (l *cautious) Process(ctx *stream.ProcessContext[string, string], c click) error {
	if c.N%7 == 3 {
		return nil
	}
	return l.ledger.Process(ctx, c)
}

func (l *cautious) OnTimer(ctx *stream.ProcessContext[string, string], t stream.Timer) error {
	if t.At.Unix()%5 == 0 {
		return nil
	}
	return l.ledger.OnTimer(ctx, t)
}

// TestFailedRowsLeaveNothingBehind compares a processor that fails late with
// one that looks first, in many ways.
func TestFailedRowsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	var rows []click
	for range 150 {
		rows = append(rows, click{User: fmt.Sprint("user", rng.IntN(5)), N: rng.Int64N(60)})
	}
	build := func(in *stream.DataStream[click], p stream.KeyedProcessor[string, click, string], policy stream.ErrorPolicy) *stream.DataStream[string] {
		out := stream.Process(stream.KeyBy(in, func(c click) string { return c.User }), p, stream.UID("ledger"), stream.OnError(policy))
		return out.Union(stream.Side(out, large))
	}
	env := stream.NewEnv()
	in := stream.From(env, collection.Slice(rows...), stream.UID("rows"), stream.Watermarks(stream.Monotonous()))
	want := runAll(t, env, build(in, &cautious{}, stream.Fail))
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "rows", streamtest.Rows(rows...))
		streamtest.Expect(b, "out", build(in, &ledger{}, stream.SkipRecord), want)
	}})
}

// tallying adds each row to list state, and then refuses odd ones.
type tallying struct{ rows stream.ListState[int] }

func (c *tallying) Open(ctx *stream.RowContext[int]) error {
	return c.rows.Open(ctx, "rows")
}

func (c *tallying) Process(ctx *stream.RowContext[int], v int) error {
	c.rows.Add(v)
	ctx.Emit(c.rows.Len())
	if v%2 == 1 {
		return errUnlucky
	}
	return nil
}

// TestListStateOfFailedRows wants it as it was before them.
func TestListStateOfFailedRows(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice(1, 2, 3, 4, 5, 6), stream.UID("src"))
	got := runAll(t, env, stream.ProcessRows(src, &tallying{}, stream.UID("counting"), stream.OnError(stream.SkipRecord)))
	if !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("lengths %v", got)
	}
}

// picky refuses to encode negative numbers.
type picky struct{}

func (picky) Encode(v *int, out *formats.Out) error {
	if *v < 0 {
		return errUnlucky
	}
	out.Value = strconv.AppendInt(out.Value, int64(*v), 10)
	return nil
}

// TestSinksSetAsideWhatDoesNotEncode writes the rest.
func TestSinksSetAsideWhatDoesNotEncode(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	numbers := stream.From(env, collection.Slice(1, -2, 3, -4), stream.UID("numbers"))
	var text strings.Builder
	sink := console.New(func() (formats.Encoder[int], error) { return picky{}, nil }).Into(&text)
	end := numbers.To(sink, stream.UID("console"), stream.OnError(stream.ToDeadLetters))
	letters := runAll(t, env, stream.DeadLetters(end))
	if text.String() != "1\n3\n" {
		t.Errorf("written: %q", text.String())
	}
	if len(letters) != 2 || string(letters[0].Value) != "-2" || letters[1].Offset != 3 || letters[1].Topic != "part" || letters[1].FailedAt == 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

// TestTimerThatFailsIsALetterWithItsKey also wants the dead letters of an
// operator behind a shuffle to name no place.
func TestTimerThatFailsIsALetterWithItsKey(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	out := stream.Process(byUser, &ledger{}, stream.UID("ledger"), stream.OnError(stream.ToDeadLetters))
	out.To(collection.NewCollector(""), stream.UID("rest"))
	rows := stream.From(env, collection.Slice(click{"cat", 25, at(1)}), stream.UID("cats"))
	timed := stream.Process(stream.KeyBy(rows, func(c click) string { return c.User }), &ledger{}, stream.UID("second"), stream.OnError(stream.ToDeadLetters))
	timed.To(collection.NewCollector(""), stream.UID("others"))
	letters := runAll(t, env, stream.DeadLetters(timed).Union(stream.DeadLetters(out)))
	var found bool
	for _, d := range letters {
		if d.Operator == "second" {
			found = true
			if string(d.Key) != "cat" || d.Timestamp != 25_000 || d.Value != nil || d.Partition != -1 {
				t.Errorf("dead letter of a timer: %+v", d)
			}
		}
	}
	if !found {
		t.Errorf("no dead letter of the timer in %+v", letters)
	}
}

// TestPanicsAreNoErrorsOfRecords wants a panic to fail by any policy.
func TestPanicsAreNoErrorsOfRecords(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice(1), stream.UID("src"))
	stream.TryMap(src, func(int) (int, error) { panic("boom") }, stream.OnError(stream.SkipRecord)).
		To(collection.NewCollector(0), stream.UID("out"))
	var err error
	func() {
		defer func() { err = errors.Join(err, fmt.Errorf("panic: %v", recover())) }()
		_, err = streamtest.Run(t.Context(), env, streamtest.Options{})
	}()
	if err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("a panic gave %v", err)
	}
}

// TestSourceSkipsWhatDoesNotDecode counts a line that is no JSON.
func TestSourceSkipsWhatDoesNotDecode(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "numbers.jsonl")
	if err := os.WriteFile(file, []byte("1\nx\n3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := stream.NewEnv()
	src := files.NewSource(files.SourceConfig{Pattern: file}, jsonfmt.DecoderOf(0))
	out := collection.NewCollector(0)
	stream.From(env, src, stream.UID("numbers"), stream.OnError(stream.SkipRecord)).To(out, stream.UID("out"))
	f, err := streamtest.Run(t.Context(), env, streamtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Rows(), []int{1, 3}) || f.Counters["numbers/numRecordsSkipped"] != 1 {
		t.Errorf("rows %v, counters %v", out.Rows(), f.Counters)
	}
}

func TestNilFunctionsAreFaults(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice(1), stream.UID("src"))
	stream.Map(src, (func(int) int)(nil))
	stream.FlatMap(src, (func(int, func(int)))(nil))
	src.Filter(nil)
	src.Partition(nil)
	stream.KeyBy(src, (func(int) int)(nil))
	stream.Reduce(stream.KeyBy(src, func(v int) int { return v }), nil, stream.UID("sums"))
	wantFaults(t, "onerror_test.go", env,
		"map is given a nil function", "flat-map is given a nil function", "filter is given a nil function",
		"Partition is given a nil function", "KeyBy is given a nil function", "Reduce is given a nil function")
}

func TestFaultsOfPolicies(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	src := stream.From(env, collection.Slice(1), stream.UID("src"))
	stream.Map(src, func(v int) int { return v }, stream.OnError(stream.SkipRecord))
	src.Filter(func(int) bool { return true }, stream.OnError("retry"))
	stream.TryMap(src, func(v int) (int, error) { return v, nil }, stream.UID("lost"), stream.OnError(stream.ToDeadLetters))
	stream.DeadLetters(stream.TryMap(src, func(v int) (int, error) { return v, nil }, stream.UID("none")))
	stream.TryMap(src, (func(int) (int, error))(nil))
	src.TryFilter(nil)
	wantFaults(t, "onerror_test.go", env,
		`OnError on "map#1": a map has no errors of records`,
		`there is no policy "retry"`,
		`the dead letters of "lost" go nowhere`,
		`dead letters are asked of operator "none", which has none`,
		"try-map is given a nil function", "try-filter is given a nil function")
}

// alarms sets and clears timers, in milliseconds; the row may fail after that.
type alarms struct{}

type alarmRow struct {
	Set, Clear []int64
	Fail       bool
}

func (alarms) Open(*stream.ProcessContext[int, int64]) error { return nil }

func (alarms) Process(ctx *stream.ProcessContext[int, int64], r alarmRow) error {
	for _, ms := range r.Set {
		ctx.SetTimer(time.UnixMilli(ms))
	}
	for _, ms := range r.Clear {
		ctx.ClearTimer(time.UnixMilli(ms))
	}
	if r.Fail {
		return errUnlucky
	}
	return nil
}

func (alarms) OnTimer(ctx *stream.ProcessContext[int, int64], t stream.Timer) error {
	ctx.Emit(t.At.UnixMilli())
	return nil
}

// TestTimersOfFailedRowsAreTakenBack: also where the next timers due are held
// outside of state, after a first watermark, and a row that fails clears so
// many of them that these are looked up anew before it has failed.
func TestTimersOfFailedRowsAreTakenBack(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	rows := stream.From(env, streamtest.Source(alarmRow{}), stream.UID("rows"),
		stream.TimestampMillis(func(alarmRow) int64 { return 0 }), stream.Watermarks(stream.Monotonous()))
	byKey := stream.KeyBy(rows, func(alarmRow) int { return 1 })
	stream.Process(byKey, &alarms{}, stream.UID("alarms"), stream.OnError(stream.SkipRecord)).To(streamtest.Sink(int64(0)), stream.UID("out"))
	d := streamtest.NewDriver(t, env)
	in, out := streamtest.Input(d, "rows", alarmRow{}), streamtest.Output(d, "out", int64(0))
	var want []int64
	for ms := int64(9000); ms < 9100; ms++ {
		want = append(want, ms)
	}
	in.Push(alarmRow{Set: want})
	in.Watermark(time.UnixMilli(5))
	want = append([]int64{100}, want...)
	in.Push(
		alarmRow{Set: []int64{100}},
		alarmRow{Set: []int64{50, 200}, Fail: true},
		alarmRow{Clear: want, Fail: true},
		alarmRow{Clear: []int64{9050}},
		alarmRow{Set: []int64{9050}, Fail: true})
	in.Watermark(time.UnixMilli(20_000))
	want = slices.DeleteFunc(want, func(ms int64) bool { return ms == 9050 })
	if got := out.Take(); !slices.Equal(got, want) {
		t.Errorf("fired %v, want %v", got, want)
	}
}
