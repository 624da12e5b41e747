package stream

import "github.com/leatstream/leat/operators/window"

// OnEnd has a result when the input has ended, for GlobalWindows: the rows of
// each key that there are. A job whose input does not end has it when it is
// stopped with a drain. It needs no event time.
func OnEnd() TriggerSpec {
	return TriggerSpec{trigger: window.ByEventTime{}, text: "OnEnd"}
}
