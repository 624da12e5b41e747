package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// run returns what the job makes of n orders, and how many payments were late.
func run(t *testing.T, n int, opt streamtest.Options) (paid []string, late int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	var orders []Order
	var payments []Payment
	for i := range int64(n) {
		orders = append(orders, makeOrder(i, rng))
		payments = append(payments, makePayment(i, rng))
	}
	slices.SortFunc(payments, func(a, b Payment) int { return a.At.Compare(b.At) })
	to, lates := collection.NewCollector(Paid{}), collection.NewCollector(Payment{})
	env := stream.NewEnv()
	match(env, collection.Slice(orders...).BatchRows(10), collection.Slice(payments...).BatchRows(10), to, lates)
	if _, err := streamtest.Run(t.Context(), env, opt); err != nil {
		t.Fatal(err)
	}
	for _, p := range to.Rows() {
		paid = append(paid, fmt.Sprint(p))
	}
	slices.Sort(paid)
	return paid, len(lates.Rows())
}

// TestMatch compares a calm run, and one with crashes and changes of the
// parallelism, with what the generator makes.
func TestMatch(t *testing.T) {
	t.Parallel()
	const n = 300
	rng := rand.New(rand.NewPCG(1, 1))
	var want []string
	for i := range int64(n) {
		o, p := makeOrder(i, rng), makePayment(i, rng)
		after := p.At.Sub(o.At)
		if after > 5*time.Minute {
			want = append(want, fmt.Sprint(Paid{Order: o.ID, Expired: true}))
		} else {
			want = append(want, fmt.Sprint(Paid{Order: o.ID, Cents: p.Cents, After: after}))
		}
	}
	slices.Sort(want)
	for name, opt := range map[string]streamtest.Options{
		"calm": {},
		"wild": {Parallelism: []int{2, 3, 1}, CheckpointEvery: 3, CrashEvery: 7},
	} {
		if got, late := run(t, n, opt); !slices.Equal(got, want) || late != 0 {
			t.Errorf("%s: %d results and %d late payments, want %d and none", name, len(got), late, len(want))
		}
	}
}
