package main

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestRules drives the job step by step: the profile first, then one
// transaction for each rule, and one that breaks none.
func TestRules(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	alerts(env, streamtest.Source(Transaction{}), streamtest.Source(formats.Entry[Profile]{})).To(streamtest.Sink(Alert{}), stream.UID("alerts"))
	d := streamtest.NewDriver(t, env)
	profiles := streamtest.Input(d, "user-profiles", formats.Entry[Profile]{})
	transactions := streamtest.Input(d, "transactions", Transaction{})
	got := streamtest.Output(d, "alerts", Alert{})

	at := func(s int) time.Time { return time.Unix(int64(s), 0).UTC() }
	profiles.Push(formats.Entry[Profile]{Key: "ann", Value: Profile{Locations: []string{"OSLO"}}})
	for _, tx := range []Transaction{
		{"t1", "ann", 5_00, "OSLO", at(1)},
		{"t2", "ann", 10_000_01, "OSLO", at(2)},
		{"t3", "ann", 5_00, "ROME", at(3)},
		{"t4", "bob", 5_00, "OSLO", at(4)}, // no profile: no known location
		{"t5", "ann", 5_00, "OSLO", at(5)}, // the fourth within five minutes
		{"t6", "ann", 5_00, "OSLO", at(400)},
		{"t7", "ann", 5_00, "OSLO", at(290)}, // late, within the grace: the alert does not come again
	} {
		transactions.Push(tx)
	}
	transactions.End()
	profiles.End()
	rows := got.Take()
	slices.SortFunc(rows, func(a, b Alert) int { return cmp.Compare(a.Rule+a.Subject, b.Rule+b.Subject) })
	want := []Alert{{"amount", "ann", "t2"}, {"frequency", "ann", "1970-01-01T00:00:00Z"}, {"location", "ann", "t3"}, {"location", "bob", "t4"}}
	if !slices.Equal(rows, want) {
		t.Errorf("alerts %v, want %v", rows, want)
	}
}
