package columnar

import (
	"math/bits"
	"sync"
	"unsafe"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/invariant"
)

// BatchPool makes batches of one row type out of the memory of batches that
// their last holders released, and moves rows into them. Its methods are safe
// for concurrent use.
type BatchPool interface {
	// Take returns a batch of n rows with any content, with times that are to
	// be set too or without times.
	Take(n int, times Times) *Batch
	// Scatter copies row i of b, with its time, to the end of what was filled
	// of parts[to[i]], which have room and are of the pool: at[t] rows of
	// parts[t] are filled, which is raised by one for each.
	Scatter(b *Batch, to []int32, parts []*Batch, at []int32)
	// Append adds row i of b, with its time, for each i of rows, to a batch of
	// the pool. It returns that batch or a larger one with the same rows; nil
	// is an empty batch, and room what it is expected to hold in the end.
	Append(to, b *Batch, rows []int32, room int) *Batch
}

// Times says whether a batch has event times.
type Times bool

// Kinds of batches.
const (
	Timed   Times = true
	Untimed Times = false
)

// poolRowsMax is the largest batch whose memory is kept.
const poolRowsMax = BatchRowsMax

// roomMin is the number of rows of the smallest piece of memory.
const roomMin = 16

// Pool is the BatchPool of rows of type T. The zero value is ready.
//
// Memory that nobody takes is left to the collector (sync.Pool). A batch that
// is never released is left to it, too: nobody has to release.
type Pool[T any] struct {
	rooms [8]sync.Pool // of 16, 32, ... 2048 rows
}

var _ BatchPool = (*Pool[int])(nil)

// keeper takes back a batch that was released.
type keeper interface {
	release(b *Batch)
}

// pooled is a batch with its memory. The batch's Rows is view, without being
// boxed for each use.
//
// Invariant: rows of room from dirty on are zero.
type pooled[T any] struct {
	batch Batch
	view  []T
	room  []T
	times []int64
	dirty int
	pool  *Pool[T] // nil: too large to be kept
	free  bool
}

// words is how an interface lies in memory.
type words struct{ typ, data unsafe.Pointer }

// boxed returns *view as an interface that follows it.
func boxed[T any](view *[]T) any {
	var nothing []T
	rows := any(nothing)
	(*words)(unsafe.Pointer(&rows)).data = unsafe.Pointer(view)
	return rows
}

// class returns the number of the smallest room for n rows.
func class(n int) int { return bits.Len(uint((max(n, 1) - 1) / roomMin)) }

// take returns memory for n rows.
func (p *Pool[T]) take(n int) *pooled[T] {
	var e *pooled[T]
	if n > poolRowsMax {
		e = &pooled[T]{room: make([]T, n)}
	} else if e, _ = p.rooms[class(n)].Get().(*pooled[T]); e == nil {
		e = &pooled[T]{room: make([]T, roomMin<<class(n)), pool: p}
	}
	e.free = false
	e.batch = Batch{Rows: e.batch.Rows, keeper: e}
	if e.batch.Rows == nil {
		e.batch.Rows = boxed(&e.view)
	}
	return e
}

// cut makes the batch one of n rows. What older rows behind them refer to is
// let go of.
func (e *pooled[T]) cut(n int) {
	e.view = e.room[:n:n]
	if n < e.dirty {
		clear(e.room[n:e.dirty])
	}
	e.dirty = n
}

func (e *pooled[T]) timed(n int) {
	if e.times == nil {
		e.times = make([]int64, len(e.room))
	}
	e.batch.Times = e.times[:n:n]
}

// release implements keeper.
func (e *pooled[T]) release(b *Batch) {
	if b != &e.batch { // a copy: the batch itself may have another holder
		return
	}
	if e.free {
		panic("columnar: a batch was released twice")
	}
	if e.free = true; invariant.Enabled {
		e.poison()
		return // what was released stays so, and is found when it is used
	}
	if e.pool == nil {
		return
	}
	e.pool.rooms[class(len(e.room))].Put(e)
}

// poison takes the rows out of the hands of whoever holds them still.
func (e *pooled[T]) poison() {
	clear(e.room)
	for i := range e.times {
		e.times[i] = poisonTime
	}
	e.batch.Rows = released{}
}

// poisonTime is the time of rows of a released batch.
const poisonTime = -0x2424_2424_2424_2424

// released takes the place of the rows of a released batch.
type released struct{}

// Take implements BatchPool.
func (p *Pool[T]) Take(n int, times Times) *Batch {
	e := p.take(n)
	e.cut(n)
	if times {
		e.timed(n)
	}
	return &e.batch
}

