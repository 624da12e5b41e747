package cases_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// joinPrograms are the joins and tables of Kafka Streams.
func joinPrograms() map[string]program {
	inner, left := stream.Inner(pairOf), stream.LeftOuter(leftPairOf)
	full := stream.FullOuter(fullPairOf)
	return map[string]program{
		"stream-stream-inner":      func(t *testing.T, c *file) { streamStream(t, c, inner) },
		"stream-stream-outer":      func(t *testing.T, c *file) { streamStream(t, c, full) },
		"stream-table-inner":       func(t *testing.T, c *file) { streamTable(t, c, inner) },
		"stream-table-left":        func(t *testing.T, c *file) { streamTable(t, c, left) },
		"table-table-inner":        func(t *testing.T, c *file) { tableTable(t, c, inner) },
		"table-table-left":         func(t *testing.T, c *file) { tableTable(t, c, left) },
		"table-table-outer":        func(t *testing.T, c *file) { tableTable(t, c, full) },
		"fk-join-inner-from-right": func(t *testing.T, c *file) { foreignKey(t, c, stream.Inner(foreignInner)) },
		"fk-join-left-from-right":  func(t *testing.T, c *file) { foreignKey(t, c, stream.LeftOuter(foreignLeft)) },
		"fk-join-update-fk":        func(t *testing.T, c *file) { foreignKey(t, c, stream.Inner(foreignInner)) },
		"aggregate-table":          aggregateTable,
		"suppress-untimed-zero":    countByValue,
	}
}

// entry is a record with a key, whose value may be null.
type entry = formats.Entry[string]

func entryOf(s step) entry {
	return entry{Key: text(s.Key), Value: text(s.Value), Deleted: s.Value == nil}
}

// joinedRow is a result; a side may be null.
type joinedRow struct{ Left, Right *string }

func pairOf(l, r string) joinedRow             { return joinedRow{&l, &r} }
func leftPairOf(l string, r *string) joinedRow { return joinedRow{&l, r} }
func fullPairOf(l, r *string) joinedRow        { return joinedRow{l, r} }

func (j joinedRow) row() any { return []*string{j.Left, j.Right} }

// two opens a driver of a program with the sources left and right, whose
// event time follows the steps.
func two[O any](rows func([]O) any) func(d *streamtest.Driver) (func(step), func() any) {
	return func(d *streamtest.Driver) (func(step), func() any) {
		left, right := streamtest.Input(d, "left", entry{}), streamtest.Input(d, "right", entry{})
		out := streamtest.Output(d, "out", *new(O))
		push := func(s step) {
			in := left
			if s.Side == "R" {
				in = right
			}
			in.PushAt(s.at(), entryOf(s))
			left.Watermark(s.at())
			right.Watermark(s.at())
		}
		return push, func() any { return rows(out.Take()) }
	}
}

func source(env *stream.Env, uid string) *stream.DataStream[entry] {
	return stream.From(env, streamtest.Source(entry{}), stream.UID(uid), streamtest.ExplicitWatermarks())
}

func streamStream(t *testing.T, c *file, joiner stream.Joiner[string, string, joinedRow]) {
	streamStreamWithin(t, c, stream.Between(-15*time.Second, 15*time.Second).Grace(5*time.Second), joiner)
}

func streamStreamWithin(t *testing.T, c *file, within stream.Interval, joiner stream.Joiner[string, string, joinedRow]) {
	t.Helper()
	stepped{
		build: func(env *stream.Env) {
			value := func(e entry) string { return e.Value }
			one := func(string) string { return "" }
			left := stream.KeyBy(stream.Map(source(env, "left").Filter(present), value), one)
			right := stream.KeyBy(stream.Map(source(env, "right").Filter(present), value), one)
			stream.IntervalJoin(left, right, within, joiner, stream.UID("join")).
				To(streamtest.Sink(joinedRow{}), stream.UID("out"))
		},
		open: two(joinedRows),
	}.run(t, c)
}

func present(e entry) bool { return !e.Deleted }

func joinedRows(rows []joinedRow) any {
	var all []any
	for _, r := range rows {
		all = append(all, r.row())
	}
	return all
}

