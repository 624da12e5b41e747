package changelog

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
)

// Suppress returns the factory of an operator that holds the changes of a key
// back until the watermark has passed the first of them by so many
// milliseconds, and then emits one change with what they come to, if that is
// any. It has the time at which it was due.
func Suppress[K comparable, V any](k Keys[K, Change[K, V]], values *codec.Codec[V], millis int64) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return &suppress[K, V]{keyed: k, codec: values, millis: millis}
	})
}

// held is what the changes held back come to.
type held[V any] struct {
	Was, Is       V
	HadWas, HasIs bool
}

type suppress[K comparable, V any] struct {
	none
	keyed  Keys[K, Change[K, V]]
	codec  *codec.Codec[V]
	millis int64

	wm     int64
	state  *state.Keyed
	keys   keys[K, Change[K, V]]
	held   *state.Value[held[V]]
	timers *timer.Service
	out    sink[K, V]
}

var _ operators.WatermarkHandler = (*suppress[int, int])(nil)

// Open implements operators.Operator.
func (o *suppress[K, V]) Open(ctx *operators.Context) (err error) {
	o.state = state.NewKeyed(ctx.State)
	o.keys = newKeys(o.keyed, o.state)
	o.wm = dataflow.TimeMin
	o.out.Out, o.out.same.codec = ctx.Out, o.codec
	if o.timers, err = timer.New(ctx.State, "suppress"); err != nil {
		return err
	}
	o.held, err = state.NewValue[held[V]](o.state, "held")
	return err
}

// Process implements operators.Operator.
func (o *suppress[K, V]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[Change[K, V]](b)
	o.keys.begin(rows)
	for i := range rows {
		c := &rows[i]
		if b.Time(i) == dataflow.TimeNone {
			return fmt.Errorf("change of %v without event time is to be held back: add stream.Timestamps to the From of its source", c.Key)
		}
		o.keys.set(i, *c)
		h, ok := o.held.Get()
		if !ok {
			h.Was, h.HadWas = c.Before, c.Op != Insert
			// A late change is held as long as one at the watermark.
			o.timers.RegisterEvent(o.state.Key(), 0, dataflow.AddTime(max(b.Time(i), o.wm), o.millis))
		}
		h.Is, h.HasIs = c.Value, c.Op != Delete
		o.held.Set(h)
	}
	return nil
}

// Watermark implements operators.WatermarkHandler.
func (o *suppress[K, V]) Watermark(wm int64) (bool, error) {
	done, err := o.timers.AdvanceEvent(wm, o.fire, o.out.Out.Ready)
	if done {
		o.wm = wm
	}
	o.out.Flush()
	return done, err
}

func (o *suppress[K, V]) fire(k state.Key, _, at int64) error {
	var key K
	if err := o.keyed.Codec.DecodeKey(k.Bytes, &key); err != nil {
		return fmt.Errorf("key of a change held back: %w", err)
	}
	o.state.SetKey(k)
	h, _ := o.held.Get()
	o.held.Clear()
	o.out.change(key, optional[V]{h.Was, h.HadWas}, optional[V]{h.Is, h.HasIs}, at)
	return nil
}
