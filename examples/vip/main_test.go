package main

import (
	"slices"
	"testing"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestSplit: an order takes the first branch that it fits.
func TestSplit(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	vip, europe, others := split(env, streamtest.Source(Order{}))
	vip.To(streamtest.Sink(Order{}), stream.UID("vip"))
	europe.To(streamtest.Sink(Order{}), stream.UID("europe"))
	others.To(streamtest.Sink(Order{}), stream.UID("others"))
	d := streamtest.NewDriver(t, env)
	out := make(map[string]*streamtest.DriverOutput[Order])
	for _, uid := range []string{"vip", "europe", "others"} {
		out[uid] = streamtest.Output(d, uid, Order{})
	}
	streamtest.Input(d, "orders", Order{}).Push(
		Order{ID: "a", Region: "EU-WEST", Amount: 500_00}, Order{ID: "b", Region: "EU-WEST", Amount: 499_99},
		Order{ID: "c", Region: "US-EAST", Amount: 1}, Order{ID: "d", Region: "US-EAST", Amount: 0})
	for uid, want := range map[string][]Order{
		"vip":    {{ID: "a", Region: "EU-WEST", Amount: 500_00, Level: "vip"}},
		"europe": {{ID: "b", Region: "EU-WEST", Amount: 499_99}},
		"others": {{ID: "c", Region: "US-EAST", Amount: 1}},
	} {
		if got := out[uid].Take(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", uid, got, want)
		}
	}
}
