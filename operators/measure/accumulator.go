package measure

import (
	"math"
	"sync/atomic"

	"github.com/leatstream/leat/operators"
)

// AccumulatorPrefix begins the names of metrics that are accumulators; the
// kind and a dot follow, then the accumulator's own name. It is a contract
// with whoever merges them.
const AccumulatorPrefix = "accumulator."

// Kinds of accumulators, by the names that Flink's REST API gives them.
const (
	KindLong    = "LongCounter"
	KindDouble  = "DoubleCounter"
	KindMaximum = "DoubleMaximum"
	KindMinimum = "DoubleMinimum"
)

// IntCounter adds up integers over all subtasks of a job. It is safe for
// concurrent use. Totals beyond 2^53 lose their last digits.
type IntCounter struct{ c operators.Counter }

// NewIntCounter registers the accumulator of that name.
func NewIntCounter(m operators.Metrics, name string) *IntCounter {
	return &IntCounter{m.Counter(AccumulatorPrefix + KindLong + "." + name)}
}

// Add adds n.
func (a *IntCounter) Add(n int64) { a.c.Add(n) }

// Value returns what this subtask has added.
func (a *IntCounter) Value() int64 { return a.c.Value() }

// Float is an accumulator of floating-point numbers: a sum, a maximum or a
// minimum over all subtasks of a job. It is safe for concurrent use.
type Float struct {
	bits atomic.Uint64
	fold func(a, b float64) float64
}

// NewFloatCounter registers a sum.
func NewFloatCounter(m operators.Metrics, name string) *Float {
	return newFloat(m, KindDouble, name, 0, func(a, b float64) float64 { return a + b })
}

// NewMaximum registers a maximum; it is -Inf before the first value.
func NewMaximum(m operators.Metrics, name string) *Float {
	return newFloat(m, KindMaximum, name, math.Inf(-1), math.Max)
}

// NewMinimum registers a minimum; it is +Inf before the first value.
func NewMinimum(m operators.Metrics, name string) *Float {
	return newFloat(m, KindMinimum, name, math.Inf(1), math.Min)
}

func newFloat(m operators.Metrics, kind, name string, zero float64, fold func(a, b float64) float64) *Float {
	a := &Float{fold: fold}
	a.bits.Store(math.Float64bits(zero))
	m.Gauge(AccumulatorPrefix+kind+"."+name, a.Value)
	return a
}

// Add folds v in.
func (a *Float) Add(v float64) {
	for {
		old := a.bits.Load()
		if a.bits.CompareAndSwap(old, math.Float64bits(a.fold(math.Float64frombits(old), v))) {
			return
		}
	}
}

// Value returns what this subtask has come to.
func (a *Float) Value() float64 { return math.Float64frombits(a.bits.Load()) }
