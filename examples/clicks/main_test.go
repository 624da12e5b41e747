package main

import (
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func TestCount(t *testing.T) {
	t.Parallel()
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	clicks := collection.Slice(
		Click{"1", "ann", at(1)}, Click{"2", "ann", at(50)}, Click{"2", "ann", at(50)},
		Click{"3", "ann", at(70)}, // passes the first minute's end
		Click{"4", "ann", at(55)}, // too late for it
	).BatchRows(1)
	counts, late := collection.NewCollector(Count{}), collection.NewCollector(Click{})

	env := stream.NewEnv()
	count(env, clicks, counts, late)
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{}); err != nil {
		t.Fatal(err)
	}
	if want := []Count{{"ann", at(0), 2}, {"ann", at(60), 1}}; !slices.Equal(counts.Rows(), want) {
		t.Errorf("counts %v, want %v", counts.Rows(), want)
	}
	if want := []Click{{"4", "ann", at(55)}}; !slices.Equal(late.Rows(), want) {
		t.Errorf("late %v, want %v", late.Rows(), want)
	}
}

// TestCrashes loses everything again and again, and changes the parallelism.
func TestCrashes(t *testing.T) {
	t.Parallel()
	var clicks []Click
	for i := range int64(600) {
		clicks = append(clicks, Click{string(rune('a' + i%500)), "ann", time.Unix(i, 0).UTC()})
	}
	total := func(opt streamtest.Options) (sum int64) {
		counts := collection.NewCollector(Count{})
		env := stream.NewEnv()
		count(env, collection.Slice(clicks...).BatchRows(10), counts, collection.NewCollector(Click{}))
		if _, err := streamtest.Run(t.Context(), env, opt); err != nil {
			t.Fatal(err)
		}
		for _, c := range counts.Rows() {
			sum += c.Clicks
		}
		return sum
	}
	calm := total(streamtest.Options{})
	wild := total(streamtest.Options{Parallelism: []int{2, 3, 1}, CheckpointEvery: 3, CrashEvery: 7})
	if calm != 500 || wild != calm {
		t.Errorf("%d clicks in an undisturbed run, %d in a disturbed one, want 500", calm, wild)
	}
}
