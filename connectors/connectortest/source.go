package connectortest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
)

// SourceCase is a source with all that it will return.
type SourceCase[T any] struct {
	// New returns the source, as each run of main would; all of them read the
	// same.
	New func() connectors.SourceOf[T]
	// Rows are all rows by split, in order.
	Rows map[string][]T
	// Bad is the number of records that cannot be decoded.
	Bad int
	// Endless says that the source is unbounded: it has given all when the
	// rows are there and each split is caught up.
	Endless bool
}

// TestSource runs SourceChecks. Rows are compared with reflect.DeepEqual.
func TestSource[T any](t *testing.T, c SourceCase[T]) {
	t.Helper()
	test(t, SourceChecks(*new(T)), c)
}

// SourceChecks are what sources of rows like like promise; of that only the type
// matters.
func SourceChecks[T any](like T) []Check[SourceCase[T]] {
	return []Check[SourceCase[T]]{
		checkOf("describes itself the same each time", describesItself[T]),
		checkOf("gives each split to one subtask", ownsSplits[T]),
		checkOf("reads everything once", readsAll[T]),
		checkOf("takes splits one by one", takesSplitsLate[T]),
		checkOf("goes on after any piece", resumesAnywhere[T]),
		checkOf("moves splits between readers", movesSplits[T]),
		checkOf("finds the same splits again", findsAgain[T]),
		checkOf("ends again what has ended", endsAgain[T]),
		checkOf("refuses positions and states that it did not write", refusesGarbage[T]),
		checkOf("sets bad records aside with their place", setsAside[T]),
		checkOf("closes while it reads", closesAnytime[T]),
	}
}

func describesItself[T any](p *probe, c SourceCase[T]) {
	a, b := c.New(), c.New()
	if a.Name() != b.Name() {
		p.failf("Name is %q, then %q", a.Name(), b.Name())
	}
	if a.Detail() != b.Detail() {
		p.failf("Detail, a part of the graph's fingerprint, is %q, then %q", a.Detail(), b.Detail())
	}
	if a.Bounded() == c.Endless || b.Bounded() == c.Endless {
		p.failf("Bounded is %v and %v, but the case's Endless is %v", a.Bounded(), b.Bounded(), c.Endless)
	}
	if a.RowType() == nil || a.RowType().Schema() != b.RowType().Schema() {
		p.failf("RowType is %v, then %v", a.RowType(), b.RowType())
	}
	if want, err := columnar.TypeOf[T](); err != nil || a.RowType().Schema() != want.Schema() {
		p.failf("RowType is not columnar.TypeOf of the rows (%v)", err)
	}
}

func ownsSplits[T any](p *probe, c SourceCase[T]) {
	o, ok := c.New().(connectors.SplitOwner)
	if !ok {
		return // the engine's choice
	}
	eachStage(p, c, func(splits []connectors.Split) []connectors.Split {
		for _, s := range splits {
			for parallelism := 1; parallelism <= 7; parallelism++ {
				n := o.Owner(s.ID, parallelism)
				if n < 0 || n >= parallelism {
					p.failf("Owner of split %q is %d of %d", s.ID, n, parallelism)
				}
				if again := c.New().(connectors.SplitOwner).Owner(s.ID, parallelism); again != n {
					p.failf("Owner of split %q of %d is %d, then %d", s.ID, parallelism, n, again)
				}
			}
		}
		return newReader(p, c).all(splits, nil)
	})
}

func readsAll[T any](p *probe, c SourceCase[T]) {
	// Twice: what is done with the rows that were handed over changes nothing.
	for range 2 {
		var got taken[T]
		r := newReader(p, c)
		eachStage(p, c, func(splits []connectors.Split) []connectors.Split { return r.all(splits, &got) })
		got.check(p, c)
		for id, rows := range got.handed {
			for _, part := range rows {
				clear(part)
			}
			delete(got.handed, id)
		}
		r.close()
	}
}

func takesSplitsLate[T any](p *probe, c SourceCase[T]) {
	var got taken[T]
	r := newReader(p, c)
	if f, ok, err := r.Next(); ok || err != nil {
		p.failf("without splits Next returned %+v, %v, %v", f, ok, err)
	}
	eachStage(p, c, func(splits []connectors.Split) (ends []connectors.Split) {
		for _, s := range splits {
			ends = r.all([]connectors.Split{s}, &got)
		}
		return ends
	})
	got.check(p, c)
}

