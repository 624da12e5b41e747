package stream

import "github.com/leatstream/leat/operators/measure"

// IntCounter is an accumulator of a processor: a total over all subtasks.
//
// Its methods are Add and Value; `go doc
// github.com/leatstream/leat/operators/measure.IntCounter` shows them.
type IntCounter = measure.IntCounter

// FloatAccumulator is a sum, a maximum or a minimum over all subtasks.
//
// Its methods are Add and Value; `go doc
// github.com/leatstream/leat/operators/measure.Float` shows them.
type FloatAccumulator = measure.Float

// Meter measures how often something happens per second.
//
// Its methods are Mark, Count and Rate; `go doc
// github.com/leatstream/leat/operators/measure.Meter` shows them.
type Meter = measure.Meter

// Histogram tells how the latest values are spread.
//
// Its methods are Update, Count and Quantile; `go doc
// github.com/leatstream/leat/operators/measure.Histogram` shows them.
type Histogram = measure.Histogram
