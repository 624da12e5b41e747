package main

import (
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestRank: the fourth product is left out, equal counts are ranked by name,
// and a visit ends after more than half an hour without a sale.
func TestRank(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	best, visits := rank(env, streamtest.Source(Sale{}))
	best.To(streamtest.Sink(Sold{}), stream.UID("best"))
	visits.To(streamtest.Sink(Visit{}), stream.UID("out"))
	d := streamtest.NewDriver(t, env)
	at := func(s int) time.Time { return time.Unix(int64(s), 0).UTC() }
	ranked, seen := streamtest.Output(d, "best", Sold{}), streamtest.Output(d, "out", Visit{})
	in := streamtest.Input(d, "sales", Sale{})
	// Half an hour to the second still belongs to the visit.
	in.Push(Sale{"ink", "ann", at(1)}, Sale{"ink", "ann", at(4)}, Sale{"pen", "bob", at(2)}, Sale{"cap", "ann", at(3)}, Sale{"bag", "ann", at(30)},
		Sale{"pen", "ann", at(1830)}, Sale{"pen", "ann", at(3631)})
	in.End()
	if got, want := ranked.Take(), []Sold{
		{at(0), "ink", 2, 1}, {at(0), "bag", 1, 2}, {at(0), "cap", 1, 3}, {at(1800), "pen", 1, 1}, {at(3600), "pen", 1, 1},
	}; !slices.Equal(got, want) {
		t.Errorf("best %v, want %v", got, want)
	}
	got := seen.Take()
	slices.SortFunc(got, func(a, b Visit) int { return a.Start.Compare(b.Start) })
	if want := []Visit{{"ann", at(1), at(3630), 5}, {"bob", at(2), at(1802), 1}, {"ann", at(3631), at(5431), 1}}; !slices.Equal(got, want) {
		t.Errorf("visits %v, want %v", got, want)
	}
}