// piecesMax bounds the places at which a check stops and goes on: after each
// of the first pieces, then less often.
const piecesMax = 40

func resumesAnywhere[T any](p *probe, c SourceCase[T]) {
	for pieces := 0; pieces < piecesMax; pieces += 1 + pieces/3 {
		var got taken[T]
		steps := 0
		eachStage(p, c, func(at []connectors.Split) []connectors.Split {
			for done := false; !done; steps++ {
				r := newReader(p, c)
				at, done = r.some(at, &got, pieces+steps%3)
				r.close()
			}
			return at
		})
		got.check(p, c)
		if steps <= 2 {
			return // the source has no more pieces than that
		}
	}
}

func movesSplits[T any](p *probe, c SourceCase[T]) {
	var got taken[T]
	round := 0
	eachStage(p, c, func(at []connectors.Split) []connectors.Split {
		for done := false; !done; round++ {
			parallelism := []int{2, 3, 1, 4}[round%4]
			perReader := make([][]connectors.Split, parallelism)
			for i, s := range at {
				// The engine asks Owner; a suite that did so would keep splits
				// where they are.
				to := (i + round) % parallelism
				perReader[to] = append(perReader[to], s)
			}
			at, done = nil, true
			for i, splits := range perReader {
				r := newReaderOf(p, c, i, parallelism)
				some, ended := r.some(splits, &got, 1+(round+i)%3)
				at, done = append(at, some...), done && ended
				r.close()
			}
		}
		return at
	})
	got.check(p, c)
}

func findsAgain[T any](p *probe, c SourceCase[T]) {
	e := newEnumerator(p, c, nil)
	first := discover(p, e)
	byID := make(map[string]bool)
	for _, s := range first {
		if byID[s.ID] {
			p.failf("split %q is found twice", s.ID)
		}
		byID[s.ID] = true
	}
	same := func(when string, splits []connectors.Split) {
		if !sameSplits(first, splits) {
			p.failf("%s, the splits and their starts are %v, at first %v", when, splits, first)
		}
	}
	if e.Interval() > 0 {
		same("found again", discover(p, e))
	}
	state := snapshot(p, e)
	if state == nil {
		p.failf("the enumerator's state is nil, which stands for a fresh start: Snapshot returns at least a version")
	}
	restored := newEnumerator(p, c, state)
	same("restored", discover(p, restored))
	same("restored twice", discover(p, newEnumerator(p, c, snapshot(p, restored))))
}

func endsAgain[T any](p *probe, c SourceCase[T]) {
	eachStage(p, c, func(splits []connectors.Split) []connectors.Split {
		first := newReader(p, c)
		at := first.all(splits, nil)
		first.close()
		if len(at) != len(splits) {
			p.failf("the snapshot at the end holds %d splits, want all %d", len(at), len(splits))
		}
		var got taken[T]
		again := newReader(p, c)
		end := again.all(at, &got)
		for id, rows := range got.rows {
			if len(rows) > 0 {
				p.failf("restored at its end, split %q had %d rows", id, len(rows))
			}
		}
		if got.bad > 0 {
			p.failf("restored at the end, %d records were set aside again", got.bad)
		}
		again.close()
		if len(end) != len(splits) {
			p.failf("restored at their end, %d splits are in the snapshot, want all %d", len(end), len(splits))
		}
		return end
	})
}

// refusesGarbage: a position that cannot be read is an error, not a start from
// the beginning.
func refusesGarbage[T any](p *probe, c SourceCase[T]) {
	splits := discover(p, newEnumerator(p, c, nil))
	for _, s := range splits[:min(len(splits), 2)] {
		for name, bad := range garbage(s.Position) {
			r := newReader(p, c)
			err := r.AddSplits([]connectors.Split{{ID: s.ID, Position: bad}})
			for err == nil {
				f, ok, nextErr := r.Next()
				if ok && (f.Batch != nil || f.SplitEnd || f.CaughtUp) {
					p.failf("position %x of split %q with %s (%x) was taken", s.Position, s.ID, name, bad)
				}
				if err = nextErr; err == nil && !ok && !r.woken.wait(p) {
					p.failf("position %x of split %q with %s (%x) is no error", s.Position, s.ID, name, bad)
				}
			}
			r.close()
		}
	}
	e := newEnumerator(p, c, nil)
	discover(p, e)
	state := snapshot(p, e)
	for name, bad := range garbage(state) {
		e, err := c.New().NewEnumerator(NewEnumeratorContext(bad))
		if err != nil {
			continue
		}
		p.later(func() { _ = e.Close() })
		if splits, err := e.Discover(p.ctx); err == nil {
			p.failf("the enumerator's state %x with %s (%x) was taken: it found %v", state, name, bad, splits)
		}
	}
}