// Scatter implements BatchPool.
func (p *Pool[T]) Scatter(b *Batch, to []int32, parts []*Batch, at []int32) {
	from := b.Rows.([]T)[:len(to)]
	var few [16][]T
	views := few[:0]
	for _, part := range parts {
		var view []T
		if part != nil {
			view = part.Rows.([]T)
		}
		views = append(views, view)
	}
	if b.Times == nil {
		for i, t := range to {
			n := at[t]
			at[t] = n + 1
			views[t][n] = from[i]
		}
		return
	}
	times := b.Times[:len(to)]
	for i, t := range to {
		n := at[t]
		at[t] = n + 1
		views[t][n] = from[i]
		parts[t].Times[n] = times[i]
	}
}

// Append implements BatchPool.
func (p *Pool[T]) Append(to, b *Batch, rows []int32, room int) *Batch {
	from := b.Rows.([]T)
	n := 0
	if to != nil {
		n = len(to.Rows.([]T))
	}
	e := p.grown(to, n, n+len(rows), room)
	e.view = e.room[: n+len(rows) : n+len(rows)]
	e.dirty = max(e.dirty, n+len(rows))
	out := e.room[n : n+len(rows)]
	for i, at := range rows {
		out[i] = from[at]
	}
	e.appendTimes(b.Times, rows, n)
	return &e.batch
}

// grown returns the memory of a batch of n rows, or more with the same rows
// when that has no room for want.
func (p *Pool[T]) grown(b *Batch, n, want, room int) *pooled[T] {
	var old *pooled[T]
	if b != nil {
		old = b.keeper.(*pooled[T])
		if want <= len(old.room) {
			return old
		}
	}
	e := p.take(max(want, min(max(2*n, room), poolRowsMax)))
	e.cut(n)
	if old == nil {
		return e
	}
	copy(e.room, old.room[:n])
	if b.Times != nil {
		e.timed(n)
		copy(e.times, b.Times)
	}
	b.Release()
	return e
}

// appendTimes adds the times of some rows behind those of n rows; a batch has
// none until a row has one.
func (e *pooled[T]) appendTimes(times []int64, rows []int32, n int) {
	if times == nil && e.batch.Times == nil {
		return
	}
	if e.batch.Times == nil {
		e.timed(n)
		for i := range e.batch.Times {
			e.batch.Times[i] = dataflow.TimeNone
		}
	}
	e.timed(n + len(rows))
	out := e.batch.Times[n:]
	for i, at := range rows {
		if out[i] = dataflow.TimeNone; times != nil {
			out[i] = times[at]
		}
	}
}

// Release says that the caller, who holds b, is done with it: its rows and
// times are used for another batch. What rows refer to stays. Nobody has to
// call it, and of a batch that is shared or of no pool it does nothing.
func (b *Batch) Release() {
	if b.keeper != nil && !b.Shared {
		b.keeper.release(b)
	}
}

// Truncate keeps the first n rows of a batch that the caller holds and that is
// not shared.
func Truncate[T any](b *Batch, n int) {
	if e, ok := b.keeper.(*pooled[T]); ok && b == &e.batch {
		e.view = e.view[:n:n]
	} else {
		b.Rows = b.Rows.([]T)[:n:n]
	}
	if b.Times != nil {
		b.Times = b.Times[:n:n]
	}
}

// Builder gathers rows into batches of a pool of its own. The zero value is
// ready; one goroutine uses it.
type Builder[T any] struct {
	pool  Pool[T]
	cur   *pooled[T]
	n     int
	timed bool
	last  int // rows of the last batch: what the next is expected to hold
}

// Add adds a row with its event time, dataflow.TimeNone when it has none.
func (x *Builder[T]) Add(v T, t int64) {
	if x.cur == nil || x.n == len(x.cur.room) {
		x.grow()
	}
	x.cur.room[x.n], x.cur.times[x.n] = v, t
	x.n++
	x.timed = x.timed || t != dataflow.TimeNone
}

func (x *Builder[T]) grow() {
	e := x.pool.take(max(min(x.last, poolRowsMax), 2*x.n))
	if e.times == nil {
		e.times = make([]int64, len(e.room))
	}
	if old := x.cur; old != nil {
		copy(e.room, old.room[:x.n])
		copy(e.times, old.times[:x.n])
		old.dirty = max(old.dirty, x.n)
		old.batch.Release()
	}
	x.cur = e
}

// Len returns the number of rows added since the last batch.
func (x *Builder[T]) Len() int { return x.n }

// Cut takes back all rows but the first n since the last batch.
func (x *Builder[T]) Cut(n int) {
	if n < x.n {
		clear(x.cur.room[n:x.n])
		x.n = n
	}
}

// Full reports whether the rows are a batch, which is the time for Take.
func (x *Builder[T]) Full() bool { return x.n >= BatchRowsMax }

// Take returns the rows as a batch, handed over; nil when there are none.
func (x *Builder[T]) Take() *Batch {
	if x.n == 0 {
		return nil
	}
	e := x.cur
	e.dirty = max(e.dirty, x.n)
	e.cut(x.n)
	if x.timed {
		e.timed(x.n)
	}
	x.cur, x.last, x.n, x.timed = nil, x.n, 0, false
	return &e.batch
}
