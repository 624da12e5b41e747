package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type customer struct {
	ID, Name, City string
}

func customers(env *stream.Env) *stream.Table[string, customer] {
	entries := stream.From(env, collection.Slice(
		formats.Entry[customer]{Key: "ann", Value: customer{"ann", "Ann", "Oslo"}},
		formats.Entry[customer]{Key: "bob", Value: customer{"bob", "Bob", "Rome"}},
		formats.Entry[customer]{Key: "ann", Value: customer{"ann", "Ann", "Rome"}},
		formats.Entry[customer]{Key: "ann", Value: customer{"ann", "Ann", "Rome"}},
		formats.Entry[customer]{Key: "bob", Deleted: true},
	), stream.UID("customers"))
	return stream.TableFrom(entries, stream.UID("customer-table"))
}

func ExampleTableFrom() {
	env := stream.NewEnv()
	cities := stream.MapTable(customers(env), func(_ string, c customer) string { return c.City })
	for _, c := range inOrder(env, cities.Changes()) {
		fmt.Println(c)
	}
	// Output:
	// insert ann: Oslo
	// insert bob: Rome
	// update ann: Oslo to Rome
	// delete bob: Rome
}

func ExampleTable_Filter() {
	env := stream.NewEnv()
	inOslo := customers(env).Filter(func(_ string, c customer) bool { return c.City == "Oslo" })
	for _, c := range inOrder(env, inOslo.Changes()) {
		fmt.Println(c.Op, c.Key)
	}
	// Output:
	// insert ann
	// delete ann
}

func ExampleTable_Suppress() {
	env := stream.NewEnv()
	last := stream.ToTable(stream.KeyBy(from(env), func(c click) string { return c.User }), stream.UID("last"))
	calm := last.Suppress(30*time.Second, stream.UID("calm"))
	for _, c := range inOrder(env, calm.Changes()) {
		fmt.Println(c.Op, c.Key, c.Value.N)
	}
	// Output:
	// insert ann 4
	// insert bob 2
	// update ann 8
	// update bob 16
	// update ann 32
}

func ExampleToTable() {
	env := stream.NewEnv()
	last := stream.ToTable(stream.KeyBy(from(env), func(c click) string { return c.User }), stream.UID("last"))
	for _, c := range inOrder(env, last.Changes())[4:] {
		fmt.Println(c.Op, c.Key, c.Before.N, c.Value.N)
	}
	// Output:
	// update bob 2 16
	// update ann 8 32
}

func ExampleJoinTables() {
	env := stream.NewEnv()
	visits := stream.TableOf(stream.KeyBy(from(env), func(c click) string { return c.User }),
		func(c click) (int64, bool) { return c.N, true }, stream.UID("visits"))
	both := stream.JoinTables(visits, customers(env), stream.LeftOuter(func(n int64, c *customer) string {
		if c == nil {
			return fmt.Sprint("unknown ", n)
		}
		return fmt.Sprint(c.City, " ", n)
	}), stream.UID("join"))
	last := map[string]string{}
	for _, c := range inOrder(env, both.Changes()) {
		last[c.Key] = c.Value
	}
	fmt.Println(last)
	// Output: map[ann:Rome 32 bob:unknown 16]
}

func ExampleJoinForeign() {
	env := stream.NewEnv()
	byID := stream.TableOf(stream.KeyBy(orders(env), byID), func(o order) (order, bool) { return o, true }, stream.UID("order-table"))
	cities := stream.JoinForeign(byID, customers(env),
		func(o order) (string, bool) { return o.Customer, o.Customer != "" },
		stream.LeftOuter(func(o order, c *customer) string {
			if c == nil {
				return "nobody knows where"
			}
			return c.City
		}), stream.UID("join"))
	last := map[string]string{}
	for _, c := range inOrder(env, cities.Changes()) {
		last[c.Key] = c.Value
	}
	fmt.Println(last)
	// Output: map[o1:Rome o2:nobody knows where o3:Rome]
}

