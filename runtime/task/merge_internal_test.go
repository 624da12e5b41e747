package task

import (
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/dataflow"
)

// reference is the merge in a few lines, from the whole history.
type reference struct {
	wm    []int64
	idle  []bool
	ended []bool
	out   int64
}

func (r *reference) merge() {
	low, high, active, left := dataflow.TimeMax, dataflow.TimeMin, 0, 0
	for i, wm := range r.wm {
		if r.ended[i] {
			continue
		}
		left++
		if !r.idle[i] {
			active++
			low = min(low, wm)
		} else if wm < dataflow.TimeMax {
			high = max(high, wm)
		}
	}
	if active > 0 {
		r.out = max(r.out, low)
	} else if left > 0 {
		r.out = max(r.out, high)
	}
}

func TestMergerFollowsTheReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 4))
		n := 1 + r.IntN(4)
		m := newMerger(n)
		ref := &reference{wm: make([]int64, n), idle: make([]bool, n), ended: make([]bool, n), out: dataflow.TimeMin}
		for i := range ref.wm {
			ref.wm[i] = dataflow.TimeMin
		}
		for range 30 {
			c := r.IntN(n)
			if ref.ended[c] {
				continue
			}
			before := m.out
			var advanced bool
			switch r.IntN(8) {
			case 0:
				ref.ended[c] = true
				advanced = m.end(c)
			case 1, 2:
				ref.idle[c] = r.IntN(2) == 0
				advanced = m.status(c, ref.idle[c])
			default:
				wm := r.Int64N(50)
				ref.wm[c] = max(ref.wm[c], wm)
				advanced = m.watermark(c, wm)
			}
			ref.merge()
			if m.out != ref.out || m.out < before || advanced != (m.out > before) {
				t.Fatalf("seed %d: out %d (before %d, advanced %v), want %d", seed, m.out, before, advanced, ref.out)
			}
		}
	}
}

// When all channels turn idle the result does not depend on the order.
func TestIdleOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		m := newMerger(4)
		for c := range 4 {
			m.watermark(c, int64(10*c))
		}
		for _, c := range r.Perm(4) {
			m.status(c, true)
		}
		if m.out != 30 || !m.idle {
			t.Fatalf("seed %d: out %d, idle %v", seed, m.out, m.idle)
		}
	}
}
