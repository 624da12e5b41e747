package window

import "time"

// ByClose fires once, when the watermark has passed the window's end by
// Lateness, which is that of the operator: then no row can change the result
// any more. Results are that much older than the watermark, so the operator
// has the same Delay.
type ByClose struct {
	quiet
	Lateness int64
}

// OnRow implements Ungeneric.
func (t ByClose) OnRow(ctx *TriggerContext) Decision {
	ctx.SetTimer(t.closes(ctx))
	return Continue
}

// OnEventTime implements Ungeneric.
func (t ByClose) OnEventTime(ctx *TriggerContext, at time.Time) Decision {
	if at.UnixMilli() == t.closes(ctx).UnixMilli() {
		return Fire
	}
	return Continue
}

// OnMerge implements MergingTrigger.
func (ByClose) OnMerge(*TriggerContext, [][]byte) {}

func (t ByClose) closes(ctx *TriggerContext) time.Time {
	return ctx.end().Add(time.Duration(t.Lateness) * time.Millisecond)
}

// WatermarkDelay implements operators.WatermarkDelayer.
func (o *single[K, T, A, O]) WatermarkDelay() int64 { return o.cfg.Delay }

// WatermarkDelay implements operators.WatermarkDelayer.
func (o *rolling[K, T, A, O]) WatermarkDelay() int64 { return o.delay }
