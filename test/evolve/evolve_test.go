// Package evolve_test restores a job from a snapshot that a program with older
// row types took. It holds tests only.
package evolve_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/cep"
	"github.com/leatstream/leat/stream/streamtest"
)

// older is a row of the older program, newer what became of it: Gone was
// dropped, Amount widened and renamed, Note added, and the order changed.
type older struct {
	Gone   []string
	User   string
	Amount int32
	At     int64
}

type newer struct {
	At    int64
	Note  string
	Total int64 `json:"Amount"`
	User  string
}

// narrower cannot read what older wrote.
type narrower struct {
	User   string
	Amount int8
	At     int64
}

// reading says what the topology needs of rows of a type.
type reading[T any] struct {
	make func(user string, amount int32, at int64) T
	user func(T) string
	tell func(T) string
}

func tell(user string, amount int64, note string) string {
	return fmt.Sprintf("%s%d%s", user, amount, note)
}

var (
	olderRows = reading[older]{
		make: func(user string, amount int32, at int64) older { return older{[]string{"x", user}, user, amount, at} },
		user: func(r older) string { return r.User },
		tell: func(r older) string { return tell(r.User, int64(r.Amount), "") },
	}
	newerRows = reading[newer]{
		make: func(user string, amount int32, at int64) newer {
			return newer{User: user, Total: int64(amount), At: at}
		},
		user: func(r newer) string { return r.User },
		tell: func(r newer) string { return tell(r.User, r.Total, r.Note) },
	}
	narrowerRows = reading[narrower]{
		make: func(user string, amount int32, at int64) narrower { return narrower{user, int8(amount), at} },
		user: func(r narrower) string { return r.User },
		tell: func(r narrower) string { return tell(r.User, int64(r.Amount), "") },
	}
)

// orNone tells of a row that may be missing.
func (x reading[T]) orNone(r *T) string {
	if r == nil {
		return "-"
	}
	return x.tell(*r)
}

func (x reading[T]) pair(l, r *T) string { return x.orNone(l) + " " + x.orNone(r) }

func (x reading[T]) leftPair(l T, r *T) string { return x.pair(&l, r) }

// sinks are the outputs of a topology, by UID.
type sinks struct{ uids []string }

func (s *sinks) add(d *stream.DataStream[string], uid string) {
	d.To(streamtest.Sink(""), stream.UID("out "+uid))
	s.uids = append(s.uids, uid)
}

// topology is an operator over rows of left and right.
type topology[T any] func(x reading[T], left, right *stream.KeyedStream[string, T], s *sinks)

func changes[K comparable](t *stream.Table[K, string], s *sinks, uid string) {
	s.add(stream.Map(t.Changes(), func(c stream.Change[K, string]) string {
		if c.Deleted() {
			return fmt.Sprint(c.Key, " gone")
		}
		return fmt.Sprint(c.Key, " ", c.Value)
	}), uid)
}

// topologies are all operators that keep rows of the user's type in tables of
// their own, or by way of state's handles.
func topologies[T any]() map[string]topology[T] {
	return map[string]topology[T]{
		"interval join": func(x reading[T], l, r *stream.KeyedStream[string, T], s *sinks) {
			s.add(stream.IntervalJoin(l, r, stream.Between(-10*time.Second, 10*time.Second), stream.FullOuter(x.pair), stream.UID("join")), "join")
		},
		"temporal join": func(x reading[T], l, r *stream.KeyedStream[string, T], s *sinks) {
			table := stream.ToTable(r, stream.UID("table"))
			s.add(stream.TemporalJoin(l, table, stream.LeftOuter(x.leftPair), stream.UID("join")), "join")
		},
		"table join": func(x reading[T], l, r *stream.KeyedStream[string, T], s *sinks) {
			table := stream.ToTable(r, stream.UID("table"))
			s.add(stream.TableJoin(l, table, stream.LeftOuter(x.leftPair), stream.UID("join")), "join")
		},
		"tables": func(x reading[T], l, r *stream.KeyedStream[string, T], s *sinks) {
			left, right := stream.ToTable(l, stream.UID("left table")), stream.ToTable(r, stream.UID("right table"))
			changes(stream.JoinTables(left, right, stream.FullOuter(x.pair), stream.UID("both")), s, "both")
			held := left.Suppress(10*time.Second, stream.UID("held"))
			changes(stream.MapTable(held, func(_ string, v T) string { return x.tell(v) }), s, "held")
		},
		"foreign join": func(x reading[T], l, r *stream.KeyedStream[string, T], s *sinks) {
			left, right := stream.ToTable(l, stream.UID("left table")), stream.ToTable(r, stream.UID("right table"))
			foreign := func(v T) (string, bool) { return x.user(v), true }
			changes(stream.JoinForeign(left, right, foreign, stream.LeftOuter(x.leftPair), stream.UID("foreign")), s, "foreign")
		},
		"windows": func(x reading[T], l, r *stream.KeyedStream[string, T], s *sinks) {
			rows := func(k string, w stream.Window, rows []T, emit func(string)) {
				text := fmt.Sprint(k, " ", w.StartMillis())
				for _, r := range rows {
					text += " " + x.tell(r)
				}
				emit(text)
			}
			s.add(stream.ProcessWindow(l.Window(stream.Rolling(5*time.Second)), rows, stream.UID("rolling")), "rolling")
			s.add(stream.ProcessWindow(l.Window(stream.Session(5*time.Second)), rows, stream.UID("sessions")), "sessions")
			s.add(stream.ProcessWindow(l.Window(stream.CountSliding(3, 1)), rows, stream.UID("last")), "last")
			s.add(stream.Map(stream.SuppressFor(r, 10*time.Second, stream.BufferUnbounded(), stream.UID("hold")), x.tell), "held")
			s.add(stream.CoGroup(l, r, stream.Tumbling(10*time.Second), func(k string, w stream.Window, ls, rs []T, emit func(string)) {
				rows(k, w, append(ls, rs...), emit)
			}, stream.UID("group")), "group")
		},
		"pattern": func(x reading[T], l, _ *stream.KeyedStream[string, T], s *sinks) {
			all := func(T) bool { return true }
			p := cep.Begin("a", all).Next("b", all).Next("c", all).Within(time.Minute)
			s.add(cep.Select(cep.Detect(l, p), func(m cep.Match[T]) string {
				return x.tell(m.First("a")) + " " + x.tell(m.First("b")) + " " + x.tell(m.First("c"))
			}, stream.UID("matches")), "matches")
		},
	}
}

