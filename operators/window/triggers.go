package window

import (
	"bytes"
	"hash/fnv"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
)

// quiet is embedded by triggers without timers.
type quiet struct{}

func (quiet) OnEventTime(*TriggerContext, time.Time) Decision      { return Continue }
func (quiet) OnProcessingTime(*TriggerContext, time.Time) Decision { return Continue }

// ByEventTime fires when the watermark passes the window's end, and again for
// each late row.
type ByEventTime struct{ quiet }

// OnRow implements Ungeneric.
func (ByEventTime) OnRow(ctx *TriggerContext) Decision {
	if ctx.Complete() {
		return Fire
	}
	ctx.SetTimer(ctx.end())
	return Continue
}

// OnEventTime implements Ungeneric.
func (ByEventTime) OnEventTime(ctx *TriggerContext, at time.Time) Decision {
	if at.UnixMilli() == ctx.win.last() {
		return Fire
	}
	return Continue
}

// OnMerge implements MergingTrigger.
func (ByEventTime) OnMerge(*TriggerContext, [][]byte) {}

// ByProcessingTime fires when the clock passes the window's end.
type ByProcessingTime struct{ quiet }

// OnRow implements Ungeneric.
func (ByProcessingTime) OnRow(ctx *TriggerContext) Decision {
	ctx.SetProcessingTimer(ctx.end())
	return Continue
}

// OnProcessingTime implements Ungeneric.
func (ByProcessingTime) OnProcessingTime(ctx *TriggerContext, at time.Time) Decision {
	if at.UnixMilli() == ctx.win.last() {
		return Fire
	}
	return Continue
}

// OnMerge implements MergingTrigger.
func (ByProcessingTime) OnMerge(*TriggerContext, [][]byte) {}

// ByCount fires when N rows have come since it fired last.
type ByCount struct {
	quiet
	N int64
}

// OnRow implements Ungeneric.
func (t ByCount) OnRow(ctx *TriggerContext) Decision {
	if n := ctx.Number() + 1; n < t.N {
		ctx.SetNumber(n)
		return Continue
	}
	ctx.SetState(nil)
	return Fire
}

// OnMerge implements MergingTrigger.
func (t ByCount) OnMerge(ctx *TriggerContext, states [][]byte) {
	var n int64
	for _, s := range states {
		n += numberOf(s)
	}
	ctx.SetNumber(n)
}

// Never does not fire.
type Never struct{ quiet }

// OnRow implements Ungeneric.
func (Never) OnRow(*TriggerContext) Decision { return Continue }

// OnMerge implements MergingTrigger.
func (Never) OnMerge(*TriggerContext, [][]byte) {}

// EveryEventTime fires at each multiple of Millis of event time by which rows
// have come since it fired last, and at the window's end.
type EveryEventTime struct {
	quiet
	Millis int64
}

// OnRow implements Ungeneric.
func (t EveryEventTime) OnRow(ctx *TriggerContext) Decision {
	if ctx.Complete() {
		return Fire
	}
	ctx.SetTimer(ctx.end())
	if len(ctx.meta.Events) < 2 { // beside the end and the clean-up
		t.next(ctx, max(ctx.time, ctx.watermark))
	}
	return Continue
}

func (t EveryEventTime) next(ctx *TriggerContext, after int64) {
	if at := (Tumbling{Size: t.Millis}).Assign(after).end; at < ctx.win.last() {
		ctx.SetTimer(time.UnixMilli(at))
	}
}

// OnEventTime implements Ungeneric.
func (t EveryEventTime) OnEventTime(*TriggerContext, time.Time) Decision { return Fire }

// OnMerge implements MergingTrigger. What the watermark has to pass next is
// kept, however far the rows of the session are ahead of it.
func (t EveryEventTime) OnMerge(ctx *TriggerContext, _ [][]byte) {
	if _, ok := ctx.Watermark(); ok {
		t.next(ctx, ctx.watermark)
	}
}

// EveryProcessingTime fires Millis after the first row that came since it
// fired. With Final, it fires at the end of the window in event time, too.
type EveryProcessingTime struct {
	Millis int64
	Final  bool
}

// OnRow implements Ungeneric.
func (t EveryProcessingTime) OnRow(ctx *TriggerContext) Decision {
	if t.Final {
		if ctx.Complete() {
			return Fire
		}
		ctx.SetTimer(ctx.end())
	}
	if len(ctx.meta.Clocks) == 0 {
		ctx.SetProcessingTimer(time.UnixMilli(ctx.now + t.Millis))
		ctx.SetNumber(ctx.now + t.Millis)
	}
	return Continue
}

