package stream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// runAll runs the job and returns what came out of a stream, in order.
func runAll[T any](t *testing.T, env *stream.Env, out *stream.DataStream[T]) []T {
	t.Helper()
	rows := collection.NewCollector(*new(T))
	out.To(rows, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{}); err != nil {
		t.Fatal(err)
	}
	return rows.Rows()
}

// wantFaults builds a program and wants each of the faults, at a line of the
// file that the test is in.
func wantFaults(t *testing.T, file string, env *stream.Env, wants ...string) {
	t.Helper()
	_, err := env.Graph()
	if err == nil {
		t.Fatal("a broken program was accepted")
	}
	for _, want := range wants {
		found := false
		for line := range strings.SplitSeq(err.Error(), "\n") {
			found = found || strings.Contains(line, want) && strings.HasPrefix(line, "stream/"+file+":")
		}
		if !found {
			t.Errorf("no line at %s says %q in:\n%v", file, want, err)
		}
	}
}

// TestFaultsOfIntervalJoins builds joins with one fault each.
func TestFaultsOfIntervalJoins(t *testing.T) {
	t.Parallel()
	env, other := stream.NewEnv(), stream.NewEnv()
	left, right := stream.KeyBy(orders(env), byID), stream.KeyBy(payments(env), byOrder)
	pair := func(o order, p payment) string { return o.ID }
	inner := stream.Inner(pair)
	good := stream.IntervalJoin(left, right, fiveMinutes(), inner, stream.UID("good"))
	stream.IntervalJoin(left, right, stream.Between(time.Second, -time.Second), inner, stream.UID("a"))
	stream.IntervalJoin(left, right, stream.Between(0, 0).ExcludeLower(), inner, stream.UID("b"))
	stream.IntervalJoin(left, right, fiveMinutes().Grace(-time.Minute), inner, stream.UID("c"))
	pair = nil
	stream.IntervalJoin(left, right, fiveMinutes(), stream.Inner(pair), stream.UID("d"))
	var none stream.Joiner[order, payment, string]
	stream.IntervalJoin(left, right, fiveMinutes(), none, stream.UID("e"))
	stream.IntervalJoin(left, stream.KeyBy(payments(other), byOrder), fiveMinutes(), inner, stream.UID("f"))
	untimed := stream.From(env, collection.Slice(payment{}), stream.UID("untimed"))
	stream.IntervalJoin(left, stream.KeyBy(untimed, byOrder), fiveMinutes(), inner, stream.UID("g"))
	stream.IntervalJoin(left, right, fiveMinutes(), inner)
	stream.LateRight(good, left)
	stream.LateLeft(orders(other), left)
	wantFaults(t, "join_test.go", env,
		"the interval [1s, -1s] grace 0s of a join holds no time",
		"the interval (0s, 0s] grace 0s of a join holds no time",
		"the grace -1m0s of a join is negative",
		"the function of an interval join is nil",
		"an interval join has no joiner",
		"an interval join has inputs of two environments",
		`an interval join needs event time, but source "collection" (UID`,
		"interval-join has state and needs a name for good",
		"late rows are asked of something that is no join of that input by time",
	)
	if _, err := other.Graph(); err == nil || !strings.Contains(err.Error(), "late rows are asked") {
		t.Errorf("late rows of a source: %v", err)
	}
}

// TestFaultsOfTables builds tables and joins with them, with one fault each.
func TestFaultsOfTables(t *testing.T) {
	t.Parallel()
	env, other := stream.NewEnv(), stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	table := stream.ToTable(byUser, stream.UID("clicks-table"))
	foreign := stream.ToTable(stream.KeyBy(orders(other), byID), stream.UID("other-table"))
	untimed := customers(env)
	text := stream.Inner(func(a, b click) string { return a.User })
	withOrder := stream.Inner(func(a click, b order) string { return a.User })

	stream.ToTable(byUser)
	table.Suppress(time.Microsecond, stream.UID("held"))
	untimed.Suppress(time.Minute, stream.UID("untimed-held"))
	var value func(click) (int64, bool)
	stream.TableOf(byUser, value, stream.UID("a"))
	table.Filter(nil)
	var rename func(string, click) string
	stream.MapTable(table, rename)
	stream.MapTable(table, func(string, click) unencodable { return unencodable{} })
	var group func(string, click) (string, int64)
	stream.AggregateTable(stream.GroupTable(table, group), sumOf{}, stream.UID("b"))
	stream.JoinTables(table, foreign, withOrder, stream.UID("c"))
	stream.JoinTables(table, table, stream.FullOuter[click, click, string](nil), stream.UID("d"))
	var pointed func(click) (string, bool)
	stream.JoinForeign(table, table, pointed, text, stream.UID("e"))
	stream.JoinForeign(table, table, func(c click) (string, bool) { return "", true }, text)
	stream.TableJoin(byUser, foreign, withOrder, stream.UID("f"))
	stream.TableJoin(byUser, table, text)
	var none stream.LeftJoiner[click, click, string]
	stream.TableJoin(byUser, table, none, stream.UID("g"))
	stream.TemporalJoin(byUser, untimed, stream.Inner(func(c click, x customer) string { return "" }), stream.UID("h"))
	wantFaults(t, "join_test.go", env,
		"table has state and needs a name for good",
		"a table whose changes are held back by 1µs: the time is at least a millisecond",
		`a table whose changes are held back needs event time, but source "collection" (UID`,
		"the function that says what a table keeps is nil",
		"the function of table-filter is nil",
		"the function of table-map is nil",
		"unencodable.C",
		"the function that groups a table is nil",
		"a join of tables has inputs of two environments",
		"the function of a join of tables is nil",
		"the function that finds the foreign key of a join is nil",
		"foreign-key-join has state and needs a name for good",
		"a join with a table has inputs of two environments",
		"table-join has state and needs a name for good",
		"a join with a table has no joiner",
		`a temporal join needs event time, but source "collection" (UID`,
	)
}
