package sourceop

import "github.com/leatstream/leat/dataflow"

// Generator makes the watermark of one split. It is used on one goroutine.
type Generator interface {
	// Observe takes the event times of records, in order. Times that are
	// absent (dataflow.TimeNone) or absurdly far ahead are left out.
	Observe(times []int64)
	// Watermark returns the time at or before which no record is expected any
	// more, dataflow.TimeMin when nothing can be said. Going back is allowed
	// and ignored.
	Watermark() int64
}

// BoundedOutOfOrderness returns a maker of generators that expect records at
// most millis behind the latest one. 0 expects ascending times.
func BoundedOutOfOrderness(millis int64) func() Generator {
	return func() Generator { return &bounded{delay: millis, latest: dataflow.TimeMin} }
}

type bounded struct {
	delay  int64
	latest int64
}

// Observe implements Generator.
func (g *bounded) Observe(times []int64) {
	latest := g.latest
	for _, t := range times {
		latest = max(latest, t)
	}
	g.latest = latest
}

// Watermark implements Generator. Records with the latest time itself may
// still come, hence the millisecond.
func (g *bounded) Watermark() int64 {
	return dataflow.AddTime(dataflow.AddTime(g.latest, -g.delay), -1)
}
