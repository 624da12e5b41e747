package join

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/changelog"
	"github.com/leatstream/leat/state"
)

// TableConfig describes a join of a stream's rows with the rows that a table
// has for their keys.
type TableConfig[K comparable, L, R, O any] struct {
	Left     Side[K, L]
	Table    Side[K, changelog.Change[K, R]]
	Rows     *codec.Codec[R]
	KeyCodec *codec.Codec[K]
	// Outer emits rows that the table has nothing for, with nil.
	Outer bool
	Match Match[L, R, O]
}

// Lookup returns the factory of a join with the table as it is when a row
// comes: input 0 is the stream, 1 the table's changes. Only the stream's rows
// make results, which have their time.
func Lookup[K comparable, L, R, O any](cfg TableConfig[K, L, R, O]) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &lookup[K, L, R, O]{cfg: cfg} })
}

type lookup[K comparable, L, R, O any] struct {
	place
	cfg   TableConfig[K, L, R, O]
	left  keyed[K, L]
	table keyed[K, changelog.Change[K, R]]
	state *state.Keyed
	rows  *state.Value[R]
	one   R
	out   operators.Collector[O]
}

var _ operators.Positioner = (*lookup[int, int, int, int])(nil)

// Open implements operators.Operator.
func (o *lookup[K, L, R, O]) Open(ctx *operators.Context) (err error) {
	o.out.Out = ctx.Out
	o.left = keyed[K, L]{side: o.cfg.Left, keys: o.cfg.KeyCodec}
	o.table = keyed[K, changelog.Change[K, R]]{side: o.cfg.Table, keys: o.cfg.KeyCodec}
	o.state = state.NewKeyed(ctx.State)
	o.rows, err = state.NewValue[R](o.state, "table")
	return err
}

// Process implements operators.Operator.
func (o *lookup[K, L, R, O]) Process(input int, b *columnar.Batch) error {
	if input == 1 {
		o.change(b)
		return nil
	}
	rows := columnar.Rows[L](b)
	o.left.begin(b)
	for i := range rows {
		o.place = place{what: "left row", time: b.Time(i), on: true}
		o.state.SetKey(o.left.of(i, &rows[i]))
		var ok bool
		if o.one, ok = o.rows.Get(); ok {
			r := &o.one
			if o.cfg.Match.Retains {
				r = new(R)
				*r = o.one
			}
			o.out.Add(o.cfg.Match.Func(&rows[i], r), b.Time(i))
		} else if o.cfg.Outer {
			o.out.Add(o.cfg.Match.Func(&rows[i], nil), b.Time(i))
		}
	}
	o.on = false
	o.out.Flush()
	return nil
}

func (o *lookup[K, L, R, O]) change(b *columnar.Batch) {
	rows := columnar.Rows[changelog.Change[K, R]](b)
	o.table.begin(b)
	for i := range rows {
		o.state.SetKey(o.table.of(i, &rows[i]))
		if rows[i].Deleted() {
			o.rows.Clear()
			continue
		}
		o.rows.Set(rows[i].Value)
	}
}

// Close implements operators.Operator.
func (*lookup[K, L, R, O]) Close() error { return nil }
