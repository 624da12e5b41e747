package join

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/changelog"
	"github.com/leatstream/leat/state"
)

// Namespaces of the timers of a temporal join.
const (
	timerRows  = 0
	timerPrune = 1
)

// temporalSpan is for how long rows share a namespace of the state.
const temporalSpan = 1023

// Temporal returns the factory of a join with the table as it was at the time
// of each row: input 0 is the stream, 1 the table's changes. A row waits until
// the watermark says that no older change comes; results come in order of
// time, and have that of the row.
func Temporal[K comparable, L, R, O any](cfg TableConfig[K, L, R, O]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &temporal[K, L, R, O]{cfg: cfg} })
}

type temporal[K comparable, L, R, O any] struct {
	cfg   TableConfig[K, L, R, O]
	left  keyed[K, L]
	table keyed[K, changelog.Change[K, R]]
	shared[O]
	rows     buffer[L]
	versions versions[R]
}

var (
	_ operators.WatermarkHandler = (*temporal[int, int, int, int])(nil)
	_ operators.Snapshotter      = (*temporal[int, int, int, int])(nil)
	_ operators.Positioner       = (*temporal[int, int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *temporal[K, L, R, O]) Open(ctx *operators.Context) error {
	if err := o.shared.open(ctx); err != nil {
		return err
	}
	o.left = keyed[K, L]{side: o.cfg.Left, keys: o.cfg.KeyCodec}
	o.table = keyed[K, changelog.Change[K, R]]{side: o.cfg.Table, keys: o.cfg.KeyCodec}
	o.rows.codec = o.cfg.Left.Codec
	if err := o.rows.open(ctx.State, "temporal-rows", temporalSpan); err != nil {
		return err
	}
	return o.versions.open(ctx.State, "temporal-versions", o.cfg.Rows)
}

// Process implements operators.Operator.
func (o *temporal[K, L, R, O]) Process(input int, b *columnar.Batch) error {
	if input == 1 {
		return o.change(b)
	}
	rows := columnar.Rows[L](b)
	o.left.begin(b)
	for i := range rows {
		t := b.Time(i)
		o.place = place{what: "left row", time: t, on: true}
		if t == dataflow.TimeNone {
			return untimed("left row")
		}
		if t <= o.passed.of(o.left.hashes[i]) {
			o.late.rows = append(o.late.rows, int32(i))
			continue
		}
		k := o.left.of(i, &rows[i])
		o.rows.add(k, t, 0, &rows[i])
		o.timers.RegisterEvent(k, timerRows, t)
	}
	o.on = false
	setAside[L](&o.late, b, SideLateLeft)
	return nil
}

// change takes new versions. One that is late is valid for the rows to come.
func (o *temporal[K, L, R, O]) change(b *columnar.Batch) error {
	rows := columnar.Rows[changelog.Change[K, R]](b)
	o.table.begin(b)
	for i := range rows {
		c, t := &rows[i], b.Time(i)
		o.place = place{what: "change of the table", time: t, on: true}
		if t == dataflow.TimeNone {
			return untimed("change of the table")
		}
		if t <= o.passed.of(o.table.hashes[i]) {
			o.late.count.Add(1)
		}
		k := o.table.of(i, c)
		if o.versions.add(k, t, &c.Value, c.Deleted()) || c.Deleted() {
			o.timers.RegisterEvent(k, timerPrune, t)
		}
	}
	o.on = false
	return nil
}

// Watermark implements operators.WatermarkHandler: it joins the rows whose
// time has come.
func (o *temporal[K, L, R, O]) Watermark(wm int64) (bool, error) {
	if wm <= o.passed.now {
		return true, nil
	}
	done, err := o.timers.AdvanceEvent(wm, o.fire, o.out.Out.Ready)
	o.on = false
	o.out.Flush()
	if !done || err != nil {
		return false, err
	}
	o.passed.now = wm
	o.rows.dropBefore(wm)
	return true, nil
}

func (o *temporal[K, L, R, O]) fire(k state.Key, ns, at int64) error {
	if ns == timerPrune {
		// A version that came late is behind what is over already.
		o.versions.prune(k, max(at, o.passed.now))
		return nil
	}
	val, _ := o.rows.table.Get(o.rows.bucket(at), k)
	version, f, ok := o.versions.at(k, at)
	if !ok && !o.cfg.Outer {
		return nil
	}
	o.place = place{what: "left row", time: at, on: true}
	var r *R
	for _, row := range o.rows.scan(val, at, at, 0) {
		// What a function may keep is made for each call.
		if ok && (r == nil || o.cfg.Match.Retains) {
			r = o.versions.rows.load(version, f, o.cfg.Match.Retains)
		}
		o.out.Add(o.cfg.Match.Func(o.rows.load(val, row, o.cfg.Match.Retains), r), at)
	}
	return nil
}

// Snapshot implements operators.Snapshotter. Everything is in keyed state.
func (o *temporal[K, L, R, O]) Snapshot(operators.Checkpoint) ([]byte, error) {
	o.passed.save()
	return nil, nil
}

// Close implements operators.Operator.
func (*temporal[K, L, R, O]) Close() error { return nil }
