package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func payments(n int64, seed uint64) [][]Payment {
	all := make([][]Payment, generatedSplits)
	for i := range n {
		p := makePayment(i, rand.New(rand.NewPCG(seed, uint64(i))))
		if i%probedEvery > 7000 {
			p.Card = "CARD-00003" // one that has many payments
		}
		all[i%generatedSplits] = append(all[i%generatedSplits], p)
	}
	return all
}

// alertsOf finds the alerts with loops over the payments of each card.
func alertsOf(all []Payment) (out []Alert) {
	slices.SortFunc(all, func(a, b Payment) int {
		return cmp.Or(cmp.Compare(a.Card, b.Card), cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID))
	})
	for i := 0; i < len(all); i++ {
		if !isSmall(all[i]) {
			continue
		}
		a := Alert{Card: all[i].Card, Start: all[i].Time}
		for j := i; j < len(all) && all[j].Card == a.Card && all[j].Time-a.Start < probingTime.Milliseconds(); j++ {
			p := all[j]
			if isSmall(p) {
				a.Small = append(a.Small, p.ID)
			} else if isLarge(p) && len(a.Small) > 1 {
				a.Large, a.Lost, a.End = p.ID, p.Amount, p.Time
				out = append(out, a)
				i = j
				break
			}
		}
	}
	return out
}

// TestAlerts runs the job with crashes and compares with the loops.
func TestAlerts(t *testing.T) {
	t.Parallel()
	all := payments(60_000, 1)
	alerts, late := collection.NewCollector(Alert{}), collection.NewCollector(Payment{})
	env := stream.NewEnv()
	Build(env, collection.Partitions(all...).BatchRows(500), Sinks{Alerts: alerts, Late: late})
	fig, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 3, 1}, CheckpointEvery: 3, CrashEvery: 7})
	if err != nil {
		t.Fatal(err)
	}
	if fig.Crashes == 0 || len(late.Rows()) > 0 {
		t.Fatalf("%d crashes, %d late payments: want some, and none", fig.Crashes, len(late.Rows()))
	}
	compareAlerts(t, alerts.Rows(), alertsOf(slices.Concat(all...)))
}

func compareAlerts(t *testing.T, got, want []Alert) {
	t.Helper()
	if len(want) < 6 {
		t.Fatalf("only %d alerts are due: the test shows little", len(want))
	}
	texts := func(list []Alert) (out []string) {
		for _, a := range list {
			out = append(out, fmt.Sprint(a))
		}
		slices.Sort(out)
		return out
	}
	if g, w := texts(got), texts(want); !slices.Equal(g, w) {
		t.Fatalf("%d alerts, want %d:\n%v\nwant\n%v", len(g), len(w), g, w)
	}
}