type names struct{}

func (names) Add(n *int64, name string)      { *n += int64(len(name)) }
func (names) Subtract(n *int64, name string) { *n -= int64(len(name)) }
func (names) Result(n *int64) int64          { return *n }

func ExampleAggregateTable() {
	env := stream.NewEnv()
	byCity := stream.GroupTable(customers(env), func(_ string, c customer) (string, string) { return c.City, c.Name })
	letters := stream.AggregateTable(byCity, names{}, stream.UID("letters"))
	for _, c := range inOrder(env, letters.Changes()) {
		fmt.Println(c)
	}
	// Output:
	// insert Oslo: 3
	// insert Rome: 3
	// delete Oslo: 3
	// update Rome: 3 to 6
	// update Rome: 6 to 3
}

func ExampleTableJoin() {
	env := stream.NewEnv()
	placed := stream.TableJoin(stream.KeyBy(orders(env), byCustomer), customers(env),
		stream.LeftOuter(func(o order, c *customer) string { return fmt.Sprint(o.ID, " known: ", c != nil) }),
		stream.UID("join"))
	fmt.Println(len(inOrder(env, placed)))
	// Output: 3
}

func ExampleTemporalJoin() {
	env := stream.NewEnv()
	prices := stream.From(env, collection.Slice(
		price{"ann", 10, at(0)}, price{"bob", 20, at(5)}, price{"ann", 12, at(300)},
	), stream.UID("prices"), stream.Timestamps(func(p price) time.Time { return p.From }),
		stream.Watermarks(stream.Monotonous().PerRow()))
	table := stream.ToTable(stream.KeyBy(prices, func(p price) string { return p.Customer }), stream.UID("price-table"))
	priced := stream.TemporalJoin(stream.KeyBy(orders(env), byCustomer), table,
		stream.Inner(func(o order, p price) string { return fmt.Sprint(o.ID, " at ", p.Cents) }), stream.UID("join"))
	for _, row := range inOrder(env, priced) {
		fmt.Println(row)
	}
	// Output:
	// o1 at 10
	// o2 at 20
	// o3 at 12
}

type price struct {
	Customer string
	Cents    int64
	From     time.Time
}

// inOrder runs the job and returns what came out, in order.
func inOrder[T any](env *stream.Env, out *stream.DataStream[T]) []T {
	rows := collection.NewCollector(*new(T))
	out.To(rows, stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		panic(err)
	}
	return rows.Rows()
}

// edit is a change of a table as a test's input has it.
type edit struct {
	Key     string
	Ref     string
	N       int64
	Gone    bool
	Millis  int64
	HasRef  bool
	Padding string
}

func (e edit) text() string { return fmt.Sprintf("%s>%s:%d", e.Key, e.Ref, e.N) }

func editKey(e edit) string         { return e.Key }
func editMillis(e edit) int64       { return e.Millis }
func editRow(e edit) (edit, bool)   { return e, !e.Gone }
func editRef(e edit) (string, bool) { return e.Ref, e.HasRef }
func kept(es []edit) map[string]edit {
	m := make(map[string]edit)
	for _, e := range es {
		if e.Gone {
			delete(m, e.Key)
			continue
		}
		m[e.Key] = e
	}
	return m
}

// randomEdits returns edits of few keys; prefix makes the keys of a table.
func randomEdits(rng *rand.Rand, prefix string, n int) []edit {
	out := make([]edit, n)
	for i := range out {
		out[i] = edit{
			Key: fmt.Sprint(prefix, rng.IntN(6)), Ref: fmt.Sprint("r", rng.IntN(5)), N: rng.Int64N(3),
			Gone: rng.IntN(4) == 0, HasRef: rng.IntN(5) > 0, Millis: int64(i) * 10,
		}
	}
	return out
}

