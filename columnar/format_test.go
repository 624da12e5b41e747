package columnar

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// goldenBatches are the batches of testdata/wire_v1.txt, in order.
func goldenBatches() []*Batch {
	rows := []order{{"ORD-1", "CUST-2", 14950, 3, true}, {"", "x", -1, -2, false}}
	return []*Batch{
		NewBatch([]order{}, nil),
		NewBatch(rows, nil),
		NewBatch(rows, []int64{1767225600017, 1767225600017}),
		NewBatch(rows, []int64{1767225600017, 1767225600000}),
		NewBatch(rows, []int64{1767225600017, 1767222000000}),
		NewBatch(rows, []int64{1767225600017, -1 << 63}),
	}
}

// The wire form is a format: what version 1 wrote is written and read.
func TestGoldenWire(t *testing.T) {
	t.Parallel()
	rt := orderType(t)
	var sb strings.Builder
	for _, b := range goldenBatches() {
		fmt.Fprintf(&sb, "%x\n", rt.AppendBatch(nil, b))
	}
	file, err := os.ReadFile("testdata/wire_v1.txt")
	if err != nil || string(file) != sb.String() {
		t.Fatalf("testdata/wire_v1.txt differs (error %v); what is written now:\n%s", err, sb.String())
	}
	for i, line := range strings.Fields(string(file)) {
		wire, err := hex.DecodeString(line)
		if err != nil {
			t.Fatal(err)
		}
		b, err := rt.DecodeBatch(wire)
		if want := goldenBatches()[i]; err != nil || !reflect.DeepEqual(b.Rows, want.Rows) || !slices.Equal(b.Times, want.Times) {
			t.Errorf("line %d is read as %v, %v", i+1, b, err)
		}
		b.Release() // what follows is made of its memory
	}
}

func TestDamagedBatchesAreRefused(t *testing.T) {
	t.Parallel()
	rt := orderType(t)
	wire := rt.AppendBatch(nil, goldenBatches()[3])
	for cut := range wire {
		if b, err := rt.DecodeBatch(wire[:cut]); err == nil {
			t.Errorf("cut at %d it is read as %v", cut, b)
		}
	}
	for _, c := range []struct {
		at   int
		to   byte
		want string
	}{
		{0, 2, "wire version 2, this program reads version 1"},
		{1, 9, "header 01 09 00 00 is unknown"},
		{2, 1, "header 01 02 01 00 is unknown"},
		{4, 1, "damaged"},
		{7, 0xFF, "cut short"},
	} {
		bad := bytes.Clone(wire)
		bad[c.at] = c.to
		if _, err := rt.DecodeBatch(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("byte %d set to %d: got error %v, want %s", c.at, c.to, err, c.want)
		}
	}
	if b, err := rt.DecodeBatch(append(wire, 0)); err == nil {
		t.Errorf("with a byte more it is read as %v", b)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	rt := orderType(f)
	for _, b := range goldenBatches() {
		f.Add(rt.AppendBatch(nil, b))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		b, err := rt.DecodeBatch(bytes.Clone(src))
		if err != nil {
			return
		}
		again, err := rt.DecodeBatch(rt.AppendBatch(nil, b))
		if err != nil || !reflect.DeepEqual(again.Rows, b.Rows) || len(b.Times) > 0 && !reflect.DeepEqual(again.Times, b.Times) {
			t.Fatalf("%x is read as %v, and after writing as %v, %v", src, b, again, err)
		}
	})
}

func TestGatherAppends(t *testing.T) {
	t.Parallel()
	rt := orderType(t)
	r := rand.New(rand.NewPCG(2, 2))
	src := someOrders(r, 10)
	got := rt.Gather(nil, src, []int32{3, 3, 0})
	got = rt.Gather(got, src, []int32{9})
	if want := []order{src[3], src[3], src[0], src[9]}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := rt.Len(rt.Slice(got, 1, 3)); n != 2 {
		t.Errorf("a slice has %d rows", n)
	}
	// A slice cannot grow into the rows after it.
	part := rt.Slice(src, 0, 2).([]order)
	if cap(part) != 2 {
		t.Errorf("a slice of 2 rows has room for %d", cap(part))
	}
}

func TestSplitOfOneTargetIsTheBatch(t *testing.T) {
	t.Parallel()
	rt := orderType(t)
	b := NewBatch(someOrders(rand.New(rand.NewPCG(1, 1)), 3), nil)
	var p Partitioner
	calls := 0
	p.Split(b, rt, []int32{2, 2, 2}, 4, func(target int, out *Batch) {
		calls++
		if target != 2 || out != b {
			t.Errorf("target %d got another batch", target)
		}
	})
	p.Split(NewBatch([]order{}, nil), rt, nil, 4, func(int, *Batch) { calls++ })
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestAllocations(t *testing.T) {
	rt := orderType(t)
	rows := someOrders(rand.New(rand.NewPCG(1, 1)), 1024)
	b := NewBatch(rows, make([]int64, 1024))
	h, err := HasherOf(func(o order) string { return o.Customer })
	if err != nil {
		t.Fatal(err)
	}
	targets := NewKeyTargets(1024, 4)
	var hashes []uint64
	var to []int32
	var wire []byte
	var p Partitioner
	drop := func(int, *Batch) {}
	step := func() {
		hashes = h.HashRows(hashes[:0], b.Rows)
		to = targets.Append(to[:0], hashes)
		wire = rt.AppendBatch(wire[:0], b)
	}
	step()
	if n := testing.AllocsPerRun(50, step); n != 0 {
		t.Errorf("hashing and encoding a batch: %v allocations", n)
	}
	// Of each of the four batches: itself, rows and their interface, times.
	if n := testing.AllocsPerRun(50, func() { p.Split(b, rt, to, 4, drop) }); n > 16 {
		t.Errorf("splitting a batch: %v allocations", n)
	}
}

// Each form is used up to the last spread of times that it holds.
func TestTimeForms(t *testing.T) {
	t.Parallel()
	rt := orderType(t)
	for _, c := range []struct {
		width uint64
		form  timeForm
	}{
		{0, timesSame}, {1, timesOff16}, {1<<16 - 1, timesOff16}, {1 << 16, timesOff32}, {1<<32 - 1, timesOff32}, {1 << 32, timesWhole}, {1<<64 - 1, timesWhole},
	} {
		least := int64(-1 << 63)
		b := NewBatch(make([]order, 2), []int64{int64(uint64(least) + c.width), least})
		wire := rt.AppendBatch(nil, b)
		got, err := rt.DecodeBatch(wire)
		if timeForm(wire[1]) != c.form || err != nil || !reflect.DeepEqual(got.Times, b.Times) {
			t.Errorf("width %d: form %d, read as %v, %v", c.width, wire[1], got, err)
		}
	}
}