// OnEventTime implements Ungeneric.
func (t EveryProcessingTime) OnEventTime(ctx *TriggerContext, at time.Time) Decision {
	if t.Final && at.UnixMilli() == ctx.win.last() {
		for _, at := range slices.Clone(ctx.meta.Clocks) {
			ctx.ClearProcessingTimer(time.UnixMilli(at))
		}
		ctx.SetState(nil)
		return Fire
	}
	return Continue
}

// OnProcessingTime implements Ungeneric.
func (t EveryProcessingTime) OnProcessingTime(ctx *TriggerContext, _ time.Time) Decision {
	ctx.SetState(nil)
	return Fire
}

// OnMerge implements MergingTrigger: the earliest of the timers is kept, or a
// session that goes on would never come to show a result.
func (t EveryProcessingTime) OnMerge(ctx *TriggerContext, states [][]byte) {
	var first int64
	for _, s := range states {
		if at := numberOf(s); at > 0 && (first == 0 || at < first) {
			first = at
		}
	}
	if first > 0 {
		ctx.SetProcessingTimer(time.UnixMilli(first))
		ctx.SetNumber(first)
	}
}

// EarlyCount fires after each N rows, and at the end of the window.
type EarlyCount struct{ N int64 }

// OnRow implements Ungeneric.
func (t EarlyCount) OnRow(ctx *TriggerContext) Decision {
	if d := (ByEventTime{}).OnRow(ctx); d != Continue {
		return d
	}
	return ByCount{N: t.N}.OnRow(ctx)
}

// OnEventTime implements Ungeneric.
func (t EarlyCount) OnEventTime(ctx *TriggerContext, at time.Time) Decision {
	return ByEventTime{}.OnEventTime(ctx, at)
}

// OnProcessingTime implements Ungeneric.
func (t EarlyCount) OnProcessingTime(*TriggerContext, time.Time) Decision { return Continue }

// OnMerge implements MergingTrigger.
func (t EarlyCount) OnMerge(ctx *TriggerContext, states [][]byte) {
	ByCount{N: t.N}.OnMerge(ctx, states)
}

// Purging drops the records whenever another trigger fires.
func Purging[T any](t Trigger[T]) Trigger[T] {
	p := purging[T]{t}
	if m, ok := t.(MergingTrigger); ok {
		return purgingMerging[T]{p, m}
	}
	return p
}

type purging[T any] struct{ of Trigger[T] }

type purgingMerging[T any] struct {
	purging[T]
	MergingTrigger
}

func (p purging[T]) purge(d Decision) Decision {
	if d&Fire != 0 {
		return FireAndPurge
	}
	return d
}

// OnElement implements Trigger.
func (p purging[T]) OnElement(ctx *TriggerContext, v T) Decision {
	return p.purge(p.of.OnElement(ctx, v))
}

// OnEventTime implements Trigger.
func (p purging[T]) OnEventTime(ctx *TriggerContext, at time.Time) Decision {
	return p.purge(p.of.OnEventTime(ctx, at))
}

// OnProcessingTime implements Trigger.
func (p purging[T]) OnProcessingTime(ctx *TriggerContext, at time.Time) Decision {
	return p.purge(p.of.OnProcessingTime(ctx, at))
}

// Delta fires when a row is more than Threshold away from the row at which it
// fired last, or the first one, or, when the type of the rows has changed, the
// first one after that.
type Delta[T any] struct {
	quiet
	Threshold float64
	Of        func(before, now T) float64
	Codec     *codec.Codec[T]
}

// OnElement implements Trigger.
func (t Delta[T]) OnElement(ctx *TriggerContext, v T) Decision {
	var before T
	if !t.last(ctx.State(), &before) {
		ctx.SetState(t.form(&v))
		return Continue
	}
	if t.Of(before, v) <= t.Threshold {
		return Continue
	}
	ctx.SetState(t.form(&v))
	return Fire
}

// form is a row behind a hash of its schema: the state of a trigger is bytes
// that nobody migrates.
func (t Delta[T]) form(v *T) []byte {
	return t.Codec.Append(t.schema(), v)
}

func (t Delta[T]) schema() []byte {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Codec.Schema())) // a hash takes all
	return h.Sum(nil)
}

// last reads the row at which it fired last, if there is one and the type of
// rows is still the same: else it begins anew.
func (t Delta[T]) last(b []byte, v *T) bool {
	schema := t.schema()
	if !bytes.HasPrefix(b, schema) {
		return false
	}
	_, err := t.Codec.Decode(b[len(schema):], v)
	return err == nil
}
