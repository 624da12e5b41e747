package stream

import "github.com/leatstream/leat/operators/measure"

// IntCounter is an accumulator of a processor: a total over all subtasks.
type IntCounter = measure.IntCounter

// FloatAccumulator is a sum, a maximum or a minimum over all subtasks.
type FloatAccumulator = measure.Float

// Meter measures how often something happens per second.
type Meter = measure.Meter

// Histogram tells how the latest values are spread.
type Histogram = measure.Histogram
