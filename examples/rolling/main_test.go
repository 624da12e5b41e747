package main

import (
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestWindows: an order is in two windows of ten minutes, in five of five
// minutes, and in the average of the last orders at once.
func TestWindows(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	out := windows(env, streamtest.Source(Order{}))
	out.hopping.To(streamtest.Sink(Revenue{}), stream.UID("revenue"))
	out.sliding.To(streamtest.Sink(Average{}), stream.UID("rolling"))
	out.last.To(streamtest.Sink(Average{}), stream.UID("last"))
	d := streamtest.NewDriver(t, env)
	at := func(s int) time.Time { return time.Unix(int64(s), 0).UTC() }
	revenue, rolling, last := streamtest.Output(d, "revenue", Revenue{}), streamtest.Output(d, "rolling", Average{}), streamtest.Output(d, "last", Average{})
	in := streamtest.Input(d, "orders", Order{})
	in.Push(Order{"1", "EU", 1_00, at(400)}, Order{"2", "EU", 3_00, at(420)})
	if got, want := last.Take(), []Average{{"EU", at(400), 1, 1}, {"EU", at(420), 2, 2}}; !slices.Equal(got, want) {
		t.Errorf("last %v, want %v", got, want)
	}
	in.End()
	if got, want := revenue.Take(), []Revenue{{"EU", at(0), 4_00}, {"EU", at(300), 4_00}}; !slices.Equal(got, want) {
		t.Errorf("hopping %v, want %v", got, want)
	}
	want := []Average{{"EU", at(420), 1, 1}, {"EU", at(480), 2, 2}, {"EU", at(540), 2, 2}, {"EU", at(600), 2, 2}, {"EU", at(660), 2, 2}, {"EU", at(720), 1, 3}}
	if got := rolling.Take(); !slices.Equal(got, want) {
		t.Errorf("sliding %v, want %v", got, want)
	}
}
