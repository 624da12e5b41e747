package task_test

import (
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/exchange"
)

// delayer emits rows up to 100 ms older than the watermark.
type delayer struct{ op }

func (*delayer) WatermarkDelay() int64 { return 100 }

// TestWatermarksAreDelayed: the operator acts on the watermark itself, what
// follows it in the chain and downstream on an earlier one; the end of time is
// the end. The restored watermark is that of the input, and delayed again.
func TestWatermarksAreDelayed(t *testing.T) {
	t.Parallel()
	var first, second []int64
	note := func(to *[]int64) func(int64) (bool, error) {
		return func(wm int64) (bool, error) {
			*to = append(*to, wm)
			return true, nil
		}
	}
	r := chain(t, 1, &delayer{op{watermark: note(&first)}}, &op{watermark: note(&second)}).begin()
	r.wm(0, 1000)
	r.expect("wm 900")
	r.barrier(0, 1)
	r.expect("wm 900", "barrier 1")
	r.wm(0, dataflow.TimeMax)
	r.expect("wm 900", "barrier 1", "wm max")
	if first[0] != 1000 || second[0] != 900 || first[1] != dataflow.TimeMax || second[1] != dataflow.TimeMax {
		t.Errorf("the first operator got %v, the second %v", first, second)
	}
	again := restoredChain(t, oldState{tasks: [][]byte{taskPart(t, r.snapshots[0])}}, 1, &delayer{}).begin()
	again.expect("wm 900")
}

// idler is ready to be idle when ready says so.
type idler struct {
	op
	readyNow bool
	asked    int
}

func (o *idler) IdleReady() (bool, error) {
	o.asked++
	return o.readyNow, nil
}

// TestIdleWaitsForRowsToCome: the status is told and forwarded only once the
// operator has emitted what it held.
func TestIdleWaitsForRowsToCome(t *testing.T) {
	t.Parallel()
	told := false
	o := &idler{}
	o.idle = func(idle bool) { told = idle }
	r := chain(t, 1, o).begin()
	r.gate.Channel(0).Send(exchange.Element{Kind: exchange.KindStatus, Idle: true})
	r.expect()
	if told || o.asked == 0 {
		t.Fatalf("told %v, asked %d times", told, o.asked)
	}
	o.ctx.Mail(func() error {
		o.readyNow = true
		emit(o.ctx, 7)
		return nil
	})
	r.expect("[7]", "idle true")
	if !told {
		t.Error("the operator was not told")
	}
}
