package connectortest

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// SinkCase is a sink with a way to look at what it made visible. All checks
// write to one place, one after the other, each rows of its own.
type SinkCase[T any] struct {
	// New returns the sink, as each run of main would; all write to one place.
	New func() connectors.SinkOf[T]
	// Row returns the i-th row to write; rows differ.
	Row func(i int) T
	// Visible returns the rows that are there for readers, in any order. What
	// was committed may take about a second to be there; what was not must
	// never be.
	Visible func() []T
	// Key tells rows apart.
	Key func(T) string
	// Refused returns a row that the writer refuses for good (it does not
	// encode); nil: it takes all.
	Refused func() T
	// AtLeastOnce says that the sink takes no part in two-phase commit: what
	// was written is there after Prepare, perhaps earlier, and some of it
	// twice after a failure.
	AtLeastOnce bool
	// Steps is the length of the longest check; default 40.
	Steps int
}

// TestSink runs SinkChecks.
func TestSink[T any](t *testing.T, c SinkCase[T]) {
	t.Helper()
	test(t, SinkChecks(*new(T)), c)
}

// SinkChecks are what sinks of rows like like promise: rows are visible exactly once, after
// their checkpoint was committed, whatever fails between. Of a sink that is
// AtLeastOnce they ask what it promises.
func SinkChecks[T any](like T) []Check[SinkCase[T]] {
	var out []Check[SinkCase[T]]
	for i, c := range []struct {
		name string
		fn   func(r *sinkRun[T])
	}{
		{"describes itself the same each time", describesSink[T]},
		{"keeps rows once through crashes at every step", crashesEverywhere[T]},
		{"shows nothing before its commit", showsNothingEarly[T]},
		{"adds nothing to what is prepared", sealsAtPrepare[T]},
		{"commits again without effect", commitsAgain[T]},
		{"recovers at any parallelism", recoversAnywhere[T]},
		{"prepares nothing without rows", preparesNothing[T]},
		{"commits what an aborted checkpoint had prepared with the next one", commitsSkipped[T]},
		{"holds as many prepared checkpoints as it says", holdsSealed[T]},
		{"commits while rows are written", commitsBesideWrites[T]},
		{"tells the lives of a job apart", tellsLivesApart[T]},
		{"takes batches of any size", takesAnyBatch[T]},
		{"refuses committables that it did not write", refusesCommittables[T]},
		{"sets aside rows that it refuses", rejectsRows[T]},
		{"closes at any time", closesSinkAnytime[T]},
	} {
		out = append(out, checkOf(c.name, func(p *probe, s SinkCase[T]) {
			if s.Steps == 0 {
				s.Steps = stepsDefault
			}
			// The rows, checkpoints and attempts of each check are its own.
			n := i + 1
			r := &sinkRun[T]{p: p, c: s, first: n * rowsPerCheck, life: dataflow.Incarnation(fmt.Sprintf("%012x", n))}
			r.next, r.settled, r.cp, r.attempt = r.first, r.first, dataflow.CheckpointID(n*1000), dataflow.Attempt(n*1000)
			p.later(r.drop)
			c.fn(r)
			// What is left open is aborted, as by the next start of the job.
			r.restart(1, nil)
			r.close()
		}))
	}
	return out
}

const (
	stepsDefault = 40
	rowsPerCheck = 1_000_000
)

// sinkRun drives the writers of a sink like the engine does.
type sinkRun[T any] struct {
	p     *probe
	c     SinkCase[T]
	first int // row of the check
	next  int // row to write

	writers []*writer
	life    dataflow.Incarnation
	attempt dataflow.Attempt
	cp      dataflow.CheckpointID
	// settled are the rows before it that committed checkpoints cover.
	settled int
}

// writer is one that is open.
type writer struct {
	connectors.Writer
	woken waker
	// refused counts the rows that it did not take.
	refused int
}

// open makes the writers of an attempt and lets them recover.
func (r *sinkRun[T]) open(parallelism int, prepared []connectors.Committable) {
	r.attempt++
	for i := range parallelism {
		r.writers = append(r.writers, r.openOne(i, parallelism, prepared, true))
	}
}

func (r *sinkRun[T]) openOne(subtask, parallelism int, prepared []connectors.Committable, rejects bool) *writer {
	w := &writer{woken: newWaker()}
	ctx := NewWriterContext(subtask, parallelism, w.woken.wake)
	ctx.Info = info(subtask, parallelism, r.attempt)
	ctx.Incarnation = r.life
	if rejects {
		ctx.Reject = func(b *columnar.Batch, i int, err error) {
			if err == nil {
				r.p.err = fmt.Errorf("row %d was rejected without an error", i)
			}
			_ = b.Rows.([]T)[i] // the row is still there
			w.refused++
		}
	}
	var err error
	w.Writer, err = r.c.New().NewWriter(ctx)
	r.p.must(err, "NewWriter")
	if err := w.Recover(r.p.ctx, prepared); err != nil {
		_ = w.Close()
		r.p.failf("Recover: %w", err)
	}
	return w
}

