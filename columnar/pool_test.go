package columnar

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow"
)

func TestScatterSorts(t *testing.T) {
	t.Parallel()
	var p Pool[order]
	b := NewBatch(someOrders(rand.New(rand.NewPCG(2, 3)), 5), []int64{1, 2, 3, 4, 5})
	src := Rows[order](b)
	parts := []*Batch{p.Take(2, Timed), nil, p.Take(4, Timed)}
	Rows[order](parts[2])[0] = src[4] // filled before
	at := []int32{0, 0, 1}
	p.Scatter(b, []int32{2, 0, 2, 0, 2}, parts, at)
	if got, want := Rows[order](parts[0]), []order{src[1], src[3]}; !reflect.DeepEqual(got, want) {
		t.Errorf("target 0 got %v, want %v", got, want)
	}
	if got, want := Rows[order](parts[2]), []order{src[4], src[0], src[2], src[4]}; !reflect.DeepEqual(got, want) {
		t.Errorf("target 2 got %v, want %v", got, want)
	}
	if got := fmt.Sprint(parts[0].Times, parts[2].Times[1:], at); got != "[2 4] [1 3 5] [2 0 4]" {
		t.Errorf("times and ends are %s", got)
	}
}

// Batches that are made of released ones hold what was put into them, of any
// size and with or without times, while others are held.
func TestPooledBatchesKeepTheirRows(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 7))
	var p Pool[order]
	type held struct {
		b     *Batch
		rows  []order
		times []int64
	}
	var all []held
	for range 5000 {
		if len(all) > 20 || len(all) > 0 && rnd.IntN(3) == 0 {
			i := rnd.IntN(len(all))
			h := all[i]
			if !slices.Equal(Rows[order](h.b), h.rows) || !slices.Equal(h.b.Times, h.times) {
				t.Fatalf("a batch of %d rows became %v at %v, was %v at %v", len(h.rows), h.b.Rows, h.b.Times, h.rows, h.times)
			}
			h.b.Release()
			all = slices.Delete(all, i, i+1)
			continue
		}
		src := NewBatch(someOrders(rnd, 1+rnd.IntN(60)), nil)
		if rnd.IntN(2) == 0 {
			for range Rows[order](src) {
				src.Times = append(src.Times, rnd.Int64N(1000))
			}
		}
		var h held
		for range 1 + rnd.IntN(3) {
			var idx []int32
			for range 1 + rnd.IntN(100) {
				i := rnd.IntN(len(Rows[order](src)))
				idx = append(idx, int32(i))
				h.rows = append(h.rows, Rows[order](src)[i])
				h.times = append(h.times, src.Time(i))
			}
			h.b = p.Append(h.b, src, idx, rnd.IntN(200))
		}
		if src.Times == nil {
			h.times = nil
		}
		if rnd.IntN(4) == 0 {
			n := 1 + rnd.IntN(len(h.rows))
			Truncate[order](h.b, n)
			h.rows, h.times = h.rows[:n], h.times[:min(n, len(h.times))]
		}
		all = append(all, h)
	}
}

// Rows with times may follow rows without, and the other way round.
func TestAppendedTimes(t *testing.T) {
	t.Parallel()
	var p Pool[int64]
	with, without := NewBatch([]int64{1, 2}, []int64{10, 20}), NewBatch([]int64{3}, nil)
	b := p.Append(nil, without, []int32{0}, 0)
	if b.Times != nil {
		t.Errorf("times are %v", b.Times)
	}
	b = p.Append(b, with, []int32{1}, 0)
	b = p.Append(b, without, []int32{0}, 0)
	if want := []int64{dataflow.TimeNone, 20, dataflow.TimeNone}; !slices.Equal(b.Times, want) || !slices.Equal(Rows[int64](b), []int64{3, 2, 3}) {
		t.Errorf("got %v at %v, want times %v", b.Rows, b.Times, want)
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	NewBatch([]int64{1}, nil).Release() // of no pool: nothing
	var p Pool[string]
	shared := p.Take(16, Untimed)
	shared.Shared = true
	shared.Release()
	b := p.Take(16, Untimed)
	if b == shared {
		t.Error("a shared batch is used again")
	}
	copied := *b
	copied.Release()
	if c := p.Take(16, Untimed); c == b {
		t.Error("a batch is used again because a copy of it was released")
	}
	for i := range Rows[string](b) {
		Rows[string](b)[i] = "x"
	}
	e := b.keeper.(*pooled[string])
	e.cut(3)
	if e.room[2] != "x" || e.room[3] != "" || e.room[15] != "" {
		t.Errorf("rows behind the last one still refer to something: %q", e.room)
	}
	b.Release()
	defer func() {
		if recover() == nil {
			t.Error("a batch is released twice and nobody says so")
		}
	}()
	b.Release()
}

func TestBuilder(t *testing.T) {
	t.Parallel()
	var x Builder[int64]
	if x.Take() != nil {
		t.Error("a batch of nothing")
	}
	for _, n := range []int{1, 16, 17, 100, BatchRowsMax, 3} {
		for i := range n {
			x.Add(int64(i), dataflow.TimeNone)
		}
		if x.Len() != n || x.Full() != (n == BatchRowsMax) {
			t.Errorf("%d rows count %d, full %t", n, x.Len(), x.Full())
		}
		b := x.Take()
		if b.Times != nil || len(Rows[int64](b)) != n || Rows[int64](b)[n-1] != int64(n-1) {
			t.Errorf("%d rows became %v at %v", n, b.Rows, b.Times)
		}
		b.Release()
		x.Add(7, dataflow.TimeNone)
		x.Add(9, dataflow.TimeNone)
		x.Cut(1)
		x.Add(8, 5)
		if b := x.Take(); !slices.Equal(b.Times, []int64{dataflow.TimeNone, 5}) {
			t.Errorf("times are %v", b.Times)
		}
	}
}
