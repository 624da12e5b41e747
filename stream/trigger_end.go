package stream

import "github.com/leatstream/leat/operators/window"

// onEnd stands for the trigger of OnEnd, which is for windows without an end.
type onEnd struct{}

// OnEnd has a result when the input has ended, for GlobalWindows: the rows of
// each key that there are. A job whose input does not end has it when it is
// stopped with a drain. It needs no event time.
func OnEnd() TriggerSpec {
	return TriggerSpec{trigger: onEnd{}, text: "OnEnd"}
}

// end plans the trigger of OnEnd, when that is the window's.
func (p *windowPlan) end(a WindowAssigner) {
	if a.kind != kindGlobal {
		p.fault("OnEnd is for GlobalWindows, not for a window that ends by itself (%s): leave the trigger out", a.text)
	}
	p.trigger.trigger = window.ByEventTime{}
}
