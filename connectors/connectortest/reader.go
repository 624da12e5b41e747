package connectortest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/leatstream/leat/connectors"
)

// reader is one that is open, with what is needed to wait for it.
type reader[T any] struct {
	connectors.Reader
	p      *probe
	c      SourceCase[T]
	woken  waker
	closed bool
}

func newReader[T any](p *probe, c SourceCase[T]) *reader[T] { return newReaderOf(p, c, 0, 1) }

func newReaderOf[T any](p *probe, c SourceCase[T], subtask, parallelism int) *reader[T] {
	ctx := NewReaderContext(nil)
	ctx.Info = info(subtask, parallelism, 1)
	return newReaderWith(p, c, ctx)
}

func newReaderWith[T any](p *probe, c SourceCase[T], ctx *connectors.ReaderContext) *reader[T] {
	r := &reader[T]{p: p, c: c, woken: newWaker()}
	ctx.Wake = r.woken.wake
	var err error
	r.Reader, err = c.New().NewReader(ctx)
	p.must(err, "NewReader")
	p.later(func() {
		if r.closed {
			return
		}
		if err := r.Close(); err != nil && p.err == nil {
			p.err = fmt.Errorf("closing the reader: %w", err)
		}
	})
	return r
}

func (r *reader[T]) close() {
	r.closed = true
	r.p.must(r.Close(), "Close of the reader")
}

// next waits for the next piece.
func (r *reader[T]) next() connectors.Fetched {
	for {
		f, ok, err := r.Next()
		r.p.must(err, "Next")
		if ok {
			return f
		}
		if !r.woken.wait(r.p) {
			r.p.failf("Next had nothing and Wake was not called for %s, but there is more: %s", quietWait, r.describe())
		}
	}
}

func (r *reader[T]) describe() string { return fmt.Sprintf("the splits are at %v", r.Snapshot()) }

// all reads splits to their ends and returns those of all the reader has.
func (r *reader[T]) all(splits []connectors.Split, into *taken[T]) []connectors.Split {
	at, done := r.some(splits, into, -1)
	if !done {
		r.p.failf("not all splits ended")
	}
	return at
}

// some reads at most so many pieces (negative: all). It returns the positions
// after the last one, and whether all splits have ended.
func (r *reader[T]) some(splits []connectors.Split, into *taken[T], pieces int) (at []connectors.Split, done bool) {
	r.p.must(r.AddSplits(splits), "AddSplits")
	if into == nil {
		into = &taken[T]{}
	}
	into.init()
	open := make(map[string]bool)
	for _, s := range splits {
		open[s.ID] = true
	}
	for len(open) > 0 && pieces != 0 {
		f := r.next()
		if !open[f.Split] {
			r.p.failf("a piece of split %q, which the reader was not given or has ended: %+v", f.Split, f)
		}
		// Splits that ended in an earlier life end again: that is no progress.
		if !into.over[f.Split] {
			pieces--
		}
		into.take(r.p, f)
		if f.SplitEnd || r.c.Endless && f.CaughtUp {
			delete(open, f.Split)
			into.over[f.Split] = true
		}
	}
	at = r.Snapshot()
	if !sameSplits(at, r.Snapshot()) {
		r.p.failf("two snapshots without Next between are %v and %v", at, r.Snapshot())
	}
	return at, len(open) == 0
}

// taken is what came out of readers.
type taken[T any] struct {
	rows    map[string][]T
	handed  map[string][][]T // as they came
	bad     int
	letters []connectors.DeadLetter
	over    map[string]bool // splits that have ended, or given all
}

func (g *taken[T]) init() {
	if g.rows == nil {
		g.rows, g.over, g.handed = make(map[string][]T), make(map[string]bool), make(map[string][][]T)
	}
}

func (g *taken[T]) take(p *probe, f connectors.Fetched) {
	g.bad += len(f.Bad)
	g.letters = append(g.letters, f.Bad...)
	if f.Batch == nil {
		return
	}
	rows, ok := f.Batch.Rows.([]T)
	if !ok {
		p.failf("rows are %T, want []%s", f.Batch.Rows, reflect.TypeFor[T]())
	}
	if f.Batch.Times != nil && len(f.Batch.Times) != len(rows) {
		p.failf("%d rows with %d times", len(rows), len(f.Batch.Times))
	}
	if o := f.Batch.Origin; o != nil && o.Positions != nil && len(o.Positions) != len(rows) {
		p.failf("%d rows with %d positions", len(rows), len(o.Positions))
	}
	g.rows[f.Split] = append(g.rows[f.Split], rows...)
	g.handed[f.Split] = append(g.handed[f.Split], rows)
}

func (g *taken[T]) check(p *probe, c SourceCase[T]) {
	for _, id := range slices.Sorted(maps.Keys(c.Rows)) {
		want := c.Rows[id]
		if got := g.rows[id]; len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			p.failf("split %q: %s", id, difference(got, want))
		}
	}
	for id := range g.over {
		if _, ok := c.Rows[id]; !ok {
			p.failf("split %q is not expected, only %d others", id, len(c.Rows))
		}
	}
	for id := range c.Rows {
		if !g.over[id] {
			p.failf("split %q was not found", id)
		}
	}
	if g.bad != c.Bad {
		p.failf("%d records were set aside, want %d", g.bad, c.Bad)
	}
}

func difference[T any](got, want []T) string {
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Sprintf("row %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("%d rows, want %d", len(got), len(want))
}
