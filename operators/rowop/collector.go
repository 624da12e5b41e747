package rowop

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
)

// collector gathers emitted rows into batches.
type collector[R any] struct {
	out    operators.Output
	pool   columnar.Pool[R]
	rows   []R
	times  []int64
	timed  bool
	split  string
	places []int64

	time  int64
	place int64
	known bool

	// hold keeps all rows of the row in work, however many, so that withdraw
	// can take them back; marked is their number at its begin.
	hold       bool
	marked     int
	markPlaces int
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
	if len(c.rows) >= columnar.BatchRowsMax && !c.hold {
		c.flush()
	}
}

// mark begins a row that may be withdrawn.
func (c *collector[R]) mark() { c.marked, c.markPlaces = len(c.rows), len(c.places) }

// withdraw forgets what was added since mark.
func (c *collector[R]) withdraw() {
	clear(c.rows[c.marked:])
	c.rows, c.times, c.places = c.rows[:c.marked], c.times[:c.marked], c.places[:c.markPlaces]
}

// spill emits what was gathered when that is a batch or more.
func (c *collector[R]) spill() {
	if len(c.rows) >= columnar.BatchRowsMax {
		c.flush()
	}
}

// flush emits what was gathered, cut into batches of at most
// columnar.BatchRowsMax rows.
func (c *collector[R]) flush() {
	n := len(c.rows)
	if n == 0 {
		return
	}
	placed := len(c.places) == n
	for from := 0; from < n; from += columnar.BatchRowsMax {
		to := min(from+columnar.BatchRowsMax, n)
		b := c.pool.Take(to-from, columnar.Times(c.timed))
		copy(columnar.Rows[R](b), c.rows[from:to])
		if c.timed {
			copy(b.Times, c.times[from:to])
		}
		if placed {
			b.Origin = &columnar.Origin{Split: c.split, Positions: c.places[from:to:to]}
		}
		c.out.Emit(b)
	}
	clear(c.rows)
	c.rows, c.times, c.places, c.timed = c.rows[:0], c.times[:0], nil, false
	if cap(c.rows) > 2*columnar.BatchRowsMax { // a burst
		c.rows, c.times = nil, nil
	}
	c.marked, c.markPlaces = 0, 0
}