func streamTable(t *testing.T, c *file, joiner stream.LeftJoiner[string, string, joinedRow]) {
	stepped{
		build: func(env *stream.Env) {
			left := stream.KeyBy(stream.Map(source(env, "left").Filter(present), func(e entry) string { return e.Value }),
				func(string) string { return "" })
			table := stream.TableFrom(source(env, "right"), stream.UID("table"))
			stream.TableJoin(left, table, joiner, stream.UID("join")).
				To(streamtest.Sink(joinedRow{}), stream.UID("out"))
		},
		open: two(joinedRows),
	}.run(t, c)
}

func tableTable(t *testing.T, c *file, joiner stream.Joiner[string, string, joinedRow]) {
	stepped{
		build: func(env *stream.Env) {
			left := stream.TableFrom(source(env, "left"), stream.UID("left table"))
			right := stream.TableFrom(source(env, "right"), stream.UID("right table"))
			stream.JoinTables(left, right, joiner, stream.UID("join")).Changes().
				To(streamtest.Sink(stream.Change[string, joinedRow]{}), stream.UID("out"))
		},
		open: two(func(cs []stream.Change[string, joinedRow]) any {
			var all []any
			for _, c := range cs {
				if c.Deleted() {
					all = append(all, nil)
					continue
				}
				all = append(all, c.Value.row())
			}
			return all
		}),
	}.run(t, c)
}

// pointsAt is the part of a left value after the bar.
func pointsAt(left string) (string, bool) {
	_, to, ok := strings.Cut(left, "|")
	return to, ok
}

func foreignInner(l, r string) string { return "(" + l + "," + r + ")" }

func foreignLeft(l string, r *string) string {
	if r == nil {
		return foreignInner(l, "null")
	}
	return foreignInner(l, *r)
}

func foreignKey(t *testing.T, c *file, joiner stream.LeftJoiner[string, string, string]) {
	stepped{
		build: func(env *stream.Env) {
			left := stream.TableFrom(source(env, "left"), stream.UID("left table"))
			right := stream.TableFrom(source(env, "right"), stream.UID("right table"))
			stream.JoinForeign(left, right, pointsAt, joiner, stream.UID("join")).Changes().
				To(streamtest.Sink(stream.Change[string, string]{}), stream.UID("out"))
		},
		open: two(func(cs []stream.Change[string, string]) any {
			var all []any
			for _, c := range cs {
				value := &c.Value
				if c.Deleted() {
					value = nil
				}
				all = append(all, []any{c.Key, value})
			}
			return all
		}),
	}.run(t, c)
}

// letters adds up lengths.
type letters struct{}

func (letters) Add(n *int64, v int64)      { *n += v }
func (letters) Subtract(n *int64, v int64) { *n -= v }
func (letters) Result(n *int64) int64      { return *n }

// grouped builds a table of entries that is aggregated by another key.
func grouped(group func(k, v string) (string, int64)) func(env *stream.Env) {
	return func(env *stream.Env) {
		table := stream.TableFrom(source(env, "in"), stream.UID("table"))
		sums := stream.AggregateTable(stream.GroupTable(table, group), letters{}, stream.KeepEmptyGroups(), stream.UID("sums"))
		sums.Changes().To(streamtest.Sink(stream.Change[string, int64]{}), stream.UID("out"))
	}
}

func aggregateTable(t *testing.T, c *file) {
	stepped{
		build: grouped(func(user, region string) (string, int64) { return region, int64(len(user)) }),
		open: func(d *streamtest.Driver) (func(step), func() any) {
			in, out := streamtest.Input(d, "in", entry{}), streamtest.Output(d, "out", stream.Change[string, int64]{})
			table := map[string]int64{}
			push := func(s step) {
				if s.Key != nil { // one without a key is no entry of a table
					in.PushAt(s.at(), entryOf(s))
				}
			}
			return push, func() any {
				for _, c := range out.Take() {
					table[c.Key] = c.Value
				}
				return table
			}
		},
	}.run(t, c)
}

func countByValue(t *testing.T, c *file) {
	stepped{
		build: grouped(func(_, v string) (string, int64) { return v, 1 }),
		open: func(d *streamtest.Driver) (func(step), func() any) {
			in, out := streamtest.Input(d, "in", entry{}), streamtest.Output(d, "out", stream.Change[string, int64]{})
			return func(s step) { in.PushAt(s.at(), entryOf(s)) }, func() any {
				var all []any
				for _, c := range out.TakeTimed() {
					all = append(all, []any{c.Row.Key, c.Row.Value, c.At.UnixMilli()})
				}
				return all
			}
		},
	}.run(t, c)
}
