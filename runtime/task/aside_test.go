package task_test

import (
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/runtime/exchange"
)

// asideSource takes no part in event time.
type asideSource struct{ src }

func (*asideSource) Abstains() bool { return true }

// asides is one that says that it is idle, emits rows and ends; then an
// operator behind it that tells when event time has come to its end.
func asides() (operators.Operator, *op) {
	s, polls := &asideSource{}, 0
	s.poll = func() (operators.PollStatus, error) {
		switch polls++; polls {
		case 1:
			s.ctx.Out.EmitIdle(true)
		case 2:
			emit(s.ctx, 1, 2)
		case 3:
			s.ctx.Out.EmitWatermark(dataflow.TimeMax)
			return operators.PollFinished, nil
		}
		return operators.PollMore, nil
	}
	behind := &op{}
	behind.watermark = func(wm int64) (bool, error) {
		if wm == dataflow.TimeMax {
			emit(behind.ctx, 99)
		}
		return true, nil
	}
	return s, behind
}

// TestRowsOfASourceSetAside: neither its rows nor its end make the output
// active, but event time comes to its end in the operators chained to it.
func TestRowsOfASourceSetAside(t *testing.T) {
	t.Parallel()
	source, behind := asides()
	chain(t, 0, source, behind).begin().expect("idle true", "[1 2 99]", "wm max", "end")
}

// TestSourceSetAsideHadEnded: the same when it had ended in the checkpoint.
func TestSourceSetAsideHadEnded(t *testing.T) {
	t.Parallel()
	source, behind := asides()
	first := chain(t, 0, source, behind).begin()
	first.trigger(1, nil)
	first.run()
	source, behind = asides()
	r := restoredChain(t, oldState{
		tasks:    [][]byte{taskPart(t, first.snapshots[0])},
		finished: map[dataflow.OperatorID]bool{"op0": true, "op1": true},
	}, 0, source, behind)
	r.begin().expect("idle true", "wm max", "end")
}

// TestEndOfIdleInputStaysIdle: behind such a source as well. An input that
// ends while it is idle must not be taken for one that has brought event time
// to its end, while another one is merely quiet.
func TestEndOfIdleInputStaysIdle(t *testing.T) {
	t.Parallel()
	r := chain(t, 1, &op{}).begin()
	status := exchange.Element{Kind: exchange.KindStatus, Idle: true}
	r.gate.Channel(0).Send(status)
	r.wm(0, dataflow.TimeMax)
	r.end(0)
	r.expect("idle true", "wm max", "end")

	join := chain(t, 2, &op{}).begin()
	join.wm(0, 50)
	join.gate.Channel(0).Send(status)
	for _, el := range []exchange.Element{status, {Kind: exchange.KindWatermark, Time: dataflow.TimeMax}, {Kind: exchange.KindEnd}} {
		join.gate.Channel(1).Send(el)
		join.run()
	}
	join.expect("wm 50", "idle true")
}
