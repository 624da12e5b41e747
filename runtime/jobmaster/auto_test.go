package jobmaster_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/runtime/jobmaster"
)

// TestSlotsThatCannotBeFollowedYet: while a job waits for its plan, slots that
// have settled are no reason to wake it again and again.
func TestSlotsThatCannotBeFollowedYet(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	core, err := jobmaster.NewCore(jobmaster.CoreConfig{
		Record: jobmaster.Record{ID: "0123456789abcdef0123456789abcdef", Name: "auto", Auto: true},
		Random: rand.New(rand.NewPCG(1, 1)), NewToken: func() string { return "token" }, URI: func(k string) string { return k },
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	core.Step(now, jobmaster.Begin{})
	core.Step(now, jobmaster.AutoSlots{N: 4})
	due := core.Next()
	if !due.After(now) {
		t.Fatalf("the slots are to be followed at %s, it is %s", due, now)
	}
	core.Step(due, jobmaster.Tick{})
	if next := core.Next(); !next.IsZero() && !next.After(due) {
		t.Errorf("nothing can be done at %s, and the next tick is due at %s", due, next)
	}
}