// editTable is a table of edits. Those of a key are in one split.
func editTable(b *streamtest.Bench, uid string, es []edit) *stream.Table[string, edit] {
	var splits [2][]edit
	for _, e := range es {
		at := int(e.Key[len(e.Key)-1]) % 2
		splits[at] = append(splits[at], e)
	}
	d := streamtest.From(b, uid, streamtest.Timed(editMillis, splits[0]...).WatermarkEach(0),
		streamtest.Timed(editMillis, splits[1]...).WatermarkEach(0))
	return stream.TableOf(stream.KeyBy(d, editKey), editRow, stream.UID(uid+"-table"))
}

// chain checks that each change of a key begins where the one before ended.
type chain struct {
	now state.Value[string]
}

// Open implements stream.KeyedProcessor.
func (c *chain) Open(ctx *stream.ProcessContext[string, string]) error {
	return c.now.Open(ctx.State(), "now")
}

// Process implements stream.KeyedProcessor.
func (c *chain) Process(ctx *stream.ProcessContext[string, string], ch stream.Change[string, string]) error {
	was, ok := c.now.Get()
	if ok != (ch.Op != stream.Insert) || was != ch.Before || ch.Op == stream.Update && ch.Before == ch.Value {
		ctx.Emit(fmt.Sprintf("%v follows %q", ch, was))
	}
	if ch.Deleted() {
		c.now.Clear()
		return nil
	}
	c.now.Set(ch.Value)
	return nil
}

// expectTable compares what is left of a table, and checks its changes.
func expectTable(b *streamtest.Bench, t *stream.Table[string, string], want map[string]string) {
	key := func(c stream.Change[string, string]) string { return c.Key }
	rows := stream.Map(t.Changes(), func(c stream.Change[string, string]) stream.Change[string, string] {
		return stream.Change[string, string]{Op: c.Op, Key: c.Key, Value: c.Value}
	})
	var left []stream.Change[string, string]
	for k, v := range want {
		left = append(left, stream.Change[string, string]{Key: k, Value: v})
	}
	rows = stream.Map(rows, func(c stream.Change[string, string]) stream.Change[string, string] {
		if c.Op == stream.Update {
			c.Op = stream.Insert
		}
		return c
	})
	streamtest.ExpectTable(b, "rows", rows, key, func(c stream.Change[string, string]) bool { return c.Deleted() }, left)
	broken := stream.Process(stream.KeyBy(t.Changes(), key), &chain{}, stream.UID("chain"))
	streamtest.Expect(b, "broken", broken, nil)
}

// TestTablesManyWays compares joins and aggregations of tables with what maps
// make of the last rows.
func TestTablesManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	ls, rs, refs := randomEdits(rng, "k", 80), randomEdits(rng, "k", 80), randomEdits(rng, "r", 60)
	left, right, ref := kept(ls), kept(rs), kept(refs)
	want := wantedTables(left, right, ref)
	inner := stream.Inner(func(l, r edit) string { return editText(&l, &r) })
	outer := stream.LeftOuter(func(l edit, r *edit) string { return editText(&l, r) })
	tables := map[string]func(b *streamtest.Bench) *stream.Table[string, string]{
		"inner": func(b *streamtest.Bench) *stream.Table[string, string] {
			return stream.JoinTables(editTable(b, "l", ls), editTable(b, "r", rs), inner, stream.UID("join"))
		},
		"left": func(b *streamtest.Bench) *stream.Table[string, string] {
			return stream.JoinTables(editTable(b, "l", ls), editTable(b, "r", rs), outer, stream.UID("join"))
		},
		"full": func(b *streamtest.Bench) *stream.Table[string, string] {
			return stream.JoinTables(editTable(b, "l", ls), editTable(b, "r", rs), stream.FullOuter(editText), stream.UID("join"))
		},
		"foreign": func(b *streamtest.Bench) *stream.Table[string, string] {
			return stream.JoinForeign(editTable(b, "l", ls), editTable(b, "ref", refs), editRef, inner, stream.UID("join"))
		},
		"foreign left": func(b *streamtest.Bench) *stream.Table[string, string] {
			return stream.JoinForeign(editTable(b, "l", ls), editTable(b, "ref", refs), editRef, outer, stream.UID("join"))
		},
		"suppressed": func(b *streamtest.Bench) *stream.Table[string, string] {
			held := editTable(b, "l", ls).Suppress(100*time.Millisecond, stream.UID("suppress"))
			return stream.MapTable(held, func(_ string, e edit) string { return e.text() })
		},
		"sums": func(b *streamtest.Bench) *stream.Table[string, string] {
			g := stream.GroupTable(editTable(b, "l", ls), func(_ string, e edit) (string, int64) { return e.Ref, e.N })
			return stream.MapTable(stream.AggregateTable(g, sumOf{}, stream.UID("sum")), func(_ string, n int64) string { return fmt.Sprint(n) })
		},
	}
	for name, build := range tables {
		t.Run(name, func(t *testing.T) {
			streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) { expectTable(b, build(b), want[name]) }})
		})
	}
}

