package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators/sourceop"
)

type sourceConfig struct {
	node     *graph.Node
	run      sourceop.Config
	strategy *WatermarkStrategy
	// stampOf is a zero T of the extractor's row type, to compare.
	stampOf any
}

type sourceOption func(*sourceConfig)

func (o sourceOption) applySource(c *sourceConfig) { o(c) }

// From begins a stream with a source. A source remembers how far it has read
// and needs a UID.
func From[T any](e *Env, src connectors.SourceOf[T], opts ...SourceOption) *DataStream[T] {
	where := callSite()
	rowTypeOf[T](e, where) // a source keeps its own fault until it is started
	e.check(where, src.Name(), src)
	n := &graph.Node{
		Kind: graph.KindSource, Op: "source", Stateful: true, Bounded: src.Bounded(),
		OutSchema: schemaOf(src.RowType()), Where: where,
	}
	c := &sourceConfig{node: n, run: sourceop.Config{Source: src}}
	for _, o := range opts {
		o.applySource(c)
	}
	n.Detail = src.Name() + " " + src.Detail()
	if c.strategy != nil {
		n.Detail += " watermarks " + c.strategy.String()
		c.strategy.apply(&c.run)
	}
	if _, ok := c.stampOf.(T); c.stampOf != nil && !ok {
		e.fail(where, "the timestamp function takes %T, but rows of source %q are %s", c.stampOf, src.Name(), src.RowType().Name())
	}
	if c.strategy != nil && c.strategy.contradicts() {
		e.fail(where, "source %q has NoWatermarks with PerRow, WithIdleness or WithFutureMax, which say how watermarks are made: leave them out, or choose another strategy", src.Name())
	}
	n.Factory = sourceop.New(c.run)
	untimed := c.untimed()
	e.addNode(n)
	e.checkPolicy(n, true)
	return then[T](e, n, src.RowType(), untimed)
}

// untimed says what the source lacks for event time, as far as that can be
// told before it runs.
func (c *sourceConfig) untimed() timing {
	at := fmt.Sprintf("(at %s)", c.node.Where)
	if c.node.UID != "" {
		at = fmt.Sprintf("(UID %q, at %s)", c.node.UID, c.node.Where)
	}
	if c.strategy == nil {
		return timing{lacks: fmt.Sprintf("source %q %s has no watermarks: add stream.Watermarks to its From", c.run.Source.Name(), at)}
	}
	bare := ""
	if t, ok := c.run.Source.(connectors.Timeless); ok && t.Timeless() && c.run.Stamp == nil {
		bare = fmt.Sprintf("the rows of source %q %s have no times: add stream.Timestamps to its From", c.run.Source.Name(), at)
	}
	if c.strategy.aside {
		return timing{
			lacks: fmt.Sprintf("source %q %s has NoWatermarks and no other input moves event time: choose another strategy", c.run.Source.Name(), at),
			aside: true, bare: bare,
		}
	}
	return timing{lacks: bare}
}

// Timestamps takes the event time of each row from it, instead of from the
// source's own record. A zero time is none.
func Timestamps[T any](at func(T) time.Time) SourceOption {
	return TimestampMillis(func(v T) int64 {
		t := at(v)
		if t.IsZero() {
			return dataflow.TimeNone
		}
		return t.UnixMilli()
	})
}

// TimestampMillis is Timestamps in milliseconds since the epoch.
func TimestampMillis[T any](at func(T) int64) SourceOption {
	return sourceOption(func(c *sourceConfig) {
		var zero T
		c.stampOf = zero
		c.run.Stamp = func(b *columnar.Batch) []int64 {
			rows := columnar.Rows[T](b)
			times := b.Times
			if len(times) != len(rows) || b.Shared {
				times = make([]int64, len(rows))
			}
			for i := range rows {
				times[i] = at(rows[i])
			}
			return times
		}
	})
}

// WatermarkInterval is the least time between two watermarks while records
// flow (default 100 ms).
func WatermarkInterval(d time.Duration) SourceOption {
	return sourceOption(func(c *sourceConfig) { c.run.WatermarkInterval = d })
}

