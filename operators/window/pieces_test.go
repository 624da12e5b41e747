package window

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// Buffers that grow and go in any order keep what is written to them, and take
// few allocations.
func TestPiecesAreNobodyElses(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var p pieces[int]
	held := make([][]int, 200)
	const steps = 50_000
	turn := func() {
		for step := range steps {
			i := rng.IntN(len(held))
			for j, v := range held[i] {
				if v != i<<16|j {
					t.Fatalf("step %d: buffer %d holds %x at %d", step, i, v, j)
				}
			}
			if len(held[i]) > 0 && rng.IntN(8) == 0 {
				p.give(held[i])
				held[i] = nil
				continue
			}
			n := rng.IntN(1 << rng.IntN(9))
			held[i] = p.grow(held[i], n)
			for range n {
				held[i] = append(held[i], i<<16|len(held[i]))
			}
		}
	}
	turn()
	if n := testing.AllocsPerRun(1, turn); n > steps/1000 {
		t.Errorf("%v allocations in %d steps", n, steps)
	}
	sum := 0
	for _, b := range held {
		if cap(b) < 1<<pieceClasses {
			sum += cap(b)
		}
	}
	if p.taken != sum {
		t.Errorf("%d elements are counted as in use, %d are", p.taken, sum)
	}
}

func numbered(n int) state.Key { return state.KeyOf(binary.BigEndian.AppendUint64(nil, uint64(n))) }

func timesOf(t *testing.T) *timesOfKey[int64] {
	t.Helper()
	x := &timesOfKey[int64]{codec: must(codec.Of[int64]()), merge: func(into, from *int64) { *into += *from }, max: 1 << 20}
	if err := x.open(memstate.New(dataflow.KeyGroupRange{First: 0, Last: 7}, 8)); err != nil {
		t.Fatal(err)
	}
	return x
}

// put adds times to a key, each with its number as accumulator.
func put(t *testing.T, x *timesOfKey[int64], k state.Key, from, to int64) {
	t.Helper()
	for at := from; at < to; at++ {
		if _, err := x.add(k, at, func(acc *int64) { *acc = at }); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.resume(k); err != nil {
		t.Fatal(err)
	}
}

// sums checks that a key has the times, and no other.
func sums(t *testing.T, x *timesOfKey[int64], k state.Key, from, to int64) {
	t.Helper()
	if err := x.resume(k); err != nil {
		t.Fatal(err)
	}
	if int64(len(x.list)) != to-from {
		t.Fatalf("key %x has %d times, want those from %d to %d", k.Bytes, len(x.list), from, to)
	}
	acc, err := x.fold(Window{from, to})
	if want := (to - from) * (from + to - 1) / 2; err != nil || *acc != want {
		t.Fatalf("key %x: sum %d, error %v, want %d", k.Bytes, *acc, err, want)
	}
}

// A key whose hash is that of another has times of its own.
func TestKeysWithOneHashAreTold(t *testing.T) {
	t.Parallel()
	x, a, b := timesOf(t), numbered(1), numbered(2)
	put(t, x, a, 0, 3)
	s := x.find(a)
	delete(x.kept, a.Hash)
	s.hash = b.Hash
	x.kept[b.Hash] = s
	put(t, x, b, 10, 14)
	sums(t, x, b, 10, 14)
	sums(t, x, a, 0, 3)
	if x.size != 7 || x.empty != 0 {
		t.Errorf("%d times and %d keys without are counted, want 7 and 0", x.size, x.empty)
	}
}

// What a burst took goes back to the collector, while the keys stay as they are.
func TestRollingGivesBackWhatABurstTook(t *testing.T) {
	t.Parallel()
	x := timesOf(t)
	const keys, times = 300, 1000
	for i := range keys {
		put(t, x, numbered(i), 0, times)
		sums(t, x, numbered(i), 0, times)
	}
	full := x.pool.lists.made
	turns := 10 * (idleMax + keys) / keys
	for turn := range turns {
		for i := range keys {
			if err := x.resume(numbered(i)); err != nil {
				t.Fatal(err)
			}
			if i > 0 { // one stays large
				x.forget(numbered(i), func(at int64) bool { return at < times-5 })
			}
			if i == 7 && turn == turns-1 {
				sums(t, x, numbered(i), times-5, times)
			}
		}
	}
	for i := range keys {
		from := int64(times - 5)
		if i == 0 {
			from = 0
		}
		put(t, x, numbered(i), times, times+9)
		sums(t, x, numbered(i), from, times+9)
	}
	if now := x.pool.lists.made; now > full/4 {
		t.Errorf("room for %d times after a burst, %d in it", now, full)
	}
}

// Keys that come once and go leave what they were made of to those that follow.
func TestRollingKeysThatComeOnceAreNotKept(t *testing.T) {
	t.Parallel()
	x := timesOf(t)
	const keys = 20_000
	for i := range keys {
		put(t, x, numbered(i), 0, 2)
		sums(t, x, numbered(i), 0, 2)
		x.forget(numbered(i), func(int64) bool { return true })
	}
	if n := len(x.kept) + len(x.idle); n > 4*idleMax {
		t.Errorf("%d keys are kept, of %d that are gone", n, keys)
	}
	if x.size != 0 || x.pool.lists.taken != 0 {
		t.Errorf("%d times and room for %d are counted, none is there", x.size, x.pool.lists.taken)
	}
}
