package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestAlarms wants one alarm for each rule and account that comes to be above
// it, whatever comes first, with crashes in between. Only the sum that the
// alarm tells of depends on the order.
func TestAlarms(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	var payments []Payment
	sums := make(map[string]int64)
	for i := range int64(300) {
		p := makePayment(i, rng)
		payments = append(payments, p)
		sums[p.Account] += p.Cents
	}
	rules := []Rule{{Name: "some", Above: 10_000}, {Name: "large", Above: 40_000}, {Name: "other", Above: 1 << 40}}
	var want []string
	for account, sum := range sums {
		for _, r := range rules {
			if sum > r.Above {
				want = append(want, fmt.Sprint(r.Name, " ", account))
			}
		}
	}
	env := stream.NewEnv()
	out := collection.NewCollector(Alarm{})
	alarms(env, collection.Slice(payments...).BatchRows(7), collection.Slice(rules...).BatchRows(1)).To(out, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 5, 1}, CheckpointEvery: 3, CrashEvery: 7}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range out.Rows() {
		got = append(got, fmt.Sprint(a.Rule, " ", a.Account))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) < 20 {
		t.Fatalf("%d alarms, want %d:\n%q\n%q", len(got), len(want), got, want)
	}
}
