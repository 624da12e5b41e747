package join_test

import (
	"fmt"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators/join"
	"github.com/leatstream/leat/operators/operatortest"
)

// wide is a row of 64 bytes.
type wide struct {
	Key        int64
	A, B, C, D int64
	E, F, G    int64
}

// texts is one of 64 bytes with strings.
type texts struct {
	Key, ID string
	A, B    int64
	E, F    int64
}

const (
	benchKeys = 100_000
	benchSpan = 60_000
	// benchStep is how many rows of each input come in a millisecond of event time.
	benchStep = 4
)

// BenchmarkInterval measures a row's share of an inner join within a minute
// either way, beside the same join written by hand over Go maps. An order in
// two has a match.
func BenchmarkInterval(b *testing.B) {
	b.Run("numbers/leat", func(b *testing.B) { benchInterval(b, wideKey, makeWide) })
	b.Run("numbers/hand", func(b *testing.B) { benchHand(b, wideKey, makeWide) })
	b.Run("strings/leat", func(b *testing.B) { benchInterval(b, textsKey, makeTexts) })
	b.Run("strings/hand", func(b *testing.B) { benchHand(b, textsKey, makeTexts) })
}

func wideKey(w wide) int64    { return w.Key }
func textsKey(w texts) string { return w.Key }
func makeWide(n int) wide     { return wide{Key: int64(n), A: int64(n)} }
func makeTexts(n int) texts   { return texts{Key: fmt.Sprintf("CUSTOMER-%d", n), ID: "ORD-00000017"} }
func joined[T any](l, r *T) T { return *l }

// input makes batches of rows whose keys repeat; times are set as they are fed.
func input[T any](row func(int) T, shift int) [][]T {
	rng := uint64(shift)*2654435761 + 1
	batches := make([][]T, 200)
	for i := range batches {
		batches[i] = make([]T, columnar.BatchRowsMax)
		for j := range batches[i] {
			rng = rng*6364136223846793005 + 1442695040888963407
			batches[i][j] = row(int(rng>>33) % benchKeys)
		}
	}
	return batches
}

// times returns those of batch n of an input.
func batchTimes(n int) []int64 {
	ts := make([]int64, columnar.BatchRowsMax)
	for i := range ts {
		ts[i] = int64((n*columnar.BatchRowsMax + i) / benchStep)
	}
	return ts
}

func benchInterval[T any, K comparable](b *testing.B, key func(T) K, row func(int) T) {
	rows, hasher, c := must(columnar.TypeOf[T]()), must(columnar.HasherOf(key)), must(codec.Of[T]())
	side := join.Side[K, T]{Key: key, Hasher: hasher, Codec: c}
	f := join.Interval(join.IntervalConfig[K, T, T, T]{
		Left: side, Right: side, KeyCodec: must(codec.Of[K]()), Lower: -benchSpan, Upper: benchSpan,
		Match: join.Match[T, T, T]{Func: joined[T]},
	})
	h := operatortest.New(b, operatortest.Config{Factory: f, Rows: rows, Key: hasher})
	op := h.Subs[0].Operator
	ins := [2][][]T{input(row, 1), input(row, 2)}
	n, out := 0, 0
	step := func() {
		ts := batchTimes(n)
		for side, in := range ins {
			if err := op.Process(side, columnar.NewBatch(in[n%len(in)], ts)); err != nil {
				b.Fatal(err)
			}
		}
		h.Watermark(ts[len(ts)-1] - 1000)
		for _, e := range h.Take() {
			out += len(columnar.Rows[T](e.Batch))
		}
		n++
	}
	measure(b, step, &out)
}

// measure runs steps of two batches once the state has its full size.
func measure(b *testing.B, step func(), out *int) {
	for range 3 * benchSpan * benchStep / columnar.BatchRowsMax {
		step()
	}
	*out = 0
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	for b.Loop() {
		step()
		n += 2 * columnar.BatchRowsMax
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
	b.ReportMetric(float64(*out)/float64(n), "results/row")
}

// hand is the join as one would write it in a program of its own.
type hand[K comparable, T any] struct {
	keys map[K]*handKey[T]
	out  []T
}

type handRow[T any] struct {
	time int64
	row  T
}

type handKey[T any] struct{ sides [2][]handRow[T] }

func (h *hand[K, T]) add(side int, k K, t int64, row T) {
	x := h.keys[k]
	if x == nil {
		x = &handKey[T]{}
		h.keys[k] = x
	}
	others := x.sides[1-side]
	// What is too old for any row to come goes when its key is met again.
	for len(others) > 0 && others[0].time < t-benchSpan-1000 {
		others = others[1:]
	}
	x.sides[1-side] = others
	for i := range others {
		if d := others[i].time - t; d >= -benchSpan && d <= benchSpan {
			h.out = append(h.out, joined(&row, &others[i].row))
		}
	}
	x.sides[side] = append(x.sides[side], handRow[T]{t, row})
}

func benchHand[T any, K comparable](b *testing.B, key func(T) K, row func(int) T) {
	h := &hand[K, T]{keys: make(map[K]*handKey[T])}
	ins := [2][][]T{input(row, 1), input(row, 2)}
	n, out := 0, 0
	step := func() {
		ts := batchTimes(n)
		for side, in := range ins {
			for i, r := range in[n%len(in)] {
				h.add(side, key(r), ts[i], r)
			}
		}
		out += len(h.out)
		h.out = make([]T, 0, len(h.out))
		n++
	}
	measure(b, step, &out)
}
