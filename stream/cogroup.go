package stream

import "github.com/leatstream/leat/dataflow/graph"

// CoGroupOption sets an option of CoGroup and WindowJoin: an Option, or a
// WindowOption.
type CoGroupOption interface {
	applyCoGroup(*coGroupConfig)
}

type coGroupConfig struct {
	node   []Option
	window []WindowOption
}

func (o nodeOption) applyCoGroup(c *coGroupConfig)   { c.node = append(c.node, o) }
func (o WindowOption) applyCoGroup(c *coGroupConfig) { c.window = append(c.window, o) }

// sided is a row of either input of CoGroup.
type sided[L, R any] struct {
	IsRight bool
	Left    L
	Right   R
}

// CoGroup cuts two streams into the same windows and calls fn for each window
// and key that has rows of either, with all of them in order of arrival. emit
// is valid during the call only. A result has the last instant of its window.
// Rows that come too late for their windows go to LateLeft and LateRight, or
// are dropped and counted. It is stateful.
func CoGroup[K comparable, L, R, O any](left *KeyedStream[K, L], right *KeyedStream[K, R], assigner WindowAssigner, fn func(key K, win Window, left []L, right []R, emit func(O)), opts ...CoGroupOption) *DataStream[O] {
	where := callSite()
	if fn == nil {
		left.stream.env.fail(where, "the function of a co-group is nil")
	}
	return coGroup(left, right, assigner, "a co-group", where, fn, opts)
}

// WindowJoin cuts two streams into the same windows and joins each pair of
// rows of a window and key; an outer joiner gets the rows alone whose window
// has none of the other stream with their key. Otherwise it is like CoGroup.
func WindowJoin[K comparable, L, R, O any](left *KeyedStream[K, L], right *KeyedStream[K, R], assigner WindowAssigner, joiner Joiner[L, R, O], opts ...CoGroupOption) *DataStream[O] {
	const what = "a window join"
	where := callSite()
	j, _ := joinerOf(left.stream.env, where, what, joiner)
	fn := func(_ K, _ Window, ls []L, rs []R, emit func(O)) { j.pairs(ls, rs, emit) }
	return coGroup(left, right, assigner, what, where, fn, opts)
}

// pairs joins the rows of a window and key, each with each.
func (j joining[L, R, O]) pairs(ls []L, rs []R, emit func(O)) {
	for i := range ls {
		for k := range rs {
			emit(j.match.Func(&ls[i], &rs[k]))
		}
		if len(rs) == 0 && j.kind.Left {
			emit(j.match.Func(&ls[i], nil))
		}
	}
	if len(ls) == 0 && j.kind.Right {
		for k := range rs {
			emit(j.match.Func(nil, &rs[k]))
		}
	}
}

func coGroup[K comparable, L, R, O any](left *KeyedStream[K, L], right *KeyedStream[K, R], assigner WindowAssigner, what, where string, fn func(K, Window, []L, []R, func(O)), opts []CoGroupOption) *DataStream[O] {
	e := left.stream.env
	sameEnv(where, what, e, right.stream.env)
	var c coGroupConfig
	for _, o := range opts {
		o.applyCoGroup(&c)
	}
	ls := Map(left.unkeyed(), func(l L) sided[L, R] { return sided[L, R]{Left: l} })
	rs := Map(right.unkeyed(), func(r R) sided[L, R] { return sided[L, R]{IsRight: true, Right: r} })
	rs.env = e // another one was reported
	both := KeyBy(ls.Union(rs), func(s sided[L, R]) K {
		if s.IsRight {
			return right.key(s.Right)
		}
		return left.key(s.Left)
	})
	win := both.Window(assigner, c.window...)
	out := ProcessWindow(win, func(k K, w Window, rows []sided[L, R], emit func(O)) {
		var ls []L
		var rs []R
		for _, s := range rows {
			if s.IsRight {
				rs = append(rs, s.Right)
			} else {
				ls = append(ls, s.Left)
			}
		}
		fn(k, w, ls, rs, emit)
	}, c.node...)
	out.late = func(right bool) any {
		if right {
			return FlatMap(win.Late(), func(s sided[L, R], emit func(R)) {
				if s.IsRight {
					emit(s.Right)
				}
			})
		}
		return FlatMap(win.Late(), func(s sided[L, R], emit func(L)) {
			if !s.IsRight {
				emit(s.Left)
			}
		})
	}
	return out
}

// lateSides makes the stream of late rows of the left or the right side.
type lateSides func(right bool) any

const noJoinOf = "late rows are asked of something that is no join of that input by time: give the stream that the join returned, and its input"

// lateOfWindows is lateOf for a join of windows.
func lateOfWindows[T, O any](joined *DataStream[O], of *DataStream[T], right bool, where string) *DataStream[T] {
	d, ok := joined.late(right).(*DataStream[T])
	if !ok {
		joined.env.fail(where, noJoinOf)
		return &DataStream[T]{env: joined.env, typ: of.typ}
	}
	return d
}

// unkeyed returns the stream as it was before KeyBy.
func (k *KeyedStream[K, T]) unkeyed() *DataStream[T] {
	return k.stream.spread(graph.Forward, nil, nil)
}