// WatermarkStrategy says how far event time has come, given the records of a
// split. The watermark of a source is the least over its splits that are not
// idle.
type WatermarkStrategy struct {
	text      string
	generator func() sourceop.Generator
	aside     bool
	perRow    bool
	idle      time.Duration
	future    time.Duration
}

// Watermarks gives a source watermarks, which windows and timers need. Rows of
// a source whose records carry no times, such as files, need Timestamps too.
func Watermarks(s WatermarkStrategy) SourceOption {
	return sourceOption(func(c *sourceConfig) { c.strategy = &s })
}

// Monotonous expects ascending event times in each split.
func Monotonous() WatermarkStrategy {
	return WatermarkStrategy{text: "monotonous", generator: sourceop.BoundedOutOfOrderness(0)}
}

// BoundedOutOfOrderness expects records at most d behind the latest one of
// their split.
func BoundedOutOfOrderness(d time.Duration) WatermarkStrategy {
	return WatermarkStrategy{text: "bounded " + d.String(), generator: sourceop.BoundedOutOfOrderness(d.Milliseconds())}
}

// NoWatermarks is for reference data, such as a table read from a compacted
// topic that changes seldom: the source takes no part in event time. Its
// splits are idle from the first moment and stay so, rows or not, caught up or
// not. So the other inputs of a step alone move the watermark.
//
//   - Its rows keep their event times. One that comes behind the watermark of
//     the others is late, as any other is: a temporal join takes such a change
//     for the rows to come and corrects none that came out; an interval join
//     and a window set such a row aside.
//   - Nothing waits for the source: neither until it has been read as far as it
//     reaches when the job starts, nor when it lags. Where that matters,
//     BoundedOutOfOrderness(0) with a short WithIdleness waits until a split
//     has delivered all there is.
//   - A step whose inputs are all such has no event time: windows, joins by
//     time and the like are faults of the program, and timers by event time
//     fire only when all inputs have ended.
//   - The end of such a source, if it is bounded, moves the watermark of no
//     step that has another input left. The end of the other inputs moves it to
//     the end of time, though this source may go on.
//
// It takes no PerRow, WithIdleness or WithFutureMax. A source without the
// option Watermarks has no watermarks either, but holds those of others back.
func NoWatermarks() WatermarkStrategy { return WatermarkStrategy{text: "none", aside: true} }

// WatermarkGenerator makes the watermark of one split, in milliseconds since
// the epoch.
type WatermarkGenerator = sourceop.Generator

// CustomWatermarks makes watermarks by generators of the program, one for
// each split; name is part of the graph's identity. A generator is asked after
// rows that have a time, of which it observes those: one that goes by the clock
// alone says nothing before.
func CustomWatermarks(name string, generator func() WatermarkGenerator) WatermarkStrategy {
	return WatermarkStrategy{text: "custom " + name, generator: generator}
}

// PerRow lets the watermark advance after each single row instead of each
// batch: what is late then depends on the order of rows alone. It is slow.
func (s WatermarkStrategy) PerRow() WatermarkStrategy {
	s.perRow = true
	return s
}

// WithIdleness is the time after which a split that has delivered all there
// is no longer holds back the watermark; the default is a minute. Negative:
// never.
func (s WatermarkStrategy) WithIdleness(d time.Duration) WatermarkStrategy {
	s.idle = d
	return s
}

// WithFutureMax bounds how far ahead of the clock an event time may lie to
// move the watermark; the default is a year. Negative: no bound.
func (s WatermarkStrategy) WithFutureMax(d time.Duration) WatermarkStrategy {
	s.future = d
	return s
}

// String implements fmt.Stringer: the text in graphs.
func (s WatermarkStrategy) String() string {
	text := s.text
	if s.perRow {
		text += " per row"
	}
	if s.idle != 0 {
		text += fmt.Sprintf(" idle %s", s.idle)
	}
	return text
}

// contradicts reports settings that have no meaning without watermarks.
func (s WatermarkStrategy) contradicts() bool {
	return s.aside && (s.perRow || s.idle != 0 || s.future != 0)
}

func (s WatermarkStrategy) apply(c *sourceop.Config) {
	c.Aside = s.aside
	c.Generator, c.PerRow, c.IdleAfter, c.FutureMax = s.generator, s.perRow, s.idle, s.future
}
