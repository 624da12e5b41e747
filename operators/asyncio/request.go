package asyncio

import (
	"context"
	"time"

	"github.com/leatstream/leat/columnar"
)

// request is a row between its arrival and its emission.
type request[T, A any] struct {
	row    T
	time   int64
	origin *columnar.Origin
	at     int // in the batch of origin
	seq    uint64

	// ctx and cancel are the request's own, nil without a time-out.
	ctx    context.Context //nolint:containedctx // the life of the request
	cancel context.CancelCauseFunc

	// answer, err and panicked are written by the pool's goroutine, and read
	// once the request is back.
	answer   A
	err      error
	panicked bool

	// What follows belongs to the task's goroutine.
	deadline  time.Time
	away      bool // with the pool
	settled   bool // result or failure stand
	gone      bool // out of the window
	result    A
	failure   error
	followers []*request[T, A]
	place     int // in the window of an unordered operator
}

// inFlight is a row as it lies in a snapshot.
type inFlight[T any] struct {
	Row  T
	Time int64
}

// window holds the rows that are asked for and not emitted. In an ordered
// operator they lie in their order, from head; else in any.
type window[T, A any] struct {
	all       []*request[T, A]
	head      int
	unordered bool
}

func (w *window[T, A]) len() int { return len(w.all) - w.head }

// rows returns what it holds.
func (w *window[T, A]) rows() []*request[T, A] { return w.all[w.head:] }

func (w *window[T, A]) add(r *request[T, A]) {
	if w.head > 0 && w.head >= len(w.all)/2 && len(w.all) == cap(w.all) {
		n := copy(w.all, w.all[w.head:])
		clear(w.all[n:])
		w.all, w.head = w.all[:n], 0
	}
	r.place = len(w.all)
	w.all = append(w.all, r)
}

// first returns the oldest row of an ordered operator if it is settled.
func (w *window[T, A]) first() *request[T, A] {
	if w.len() == 0 || !w.all[w.head].settled {
		return nil
	}
	return w.all[w.head]
}

// remove takes out r: the first one of an ordered operator, any of another.
func (w *window[T, A]) remove(r *request[T, A]) {
	if !w.unordered {
		w.all[w.head] = nil
		if w.head++; w.head == len(w.all) {
			w.all, w.head = w.all[:0], 0
		}
		return
	}
	last := len(w.all) - 1
	w.all[r.place] = w.all[last]
	w.all[r.place].place = r.place
	w.all[last] = nil
	w.all = w.all[:last]
}

// inOrder is sort.Interface and not an argument of slices.SortFunc, whose body
// would be compiled again for each type of requests.
type inOrder[T, A any] []*request[T, A]

func (s inOrder[T, A]) Len() int           { return len(s) }
func (s inOrder[T, A]) Less(i, j int) bool { return s[i].seq < s[j].seq }
func (s inOrder[T, A]) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
