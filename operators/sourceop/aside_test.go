package sourceop_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/sourceop"
)

func newAside(t *testing.T, src *scripted) *operatortest.Harness {
	t.Helper()
	return operatortest.New(t, operatortest.Config{Factory: sourceop.New(sourceop.Config{Source: src, Aside: true}), Parallelism: 1})
}

// TestAsideIsIdleWhateverHappens: a source that takes no part in event time is
// idle from its first poll on, before it knows its splits, and stays so with
// rows, when it lags, when time passes and behind a restart.
func TestAsideIsIdleWhateverHappens(t *testing.T) {
	t.Parallel()
	src := newScripted(2)
	h := newAside(t, src)
	h.Poll(0)
	expect(t, h, "idle") // the coordinator has not even started
	connect(t, h, nil)
	src.put(0, rows(10, 20))
	src.put(1, caughtUp(5))
	h.PollAll(0)
	expect(t, h, "[10 20] [5]")
	r := rand.New(rand.NewPCG(6, 0))
	for range 50 {
		src.put(r.IntN(2), caughtUp(r.Int64N(1000)))
		h.PollAll(0)
		h.Advance(time.Duration(r.IntN(90)) * time.Second)
	}
	for _, e := range h.Take() {
		if e.Idle != nil || e.Watermark != nil {
			t.Fatalf("the source said %+v of event time", e)
		}
	}
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 1)
	connect(t, h, nil)
	src.put(0, rows(30))
	h.PollAll(0)
	expect(t, h, "idle [30]")
}

// TestAsideEnds: the end of event time still reaches the operators chained to
// the source; the output stays idle, so that no other input is moved by it.
func TestAsideEnds(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	src.bounded = true
	h := newAside(t, src)
	connect(t, h, nil)
	end := rows(10)
	end.SplitEnd = true
	src.put(0, end)
	h.PollAll(0)
	expect(t, h, "idle [10] w=max")
}

// TestIdleSourceWakesToEnd: one that is merely quiet does move it.
func TestIdleSourceWakesToEnd(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	src.bounded = true
	h, _ := start(t, src, sourceop.Config{IdleAfter: time.Second}, 1)
	src.put(0, caughtUp(10))
	h.PollAll(0)
	h.Advance(1001 * time.Millisecond)
	h.RunMail()
	expect(t, h, "[10] w=9 idle")
	end := rows()
	end.SplitEnd = true
	src.put(0, end)
	h.PollAll(0)
	expect(t, h, "active w=max")
}
