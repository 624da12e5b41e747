package task_test

import (
	"errors"
	"testing"
	"time"

	"github.com/leatstream/leat/operators"
)

// A timer that sets another one which is due already, as an operator does
// that waits for room downstream, gets its turn in a later step: between two
// steps the task sees mail and its own end.
func TestTimerThatIsDueAgain(t *testing.T) {
	t.Parallel()
	fired, aborted := 0, false
	o := &op{}
	var again func() error
	again = func() error {
		if fired++; fired > 100 && !aborted {
			return errors.New("the task hears nothing else")
		}
		o.ctx.At(1500, again)
		return nil
	}
	o.open = func(ctx *operators.Context) error {
		ctx.At(1500, again)
		ctx.At(1500, func() error { fired++; return nil })
		return nil
	}
	r := chain(t, 1, o).begin()
	r.clock.Advance(time.Second)
	if w := r.task.Step(); w.Done || !w.Progress || fired != 2 {
		t.Fatalf("done %v, progress %v, fired %d", w.Done, w.Progress, fired)
	}
	o.ctx.Mail(func() error { aborted = true; return nil })
	if w := r.task.Step(); w.Done || !aborted || fired != 3 {
		t.Fatalf("done %v, mail seen %v, fired %d", w.Done, aborted, fired)
	}
}
