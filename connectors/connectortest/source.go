// Package connectortest is the conformance suite of sources and sinks: what
// every connector promises to the engine, run against a connector by its own
// tests. It is not a fake connector.
package connectortest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
)

// SourceCase is a bounded source with all that it will ever return.
type SourceCase[T any] struct {
	// New returns the source, as each run of main would.
	New func() connectors.SourceOf[T]
	// Rows are all rows by split, in order.
	Rows map[string][]T
	// Bad is the number of records that cannot be decoded.
	Bad int
}

// sourceWait bounds how long a reader may have nothing to say.
const sourceWait = 30 * time.Second

// TestSource checks a source: splits, positions and the end. Rows are
// compared with reflect.DeepEqual.
func TestSource[T any](t *testing.T, c SourceCase[T]) {
	t.Run("reads everything once", func(t *testing.T) { readAll(t, c) })
	t.Run("goes on from any position", func(t *testing.T) { resumeAnywhere(t, c) })
	t.Run("discovers the same again", func(t *testing.T) { discoverAgain(t, c) })
	t.Run("ended splits end again", func(t *testing.T) { endAgain(t, c) })
	t.Run("is free of side effects", func(t *testing.T) { pure(t, c) })
}

// openReader is a reader with what is needed to wait for it.
type openReader struct {
	connectors.Reader
	woken chan struct{}
}

func open[T any](t *testing.T, c SourceCase[T]) openReader {
	t.Helper()
	r := openReader{woken: make(chan struct{}, 1)}
	var err error
	r.Reader, err = c.New().NewReader(&connectors.ReaderContext{
		Info: dataflow.TaskInfo{Parallelism: 1, MaxParallelism: 1}, Clock: clock.Real{},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Wake: func() {
			select {
			case r.woken <- struct{}{}:
			default:
			}
		},
		Counter:     func(string) func(int64) { return func(int64) {} },
		Gauge:       func(string, func() float64) {},
		DeadLetters: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// next waits for the next piece.
func (r openReader) next(t *testing.T) connectors.Fetched {
	t.Helper()
	timer := clock.Real{}.NewTimer(sourceWait)
	defer timer.Stop()
	for {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return f
		}
		select {
		case <-r.woken:
		case <-timer.C():
			t.Fatalf("the reader had nothing for %s and did not call Wake", sourceWait)
		}
	}
}

func (r openReader) close(t *testing.T) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func discover[T any](t *testing.T, c SourceCase[T], restored []byte) ([]connectors.Split, []byte) {
	t.Helper()
	e, err := c.New().NewEnumerator(&connectors.EnumeratorContext{Restored: restored, Clock: clock.Real{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	splits, err := e.Discover(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	state, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return splits, state
}

// taken is what came out of a reader.
type taken[T any] struct {
	rows  map[string][]T
	bad   int
	ended map[string]bool
}

// drain reads until all splits ended, at most pieces pieces (negative: all).
// It returns the positions after the last piece.
func drain[T any](t *testing.T, c SourceCase[T], splits []connectors.Split, into *taken[T], pieces int) (positions []connectors.Split, ended bool) {
	t.Helper()
	r := open(t, c)
	defer r.close(t)
	if err := r.AddSplits(splits); err != nil {
		t.Fatal(err)
	}
	if into.rows == nil {
		into.rows, into.ended = make(map[string][]T), make(map[string]bool)
	}
	left := len(splits)
	for left > 0 && pieces != 0 {
		f := r.next(t)
		// Splits that ended in an earlier life end again: that is no progress.
		if !into.ended[f.Split] {
			pieces--
		}
		into.bad += len(f.Bad)
		if f.Batch != nil {
			rows, ok := f.Batch.Rows.([]T)
			if !ok {
				t.Fatalf("rows are %T, want []%s", f.Batch.Rows, reflect.TypeFor[T]())
			}
			if f.Batch.Times != nil && len(f.Batch.Times) != len(rows) {
				t.Fatalf("%d rows with %d times", len(rows), len(f.Batch.Times))
			}
			into.rows[f.Split] = append(into.rows[f.Split], rows...)
		}
		if f.SplitEnd {
			left--
			into.ended[f.Split] = true
		}
	}
	return r.Snapshot(), left == 0
}

func (g *taken[T]) check(t *testing.T, c SourceCase[T]) {
	t.Helper()
	for id, want := range c.Rows {
		if got := g.rows[id]; len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("split %s: %s", id, difference(got, want))
		}
	}
	for id := range g.rows {
		if _, ok := c.Rows[id]; !ok {
			t.Fatalf("rows of split %q, which is not expected", id)
		}
	}
	if g.bad != c.Bad {
		t.Fatalf("%d records were set aside, want %d", g.bad, c.Bad)
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

func readAll[T any](t *testing.T, c SourceCase[T]) {
	splits, _ := discover(t, c, nil)
	var got taken[T]
	if _, ended := drain(t, c, splits, &got, -1); !ended {
		t.Fatal("not all splits ended")
	}
	got.check(t, c)
}

// resumeAnywhere closes the reader after each number of pieces and goes on
// from its positions with another one.
func resumeAnywhere[T any](t *testing.T, c SourceCase[T]) {
	splits, _ := discover(t, c, nil)
	for pieces := range 12 {
		var got taken[T]
		at, ended := splits, false
		for step := 0; !ended; step++ {
			at, ended = drain(t, c, at, &got, pieces+step%3+1)
		}
		got.check(t, c)
	}
}

func discoverAgain[T any](t *testing.T, c SourceCase[T]) {
	first, state := discover(t, c, nil)
	again, _ := discover(t, c, state)
	if !reflect.DeepEqual(first, again) {
		t.Fatalf("restored, the splits are %v, before %v", again, first)
	}
	ids := make([]string, 0, len(first))
	for _, s := range first {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	if n := len(slices.Compact(slices.Clone(ids))); n != len(ids) {
		t.Fatalf("split ids %v are not unique", ids)
	}
}

func endAgain[T any](t *testing.T, c SourceCase[T]) {
	splits, _ := discover(t, c, nil)
	var got, again taken[T]
	at, _ := drain(t, c, splits, &got, -1)
	if len(at) != len(splits) {
		t.Fatalf("the snapshot at the end holds %d splits, want all %d", len(at), len(splits))
	}
	if _, ended := drain(t, c, at, &again, -1); !ended {
		t.Fatal("restored at their end, splits did not end")
	}
	for id, rows := range again.rows {
		if len(rows) > 0 {
			t.Fatalf("restored at its end, split %s had %d rows", id, len(rows))
		}
	}
}

func pure[T any](t *testing.T, c SourceCase[T]) {
	a, b := c.New(), c.New()
	if a.Name() != b.Name() || a.Detail() != b.Detail() || a.Bounded() != b.Bounded() || a.RowType().Schema() != b.RowType().Schema() {
		t.Fatal("two values made alike describe themselves differently")
	}
	if !a.Bounded() {
		t.Fatal("the case is not of a bounded source")
	}
}
