package exchange_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/exchange"
)

// looker looks ahead on a channel of rows with one number each.
type looker struct {
	t    *testing.T
	gate *exchange.Gate
}

func (l looker) send(seqs ...int64) {
	for _, s := range seqs {
		l.gate.Channel(0).Send(exchange.Element{Kind: exchange.KindBatch, Batch: columnar.NewBatch([]row{{Seq: s}}, nil)})
	}
}

func (l looker) barrier(id dataflow.CheckpointID) {
	l.gate.Channel(0).Send(exchange.Element{Kind: exchange.KindBarrier, Barrier: &exchange.Barrier{ID: id}})
}

func (l looker) seqs(got *[]int64) func([]byte) error {
	return func(encoded []byte) error {
		b, err := rowType(l.t).DecodeBatch(encoded)
		if err == nil {
			*got = append(*got, columnar.Rows[row](b)[0].Seq)
		}
		return err
	}
}

func (l looker) look(id dataflow.CheckpointID) (got []int64, found bool) {
	l.t.Helper()
	found, err := l.gate.LookAhead(0, id, l.seqs(&got))
	if err != nil {
		l.t.Fatal(err)
	}
	return got, found
}

// take takes an element, and tells what was not looked at before.
func (l looker) take(id dataflow.CheckpointID) (got []int64, found bool) {
	l.t.Helper()
	_, el, ok, err := l.gate.Next()
	if err != nil || !ok {
		l.t.Fatal("nothing to take", err)
	}
	if found, err = l.gate.Taken(0, id, el, l.seqs(&got)); err != nil {
		l.t.Fatal(err)
	}
	return got, found
}

// TestLookAheadSeesEachOnce: each batch before the barrier is told once,
// whether it is looked at where it waits or when it is taken; after the next
// Look all that waits is told again.
func TestLookAheadSeesEachOnce(t *testing.T) {
	t.Parallel()
	l := looker{t: t, gate: exchange.NewGate([]exchange.ChannelSpec{{Type: rowType(t)}}, func() {})}
	want := func(what string, seqs []int64, found bool) func([]int64, bool) {
		return func(got []int64, f bool) {
			t.Helper()
			if !slices.Equal(got, seqs) || f != found {
				t.Errorf("%s: %v, found %t, want %v, %t", what, got, f, seqs, found)
			}
		}
	}
	l.send(1, 2, 3)
	if l.gate.Queued() != nil {
		t.Error("a barrier before any was sent")
	}
	l.take(0)
	l.gate.Look(0)
	want("what waits", []int64{2, 3}, false)(l.look(7))
	want("nothing new", nil, false)(l.look(7))
	l.send(4)
	want("taken, looked at before", nil, false)(l.take(7))
	want("new", []int64{4}, false)(l.look(7))
	want("taken", nil, false)(l.take(7))
	want("taken", nil, false)(l.take(7))
	l.send(5)
	want("taken, not looked at", []int64{5}, false)(l.take(7))
	l.barrier(6)
	l.send(8)
	l.barrier(7)
	l.send(9)
	if b := l.gate.Queued(); b == nil || b.ID != 7 {
		t.Errorf("queued %+v", b)
	}
	want("up to the barrier", []int64{8}, true)(l.look(7))
	l.gate.Look(0)
	want("anew", []int64{8, 9}, false)(l.look(8))
	for range 4 {
		want("all taken", nil, false)(l.take(8))
	}
	l.barrier(8)
	want("a barrier that is taken", nil, true)(l.take(8))
	l.gate.Channel(0).Send(exchange.Element{Kind: exchange.KindEnd})
	want("the end", nil, true)(l.look(9))
}

// TestLookAheadAcrossSegments: the ring is longer than one of its segments.
func TestLookAheadAcrossSegments(t *testing.T) {
	t.Parallel()
	l := looker{t: t, gate: exchange.NewGate([]exchange.ChannelSpec{{Type: rowType(t)}}, func() {})}
	next, taken := int64(0), int64(0)
	for round := range int64(40) {
		for range round {
			l.send(next)
			next++
		}
		l.gate.Look(0)
		var want []int64
		for s := taken; s < next; s++ {
			want = append(want, s)
		}
		if got, found := l.look(1); !slices.Equal(got, want) || found {
			t.Fatalf("round %d: %v, %t, want %v", round, got, found, want)
		}
		for range (next - taken) * 2 / 3 {
			l.take(1)
			taken++
		}
	}
}

