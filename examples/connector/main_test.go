package main

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/examples/connector/points"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func TestTotals(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	var all []points.Game
	want := make(map[string]int64)
	for i := range int64(500) {
		g := makeGame(i, rng)
		all = append(all, g)
		want[g.Player] += g.Points
	}
	env, out := stream.NewEnv(), collection.NewCollector(points.Game{})
	totals(env, collection.Slice(all...), out)
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 3}, CheckpointEvery: 3, CrashEvery: 7}); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int64)
	for _, g := range out.Rows() {
		got[g.Player] = max(got[g.Player], g.Points)
	}
	if !maps.Equal(got, want) {
		t.Errorf("totals %v, want %v", got, want)
	}
}
