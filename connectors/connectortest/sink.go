package connectortest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// SinkCase is an exactly-once sink with a way to look at what it made visible.
type SinkCase[T any] struct {
	// New returns the sink, as each run of main would; all write to one place.
	New func() connectors.SinkOf[T]
	// Row returns the i-th row to write; rows differ.
	Row func(i int) T
	// Visible returns the rows that are there for readers, in any order.
	Visible func() []T
	// Key tells rows apart.
	Key func(T) string
}

// TestSink checks that rows are visible exactly once, after their checkpoint
// was committed, whatever fails between.
func TestSink[T any](t *testing.T, c SinkCase[T]) {
	t.Run("crashes at every step", func(t *testing.T) {
		r := &sinkRun[T]{t: t, c: c, rng: rand.New(rand.NewPCG(1, 2))}
		r.run()
	})
}

// sinkRun drives the writers of a sink like the engine does.
type sinkRun[T any] struct {
	t    *testing.T
	c    SinkCase[T]
	rng  *rand.Rand
	next int // row to write

	writers []connectors.Writer
	attempt dataflow.Attempt
	cp      dataflow.CheckpointID
	// saved are the committables of the last committed checkpoint, and settled
	// the rows that it covers.
	saved   []connectors.Committable
	settled int
}

const sinkSteps = 60

func (r *sinkRun[T]) run() {
	r.t.Helper()
	r.open(2, nil)
	for range sinkSteps {
		r.write(1 + r.rng.IntN(20))
		fate := r.rng.IntN(5)
		if fate == 0 { // before the checkpoint: what was written is lost
			r.crash()
			continue
		}
		prepared := r.prepare(false)
		if fate == 1 { // prepared, but the checkpoint failed: rolled back
			r.crash()
			continue
		}
		r.saved, r.settled = prepared, r.next
		if fate == 2 { // the checkpoint is committed, the effects are not
			r.crash()
			r.expect()
			continue
		}
		r.commit(prepared)
		r.expect()
		if fate == 3 { // all done: Recover commits once more
			r.crash()
			r.expect()
		}
	}
	r.saved, r.settled = r.prepare(true), r.next
	r.commit(r.saved)
	r.commit(r.saved)
	r.expect()
	r.close()
}

func (r *sinkRun[T]) open(parallelism int, prepared []connectors.Committable) {
	r.t.Helper()
	r.attempt++
	for i := range parallelism {
		w, err := r.c.New().NewWriter(&connectors.WriterContext{
			Info:  dataflow.TaskInfo{Job: "job", JobName: "job", UID: "sink", Subtask: i, Parallelism: parallelism, MaxParallelism: 8, Attempt: r.attempt},
			Clock: clock.Real{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Wake: func() {},
			Counter: func(string) func(int64) { return func(int64) {} }, Incarnation: "life", TxnPool: 4 * parallelism,
		})
		if err != nil {
			r.t.Fatal(err)
		}
		if err := w.Recover(r.t.Context(), prepared); err != nil {
			r.t.Fatal(err)
		}
		r.writers = append(r.writers, w)
	}
}

func (r *sinkRun[T]) write(n int) {
	r.t.Helper()
	for range n {
		w := r.writers[r.rng.IntN(len(r.writers))]
		b := columnar.NewBatch([]T{r.c.Row(r.next)}, []int64{int64(r.next)})
		if err := w.Write(b); err != nil {
			r.t.Fatal(err)
		}
		r.next++
	}
}

func (r *sinkRun[T]) prepare(final bool) []connectors.Committable {
	r.t.Helper()
	r.cp++
	var all []connectors.Committable
	for _, w := range r.writers {
		p, err := w.Prepare(r.t.Context(), r.cp, final)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, c := range p {
			all = append(all, connectors.Committable{Owner: c.Owner, Data: slices.Clone(c.Data)})
		}
	}
	return all
}

func (r *sinkRun[T]) commit(all []connectors.Committable) {
	r.t.Helper()
	for i, w := range r.writers {
		var mine []connectors.Committable
		for _, c := range all {
			if c.Owner%len(r.writers) == i {
				mine = append(mine, c)
			}
		}
		if err := w.Commit(context.Background(), mine); err != nil {
			r.t.Fatal(err)
		}
	}
}

// crash goes back to the last committed checkpoint at another parallelism:
// rows after it are written again.
func (r *sinkRun[T]) crash() {
	r.t.Helper()
	r.close()
	r.next = r.settled
	r.open(1+r.rng.IntN(3), r.saved)
}

func (r *sinkRun[T]) close() {
	r.t.Helper()
	for _, w := range r.writers {
		if err := w.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	r.writers = nil
}

// expect checks that exactly the settled rows are visible.
func (r *sinkRun[T]) expect() {
	r.t.Helper()
	seen := make(map[string]int)
	for _, v := range r.c.Visible() {
		seen[r.c.Key(v)]++
	}
	for i := range r.settled {
		k := r.c.Key(r.c.Row(i))
		if seen[k] != 1 {
			r.t.Fatalf("row %d (%s) is visible %d times after checkpoint %d", i, k, seen[k], r.cp)
		}
		delete(seen, k)
	}
	if len(seen) > 0 {
		r.t.Fatalf("rows that were never settled are visible: %s", fmt.Sprint(seen))
	}
}
