package cases_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// ownPrograms are programs of the cases in testdata.
func ownPrograms() map[string]program {
	return map[string]program{
		"tumbling-late":       tumblingLate,
		"sum-per-key":         sumPerKey,
		"close-then-total":    closeThenTotal,
		"session-dynamic-gap": sessionDynamicGap,
		"cumulative":          cumulative,
		"count-windows":       countWindows,
		"suppress-size":       suppressSize,
		"interval-outer-late": intervalOuterLate,
		"temporal-join":       temporalJoin,
		"fk-join-left-tombstones": func(t *testing.T, c *file) {
			foreignKey(t, c, stream.LeftOuter(foreignLeft))
		},
	}
}

type keyed struct {
	Key    string
	Millis int64
	N      int64
}

func (k *keyed) columns() []any { return []any{&k.Key, &k.Millis, &k.N} }

type sumN struct{}

func (sumN) Add(sum *int64, k keyed) { *sum += k.N }
func (sumN) Result(sum *int64) int64 { return *sum }

func tumblingLate(t *testing.T, c *file) {
	events := arrays(t, c, "input/events.jsonl", (*keyed).columns)
	want := arrays(t, c, "expect/result.jsonl", (*keyed).columns)
	late := arrays(t, c, "expect/late.jsonl", (*keyed).columns)
	streamtest.Check(t, streamtest.Case{Timing: streamtest.InOrder, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "events", streamtest.Timed(func(k keyed) int64 { return k.Millis }, events...).WatermarkEach(5*time.Second))
		win := stream.KeyBy(in, func(k keyed) string { return k.Key }).
			Window(stream.Tumbling(10*time.Second), stream.AllowedLateness(3*time.Second))
		sums := stream.AggregateWindow(win, sumN{}, func(key string, w stream.Window, n int64) keyed {
			return keyed{key, w.StartMillis(), n}
		}, stream.UID("sums"))
		streamtest.ExpectInOrder(b, "out", sums, func(k keyed) string { return k.Key }, want)
		streamtest.Expect(b, "late", win.Late(), late)
	}})
}

type change struct {
	Key   string
	Value *int64
}

// summing keeps the sum of a key.
type summing struct{ sum *state.Value[int64] }

func (s *summing) Open(ctx *stream.ProcessContext[string, wordN]) (err error) {
	s.sum, err = state.NewValue[int64](ctx.State(), "sum")
	return err
}

func (s *summing) Process(ctx *stream.ProcessContext[string, wordN], c change) error {
	n, _ := s.sum.Get()
	if c.Value == nil {
		s.sum.Clear()
		n = 0
	} else {
		n += *c.Value
		s.sum.Set(n)
	}
	ctx.Emit(wordN{c.Key, n})
	return nil
}

func sumPerKey(t *testing.T, c *file) {
	stepped{
		build: func(env *stream.Env) {
			in := stream.From(env, streamtest.Source(change{}), stream.UID("changes"))
			byKey := stream.KeyBy(in, func(c change) string { return c.Key })
			stream.Process(byKey, &summing{}, stream.UID("sum"))
		},
		open: func(d *streamtest.Driver) (func(step), func() any) {
			in, out := streamtest.Input(d, "changes", change{}), streamtest.Output(d, "sum", wordN{})
			return func(s step) { in.PushAt(s.at(), change{text(s.Key), number(t, s.Value)}) }, func() any {
				var rows [][]any
				for _, w := range out.TakeTimed() {
					rows = append(rows, []any{w.Row.Word, w.Row.N, w.At.UnixMilli()})
				}
				return rows
			}
		},
	}.run(t, c)
}

// number returns the number that a text says; nil if it is null.
func number(t *testing.T, s *string) *int64 {
	t.Helper()
	if s == nil {
		return nil
	}
	n, err := strconv.ParseInt(*s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return &n
}
