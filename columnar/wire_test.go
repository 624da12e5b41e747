package columnar

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
)

type order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Amount   int64  `json:"amount" leat:"decimal=2"`
	Qty      int32  `json:"qty"`
	Big      bool   `json:"big"`
}

func orderType(t testing.TB) RowType {
	t.Helper()
	rt, err := TypeOf[order]()
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func someOrders(r *rand.Rand, n int) []order {
	rows := make([]order, n)
	for i := range rows {
		rows[i] = order{ID: "ORD-" + text(r, 8), Customer: text(r, 10), Amount: r.Int64N(1e6), Qty: int32(r.IntN(9)), Big: r.IntN(2) == 0}
	}
	return rows
}

func text(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
}

// A batch comes back from its wire form with every row and time, whatever the
// spread of the times.
func TestBatchRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	rt := orderType(t)
	for name, times := range map[string]func(i int) int64{
		"none":   nil,
		"same":   func(int) int64 { return 1767225600000 },
		"narrow": func(i int) int64 { return 1767225600000 + int64(i*31)%65536 },
		"wide":   func(i int) int64 { return -5 + int64(i*7654321)%(1<<32) },
		"whole":  func(i int) int64 { return []int64{dataflow.TimeNone, 0, dataflow.TimeMax}[i%3] },
	} {
		for _, n := range []int{0, 1, 3, 1024} {
			b := NewBatch(someOrders(r, n), nil)
			if times != nil && n > 0 {
				b.Times = make([]int64, n)
				for i := range b.Times {
					b.Times[i] = times(i)
				}
			}
			wire := rt.AppendBatch([]byte("x"), b)[1:]
			got, err := rt.DecodeBatch(wire)
			if err != nil {
				t.Fatalf("%s, %d rows: %v", name, n, err)
			}
			if !reflect.DeepEqual(got.Rows, b.Rows) || !reflect.DeepEqual(got.Times, b.Times) {
				t.Fatalf("%s, %d rows: got %v, want %v", name, n, got, b)
			}
		}
	}
}

// The rows of all targets are the rows of the batch, in order, with their times.
func TestSplitKeepsEveryRow(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	rt := orderType(t)
	var p Partitioner
	for range 200 {
		n, many := r.IntN(300), 1+r.IntN(9)
		b := NewBatch(someOrders(r, n), nil)
		targets := make([]int32, n)
		for i := range targets {
			targets[i] = int32(r.IntN(many))
			b.Times = append(b.Times, r.Int64())
		}
		want := make([][]order, many)
		wantTimes := make([][]int64, many)
		for i, row := range Rows[order](b) {
			want[targets[i]] = append(want[targets[i]], row)
			wantTimes[targets[i]] = append(wantTimes[targets[i]], b.Times[i])
		}
		got := make([][]order, many)
		gotTimes := make([][]int64, many)
		p.Split(b, rt, targets, many, func(target int, b *Batch) {
			if got[target] != nil {
				t.Fatalf("target %d was given two batches", target)
			}
			got[target], gotTimes[target] = Rows[order](b), b.Times
		})
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotTimes, wantTimes) {
			t.Fatalf("targets %v: got %v, want %v", targets, got, want)
		}
	}
}

type customer string

// Every kind of hasher agrees with the encoding of its key.
func TestHashersHashTheEncodedKey(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	rows := someOrders(r, 100)
	sameHashes(t, rows, func(o order) string { return o.ID })
	sameHashes(t, rows, func(o order) customer { return customer(o.Customer[:o.Qty]) })
	sameHashes(t, rows, func(o order) int64 { return o.Amount - 500000 })
	sameHashes(t, rows, func(o order) uint64 { return uint64(o.Amount) })
	sameHashes(t, rows, func(o order) int { return -int(o.Qty) })
	sameHashes(t, rows, func(o order) int32 { return o.Qty - 4 })
	sameHashes(t, rows, func(o order) bool { return o.Big })
	sameHashes(t, rows, func(o order) float64 { return float64(o.Amount) / 7 })
	sameHashes(t, rows, func(o order) [3]byte { return [3]byte([]byte(o.ID)) })
	sameHashes(t, rows, func(o order) order { return o })
}

func sameHashes[K comparable](t *testing.T, rows []order, key func(order) K) {
	t.Helper()
	h, err := HasherOf(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := codec.Of[K]()
	if err != nil {
		t.Fatal(err)
	}
	got := h.HashRows([]uint64{7}, rows)[1:]
	for i, row := range rows {
		k := key(row)
		if want := codec.HashKey(c.AppendKey(nil, &k)); got[i] != want {
			t.Fatalf("hash of %v = %#x, want %#x", k, got[i], want)
		}
	}
}

// Targets are those of the key group's owner.
func TestKeyTargets(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 7, 128, 1000, 1024, dataflow.MaxParallelismLimit} {
		for _, many := range []int{1, 2, 3, 7} {
			if many > most {
				continue
			}
			k := NewKeyTargets(most, many)
			r := rand.New(rand.NewPCG(uint64(most), uint64(many)))
			for range 1000 {
				h := r.Uint64()
				want := dataflow.SubtaskOf(dataflow.KeyGroupOf(h, most), most, many)
				if got := k.Append(nil, []uint64{h})[0]; int(got) != want {
					t.Fatalf("%d of %d: hash %#x goes to %d, want %d", many, most, h, got, want)
				}
			}
		}
	}
}
