//go:build !race && !invariants

package columnar

import (
	"math/rand/v2"
	"testing"
)

// With the race detector a sync.Pool forgets on purpose, so this is not for it.

// Batches that are released are used again: what is moved costs no memory.
func TestPoolDoesNotAllocate(t *testing.T) {
	var p Pool[order]
	var x Builder[order]
	b := NewBatch(someOrders(rand.New(rand.NewPCG(1, 1)), 64), make([]int64, 64))
	to, at := make([]int32, 64), make([]int32, 2)
	for i := range to {
		to[i] = int32(i % 2)
	}
	parts := make([]*Batch, 2)
	rows := []int32{1, 2, 3}
	if n := testing.AllocsPerRun(1000, func() {
		clear(at)
		parts[0], parts[1] = p.Take(32, Timed), p.Take(32, Timed)
		p.Scatter(b, to, parts, at)
		Truncate[order](parts[0], 7)
		parts[0].Release()
		parts[1].Release()
		p.Append(nil, b, rows, 64).Release()
		x.Add(Rows[order](b)[0], 1)
		x.Take().Release()
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
