package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func at(minutes int) time.Time { return time.Unix(1_767_225_600+60*int64(minutes), 0).UTC() }

func TestEachPaymentPassesOnce(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	unique(env, streamtest.Source(Payment{})).To(streamtest.Sink(Payment{}), stream.UID("out"))
	d := streamtest.NewDriver(t, env)
	in, out := streamtest.Input(d, "payments", Payment{}), streamtest.Output(d, "out", Payment{})
	push := func(id string, minutes int, passes bool) {
		t.Helper()
		p := Payment{ID: id, Amount: 1, At: at(minutes)}
		in.Push(p)
		var want []Payment
		if passes {
			want = append(want, p)
		}
		if got := out.Take(); !slices.Equal(got, want) {
			t.Fatalf("at %v: %v, want %v", p.At, got, want)
		}
	}
	push("a", 0, true)
	push("b", 10, true)
	push("a", 30, false)
	d.Rescale(3)
	push("a", 59, false)
	push("b", 59, false)
	push("c", 62, true) // the watermark is at 61: a is forgotten, b is not
	push("b", 63, false)
	push("a", 63, true)
	d.Rescale(2)
	push("b", 64, false)
	push("d", 200, true)
	if n := d.StateLen("first", "seen"); n != 1 {
		t.Errorf("%d ids are in the state, want the last one only", n)
	}
}

// TestAgainstAMap compares made-up payments, with crashes and at changing
// parallelism, with what a map of all ids lets pass.
func TestAgainstAMap(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	var all []Payment
	seen, want := map[string]bool{}, []string(nil)
	for i := range int64(3000) {
		p := makePayment(i, rng)
		all = append(all, p)
		if !seen[p.ID] {
			seen[p.ID] = true
			want = append(want, p.ID)
		}
	}
	env := stream.NewEnv()
	out := collection.NewCollector(Payment{})
	unique(env, collection.Slice(all...)).To(out, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{3, 1, 2}, CheckpointEvery: 3, CrashEvery: 7}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range out.Rows() {
		got = append(got, p.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d payments passed, want %d", len(got), len(want))
	}
}
