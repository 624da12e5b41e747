// Package statetest is the conformance suite of state backends: what the
// contract of package state says, as tests that every backend runs, and a
// comparison of any two backends under the same random operations. It is for
// tests only and holds no backend for use.
package statetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// Factory makes an empty backend that owns groups.
type Factory func(groups dataflow.KeyGroupRange, maxParallelism int) state.Backend

// Compare does the same random operations on backends of both factories and
// fails at the first difference: in what an operation returns, in what is
// stored, and in what snapshots hold, which are taken all along, written while
// the backends go on, and restored at other parallelisms, into both.
func Compare(t *testing.T, one, two Factory, seed uint64, steps int) {
	t.Helper()
	a := newWorld(t, one, 1, 128, seed)
	b := newWorld(t, two, 1, 128, seed)
	defer a.close()
	defer b.close()
	parallelism := []int{3, 2, 1, 5, 1}
	for i := range steps {
		if x, y := a.step(), b.step(); x != y {
			t.Fatalf("seed %d step %d: %.300s, want %.300s", seed, i, x, y)
		}
		if i%251 == 250 {
			if d := diff(a.dump(), b.dump()); d != "" {
				t.Fatalf("seed %d step %d: %s", seed, i, d)
			}
		}
		if i%701 == 700 {
			p := parallelism[i/701%len(parallelism)]
			cross(t, a, b, p, fmt.Sprintf("seed %d step %d", seed, i))
		}
	}
}

// cross takes snapshots of both worlds, changes them while the snapshots are
// written, and restores each from the files of the other.
func cross(t *testing.T, a, b *world, parallelism int, where string) {
	t.Helper()
	want := a.dump()
	sa, sb := a.snapshots(1), b.snapshots(1)
	fa, fb := writeMeanwhile(t, sa, func() { a.churn(40) }), writeMeanwhile(t, sb, func() { b.churn(40) })
	a.open(parallelism, fb)
	b.open(parallelism, fa)
	if d := diff(a.dump(), want); d != "" {
		t.Fatalf("%s: restored from the other's files at %d: %s", where, parallelism, d)
	}
	if d := diff(b.dump(), want); d != "" {
		t.Fatalf("%s: restored at %d: %s", where, parallelism, d)
	}
}

func (w *world) churn(steps int) {
	for range steps {
		w.step()
	}
	for p := range w.tables {
		w.tables[p][0].DropNamespace(7)
		w.tables[p][2].DropNamespace(0)
	}
}

// writeMeanwhile writes and releases snapshots on a goroutine while fn runs.
func writeMeanwhile(t *testing.T, ss []state.Snapshot, fn func()) [][]byte {
	t.Helper()
	type result struct {
		files [][]byte
		err   error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		for _, s := range ss {
			var b bytes.Buffer
			if _, err := s.WriteTo(&b); err != nil && r.err == nil {
				r.err = err
			}
			s.Release()
			r.files = append(r.files, b.Bytes())
		}
		done <- r
	}()
	fn()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.files
}