// editText writes two rows, nil for none.
func editText(l, r *edit) string {
	var sb strings.Builder
	for _, e := range []*edit{l, r} {
		if e == nil {
			sb.WriteString("none ")
			continue
		}
		sb.WriteString(e.text() + " ")
	}
	return sb.String()
}

// wantedTables are the final tables of each join of TestTablesManyWays.
func wantedTables(left, right, ref map[string]edit) map[string]map[string]string {
	want := map[string]map[string]string{"inner": {}, "left": {}, "full": {}, "foreign": {}, "foreign left": {}, "sums": {}, "suppressed": {}}
	sums := map[string]int64{}
	for k, l := range left {
		sums[l.Ref] += l.N
		want["suppressed"][k] = l.text()
		r, ok := right[k]
		if ok {
			want["inner"][k] = editText(&l, &r)
			want["left"][k], want["full"][k] = editText(&l, &r), editText(&l, &r)
		} else {
			want["left"][k], want["full"][k] = editText(&l, nil), editText(&l, nil)
		}
		to, ok := ref[l.Ref]
		if ok && l.HasRef {
			want["foreign"][k], want["foreign left"][k] = editText(&l, &to), editText(&l, &to)
		} else {
			want["foreign left"][k] = editText(&l, nil)
		}
	}
	for k, r := range right {
		if _, ok := left[k]; !ok {
			want["full"][k] = editText(nil, &r)
		}
	}
	for ref, n := range sums {
		want["sums"][ref] = fmt.Sprint(n)
	}
	return want
}

type sumOf struct{}

func (sumOf) Add(n *int64, v int64)      { *n += v }
func (sumOf) Subtract(n *int64, v int64) { *n -= v }
func (sumOf) Result(n *int64) int64      { return *n }

// TestTemporalJoinManyWays compares a temporal join with a search of the
// versions of each row's time.
func TestTemporalJoinManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	es, rows := randomEdits(rng, "k", 80), randomEdits(rng, "k", 80)
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	var want []string
	for _, r := range rows {
		var valid *edit
		for _, e := range es {
			if e.Key == r.Key && e.Millis <= r.Millis {
				valid = &e
			}
		}
		if valid == nil || valid.Gone {
			want = append(want, r.text()+" none")
		} else {
			want = append(want, r.text()+" "+valid.text())
		}
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in := streamtest.From(b, "rows", streamtest.Timed(editMillis, rows...).WatermarkEach(time.Hour))
		joined := stream.TemporalJoin(stream.KeyBy(in, editKey), editTable(b, "versions", es),
			stream.LeftOuter(func(l edit, r *edit) string {
				if r == nil {
					return l.text() + " none"
				}
				return l.text() + " " + r.text()
			}), stream.UID("join"))
		streamtest.Expect(b, "joined", joined, want)
	}})
}