// writeTo writes rows as one batch.
func (r *sinkRun[T]) writeTo(w *writer, rows int) {
	batch, times := make([]T, rows), make([]int64, rows)
	for i := range batch {
		batch[i], times[i] = r.c.Row(r.next), int64(r.next)
		r.next++
	}
	r.p.must(r.put(w, columnar.NewBatch(batch, times)), "Write")
}

func (r *sinkRun[T]) put(w *writer, b *columnar.Batch) error {
	for !w.Ready() {
		if !w.woken.wait(r.p) {
			r.p.failf("the writer is not Ready and did not call Wake for %s", quietWait)
		}
	}
	return w.Write(b)
}

func (r *sinkRun[T]) prepare(final bool) []connectors.Committable {
	r.cp++
	var all []connectors.Committable
	for _, w := range r.writers {
		all = append(all, r.prepareOne(w, final)...)
	}
	return all
}

func (r *sinkRun[T]) prepareOne(w *writer, final bool) []connectors.Committable {
	p, err := w.Prepare(r.p.ctx, r.cp, final)
	r.p.must(err, "Prepare")
	if r.c.AtLeastOnce && len(p) > 0 {
		r.p.failf("a sink that is AtLeastOnce prepared %d committables", len(p))
	}
	var out []connectors.Committable
	for _, c := range p {
		if c.Owner < 0 {
			r.p.failf("the owner of a committable is %d", c.Owner)
		}
		// What is stored is a copy: its memory may be used again.
		out = append(out, connectors.Committable{Owner: c.Owner, Data: append([]byte(nil), c.Data...)})
	}
	return out
}

func (r *sinkRun[T]) commit(all []connectors.Committable) {
	for i, w := range r.writers {
		var mine []connectors.Committable
		for _, c := range all {
			if c.Owner%len(r.writers) == i {
				mine = append(mine, c)
			}
		}
		// The engine commits on a goroutine of its own.
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { err = w.Commit(r.p.ctx, mine) })
		wg.Wait()
		r.p.must(err, "Commit")
	}
}

// restart goes back to the last committed checkpoint: rows after it are
// written again.
func (r *sinkRun[T]) restart(parallelism int, prepared []connectors.Committable) {
	r.close()
	r.next = r.settled
	r.open(parallelism, prepared)
}

func (r *sinkRun[T]) close() {
	writers := r.writers
	r.writers = nil
	for _, w := range writers {
		r.p.must(w.Close(), "Close of a writer")
	}
}

// drop closes what a check that failed has left.
func (r *sinkRun[T]) drop() {
	for _, w := range r.writers {
		if err := w.Close(); err != nil && r.p.err == nil {
			r.p.err = fmt.Errorf("closing a writer: %w", err)
		}
	}
}

// expect checks that exactly the rows before settled are visible, of those
// that this check wrote.
func (r *sinkRun[T]) expect(when string) {
	index := make(map[string]int)
	for i := r.first; i < r.next; i++ {
		index[r.c.Key(r.c.Row(i))] = i
	}
	seen := r.look(index)
	for range looksMax {
		if r.arrived(seen) {
			break
		}
		<-clock.Real{}.NewTimer(lookWait).C()
		seen = r.look(index)
	}
	for i := r.first; i < r.next; i++ {
		n, want := seen[i], 0
		if i < r.settled {
			want = 1
		}
		if r.c.AtLeastOnce && (n >= want) {
			continue
		}
		if n != want {
			r.p.failf("%s, row %d (%s) of %d is visible %d times, want %d", when, i-r.first, r.c.Key(r.c.Row(i)), r.next-r.first, n, want)
		}
	}
}

// A server may say that rows are committed a moment before a reader finds them,
// as Kafka does: rows that are not there are looked for again.
const (
	looksMax = 50
	lookWait = 20 * time.Millisecond
)

// arrived reports whether the rows before settled are visible.
func (r *sinkRun[T]) arrived(seen map[int]int) bool {
	for i := r.first; i < r.settled; i++ {
		if seen[i] == 0 {
			return false
		}
	}
	return true
}

// look counts how often each row of the index is visible.
func (r *sinkRun[T]) look(index map[string]int) map[int]int {
	seen := make(map[int]int)
	for _, v := range r.visible() {
		if i, ok := index[r.c.Key(v)]; ok {
			seen[i]++
		}
	}
	return seen
}

// visible looks from outside: what the looking leaves behind is not the
// sink's.
func (r *sinkRun[T]) visible() (rows []T) {
	var wg sync.WaitGroup
	wg.Go(func() {
		pprof.SetGoroutineLabels(context.Background())
		rows = r.c.Visible()
	})
	wg.Wait()
	return rows
}

// settle says that all rows written so far are to be there.
func (r *sinkRun[T]) settle() { r.settled = r.next }
