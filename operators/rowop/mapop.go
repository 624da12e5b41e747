package rowop

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// Map returns the factory of an operator that replaces each row by fn of it.
// Event time and origin stay.
func Map[T, R any](fn func(T) R) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &mapper[T, R]{fn: fn} })
}

type mapper[T, R any] struct {
	base
	fn func(T) R
}

var _ operators.Positioner = (*mapper[int, int])(nil)

// Process implements operators.Operator.
func (o *mapper[T, R]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	in := columnar.Rows[T](b)
	// With equal types an unshared batch is changed in place.
	out, same := any(in).([]R)
	if !same || b.Shared {
		out = make([]R, len(in))
	}
	for i := range in {
		o.at = i
		out[i] = o.fn(in[i])
	}
	o.end()
	o.out.Emit(&columnar.Batch{Rows: out, Times: b.Times, Origin: b.Origin, Shared: b.Shared && b.Times != nil})
	return nil
}

// FlatMap returns the factory of an operator that replaces each row by the
// rows that fn emits for it, which take its event time.
func FlatMap[T, R any](fn func(v T, emit func(R))) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator { return &flatMapper[T, R]{fn: fn} })
}

type flatMapper[T, R any] struct {
	base
	fn  func(v T, emit func(R))
	buf collector[R]
}

// Open implements operators.Operator.
func (o *flatMapper[T, R]) Open(ctx *operators.Context) error {
	o.buf.out = ctx.Out
	return o.base.Open(ctx)
}

// Process implements operators.Operator.
func (o *flatMapper[T, R]) Process(_ int, b *columnar.Batch) error {
	o.begin(b)
	in := columnar.Rows[T](b)
	emit := o.buf.add
	for i := range in {
		o.at = i
		o.buf.row(b, i)
		o.fn(in[i], emit)
	}
	o.end()
	o.buf.flush()
	return nil
}

// collector gathers emitted rows into batches.
type collector[R any] struct {
	out    operators.Output
	rows   []R
	times  []int64
	timed  bool
	split  string
	places []int64

	time  int64
	place int64
	known bool
}

// row says that what is added from now on comes of row i of b.
func (c *collector[R]) row(b *columnar.Batch, i int) {
	c.at(b.Time(i), b.Times != nil)
	c.known = b.Origin != nil
	if c.known {
		c.split, c.place = b.Origin.Split, b.Origin.At(i)
	}
}

// at sets the event time of what is added from now on.
func (c *collector[R]) at(t int64, timed bool) {
	c.time = t
	c.timed = c.timed || timed
}

func (c *collector[R]) add(v R) {
	c.rows = append(c.rows, v)
	c.times = append(c.times, c.time)
	if c.known {
		c.places = append(c.places, c.place)
	}
	if len(c.rows) >= columnar.BatchRowsMax {
		c.flush()
	}
}

// flush emits what was gathered. The memory goes with it.
func (c *collector[R]) flush() {
	if len(c.rows) == 0 {
		return
	}
	b := &columnar.Batch{Rows: c.rows}
	if c.timed {
		b.Times = c.times
	}
	if len(c.places) == len(c.rows) {
		b.Origin = &columnar.Origin{Split: c.split, Positions: c.places}
	}
	n := len(c.rows)
	c.rows, c.times, c.places, c.timed = make([]R, 0, n), make([]int64, 0, n), nil, false
	c.out.Emit(b)
}