// garbage are bytes that good was not: of an unknown version, cut off, empty.
func garbage(good []byte) map[string][]byte {
	out := map[string][]byte{"another version": append([]byte{0xfe}, good[min(1, len(good)):]...)}
	if len(good) > 0 {
		out["nothing in it"] = []byte{}
		out["its end cut off"] = slices.Clone(good[:len(good)-1])
	}
	return out
}

func setsAside[T any](p *probe, c SourceCase[T]) {
	if c.Bad == 0 {
		return
	}
	var got taken[T]
	r := newReader(p, c)
	eachStage(p, c, func(splits []connectors.Split) []connectors.Split { return r.all(splits, &got) })
	places := make(map[string]bool)
	for _, d := range got.letters {
		if d.Error == "" || d.Topic == "" || d.Offset < 0 {
			p.failf("a bad record has no error or no place: %+v", d)
		}
		place := fmt.Sprintf("%s %d %d", d.Topic, d.Partition, d.Offset)
		if places[place] {
			p.failf("two bad records are at %s", place)
		}
		places[place] = true
	}
	// Nobody wants them: they fail the job.
	ctx := NewReaderContext(nil)
	ctx.DeadLetters = false
	strict := newReaderWith(p, c, ctx)
	var splits []connectors.Split
	splits = append(splits, discover(p, newEnumerator(p, c, nil))...)
	p.must(strict.AddSplits(splits), "AddSplits")
	for {
		f, ok, err := strict.Next()
		if err != nil {
			return
		}
		if ok && len(f.Bad) > 0 {
			p.failf("nobody wants bad records (DeadLetters is false), but %d were set aside", len(f.Bad))
		}
		if !ok && !strict.woken.wait(p) {
			p.failf("nobody wants bad records (DeadLetters is false), but none is an error of Next")
		}
	}
}

func closesAnytime[T any](p *probe, c SourceCase[T]) {
	splits := discover(p, newEnumerator(p, c, nil))
	for calls := range 4 {
		r := newReader(p, c)
		if calls > 0 {
			p.must(r.AddSplits(splits), "AddSplits")
		}
		for range calls - 1 {
			_, _, err := r.Next()
			p.must(err, "Next")
		}
		if at := r.Snapshot(); calls > 0 && len(at) != len(splits) {
			p.failf("after AddSplits the snapshot holds %d splits, want all %d", len(at), len(splits))
		}
		r.close()
	}
}

func sameSplits(a, b []connectors.Split) bool {
	sorted := func(s []connectors.Split) []connectors.Split {
		return slices.SortedFunc(slices.Values(s), func(x, y connectors.Split) int { return strings.Compare(x.ID, y.ID) })
	}
	return len(a) == len(b) && reflect.DeepEqual(sorted(a), sorted(b))
}

func newEnumerator[T any](p *probe, c SourceCase[T], restored []byte) connectors.Enumerator {
	e, err := c.New().NewEnumerator(NewEnumeratorContext(restored))
	p.must(err, "NewEnumerator")
	p.later(func() {
		if err := e.Close(); err != nil && p.err == nil {
			p.err = fmt.Errorf("closing the enumerator: %w", err)
		}
	})
	return e
}

func discover(p *probe, e connectors.Enumerator) []connectors.Split {
	splits, err := e.Discover(p.ctx)
	p.must(err, "Discover")
	return splits
}

func snapshot(p *probe, e connectors.Enumerator) []byte {
	state, err := e.Snapshot()
	p.must(err, "Snapshot of the enumerator")
	return state
}

// eachStage lets read read the splits of each stage to their ends, which it
// returns; most sources have one stage.
func eachStage[T any](p *probe, c SourceCase[T], read func(splits []connectors.Split) (ends []connectors.Split)) {
	e := newEnumerator(p, c, nil)
	for {
		ends := read(discover(p, e))
		staged, ok := e.(connectors.StagedEnumerator)
		if !ok || !staged.More() {
			return
		}
		var ended []connectors.EndedSplit
		for _, s := range ends {
			ended = append(ended, connectors.EndedSplit{Split: s, Watermark: dataflow.TimeMin})
		}
		staged.Advance(ended)
	}
}