// running is a job of rows T.
type running[T any] struct {
	x           reading[T]
	d           *streamtest.Driver
	left, right *streamtest.DriverInput[T]
	outs        map[string]*streamtest.DriverOutput[string]
}

func run[T any](tb streamtest.TB, backend streamtest.Backend, x reading[T], top topology[T]) *running[T] {
	env := stream.NewEnv(stream.MaxParallelism(16))
	in := func(uid string) *stream.KeyedStream[string, T] {
		return stream.KeyBy(stream.From(env, streamtest.Source(*new(T)), stream.UID(uid), streamtest.ExplicitWatermarks()), x.user)
	}
	var s sinks
	top(x, in("left"), in("right"), &s)
	r := &running[T]{x: x, d: streamtest.NewDriverWith(tb, env, streamtest.DriverOptions{Backend: backend}), outs: make(map[string]*streamtest.DriverOutput[string])}
	r.left, r.right = streamtest.Input(r.d, "left", *new(T)), streamtest.Input(r.d, "right", *new(T))
	for _, uid := range s.uids {
		r.outs[uid] = streamtest.Output(r.d, "out "+uid, "")
	}
	return r
}

// push brings a row, and the watermark of its side.
func (r *running[T]) push(second int, left bool) {
	in := r.left
	if !left {
		in = r.right
	}
	at := time.Unix(int64(second), 0)
	in.PushAt(at, r.x.make(string(rune('a'+second%2)), int32(second), at.UnixMilli()))
	in.Watermark(at.Add(-4 * time.Second))
}

// before and after are what the two programs are given.
func (r *running[T]) before() {
	for i := range 12 {
		r.push(i, i%3 != 0)
	}
}

func (r *running[T]) after() {
	for i := 12; i < 30; i++ {
		r.push(i, i%3 != 0)
	}
	r.d.EndInput()
}

func (r *running[T]) take() map[string][]string {
	all := make(map[string][]string)
	for uid, out := range r.outs {
		all[uid] = out.Take()
		slices.Sort(all[uid])
	}
	return all
}

// TestOlderRowsAreRead: the results after the change of the type are those of
// the newer program that has run from the beginning.
func TestOlderRowsAreRead(t *testing.T) {
	t.Parallel()
	was := topologies[older]()
	for name, now := range topologies[newer]() {
		for _, b := range streamtest.Backends() {
			for _, parallelism := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, b.Name, parallelism), func(t *testing.T) {
					t.Parallel()
					whole := run(t, b, newerRows, now)
					whole.before()
					whole.take()
					whole.after()
					want := whole.take()

					first := run(t, b, olderRows, was[name])
					first.before()
					first.take()
					second := run(t, b, newerRows, now)
					second.d.RestoreAt(first.d.Snapshot(), parallelism)
					second.after()
					got := second.take()
					for uid, rows := range want {
						if len(rows) == 0 {
							t.Errorf("%s: nothing comes out", uid)
						}
						if !slices.Equal(got[uid], rows) {
							t.Errorf("%s:\n got %q\nwant %q", uid, got[uid], rows)
						}
					}
				})
			}
		}
	}
}

// TestRowsThatCannotBeRead: a type that cannot hold what is there is an error
// that names state and field, when the job starts.
func TestRowsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	was := topologies[older]()
	for name, now := range topologies[narrower]() {
		for _, b := range streamtest.Backends() {
			t.Run(name+"/"+b.Name, func(t *testing.T) {
				t.Parallel()
				first := run(t, b, olderRows, was[name])
				first.before()
				snap := first.d.Snapshot()
				second := run(t, b, narrowerRows, now)
				err := second.d.Catch(func() { second.d.Restore(snap) })
				if err == nil || !strings.Contains(err.Error(), "Amount: int32 cannot be read as int8") {
					t.Errorf("error %v", err)
				}
			})
		}
	}
}