// TestReplayComesFirst: before what waits, in order, and what is put back
// before that.
func TestReplayComesFirst(t *testing.T) {
	t.Parallel()
	l := looker{t: t, gate: exchange.NewGate([]exchange.ChannelSpec{{Type: rowType(t)}}, func() {})}
	l.barrier(1)
	batch := func(s int64) *columnar.Batch { return columnar.NewBatch([]row{{Seq: s}}, nil) }
	l.gate.Replay(0, batch(1))
	l.gate.Replay(0, batch(2))
	if _, _, ok, _ := l.gate.NextControl(); ok {
		t.Error("a barrier before what is to be replayed")
	}
	var order []int64
	for range 2 {
		_, el, ok, err := l.gate.Next()
		if !ok || err != nil || el.Kind != exchange.KindBatch {
			t.Fatal(el, ok, err)
		}
		if s := columnar.Rows[row](el.Batch)[0].Seq; s == 1 {
			l.gate.PutBack(0, batch(9))
		} else {
			order = append(order, s)
		}
	}
	if !slices.Equal(order, []int64{9}) {
		t.Errorf("what was put back: %v", order)
	}
	var left []int64
	if err := l.gate.EachReplay(func(_ int, encoded []byte) error { return l.seqs(&left)(encoded) }); err != nil || !slices.Equal(left, []int64{2}) {
		t.Errorf("to be replayed: %v, %v", left, err)
	}
	l.gate.Next()
	if _, el, ok, _ := l.gate.NextControl(); !ok || el.Kind != exchange.KindBarrier {
		t.Error("no barrier after all was replayed")
	}
}

// TestOwners divides rows that were on their way as an output divides new ones.
func TestOwners(t *testing.T) {
	t.Parallel()
	rows := make([]row, 500)
	times := make([]int64, len(rows))
	for i := range rows {
		rows[i] = row{Key: fmt.Sprint("k", i%37), Seq: int64(i)}
		times[i] = int64(1000 + i)
	}
	for _, p := range []graph.Partitioning{graph.Hash, graph.Custom, graph.Rebalance, graph.Rescale, graph.Forward, graph.Global} {
		for _, to := range []int{1, 2, 7} {
			edge := &graph.Edge{
				Partitioning: p, Type: rowType(t), Key: rowKey(t),
				Custom: func(rows any, i, n int) int { return int(rows.([]row)[i].Seq) % n },
			}
			seen := make(map[int64]int)
			for me := range to {
				o, err := exchange.NewOwners(edge, 128, to)
				if err != nil {
					t.Fatal(err)
				}
				b, err := o.Of(columnar.NewBatch(slices.Clone(rows), slices.Clone(times)), 3, me)
				if err != nil {
					t.Fatal(err)
				}
				if b == nil {
					continue
				}
				for i, r := range columnar.Rows[row](b) {
					seen[r.Seq]++
					if b.Times[i] != 1000+r.Seq {
						t.Errorf("%s to %d: row %d has the time %d", p, to, r.Seq, b.Times[i])
					}
					if p == graph.Custom && int(r.Seq)%to != me {
						t.Errorf("custom to %d: row %d at %d", to, r.Seq, me)
					}
				}
				if p == graph.Hash {
					checkOwner(t, b, me, to)
				}
			}
			for s := range int64(len(rows)) {
				if seen[s] != 1 {
					t.Fatalf("%s to %d: row %d has %d owners", p, to, s, seen[s])
				}
			}
		}
	}
}

func checkOwner(t *testing.T, b *columnar.Batch, me, to int) {
	t.Helper()
	for _, h := range rowKey(t).HashRows(nil, b.Rows) {
		if at := int(columnar.NewKeyTargets(128, to).Append(nil, []uint64{h})[0]); at != me {
			t.Fatalf("a row of subtask %d at %d", at, me)
		}
	}
}
