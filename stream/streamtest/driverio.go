package streamtest

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/stream"
)

// Source returns a source for a topology that a Driver runs: it has no rows
// of its own. Those that are pushed are like like, of which only the type
// matters.
func Source[T any](like T) connectors.SourceOf[T] { return newStandIn[T]("test input") }

// Sink returns a sink of rows like like for a topology that a Driver runs.
func Sink[T any](like T) connectors.SinkOf[T] { return newStandIn[T]("test output") }

// ExplicitWatermarks gives a source event time that moves only by
// DriverInput.Watermark.
func ExplicitWatermarks() stream.SourceOption { return explicitWatermarks() }

// DriverInput pushes into one source of a Driver's job, or into one split of
// it (Split).
type DriverInput[T any] struct {
	d     *Driver
	uid   string
	split int // allSplits: rows go to the first
}

const allSplits = -1

// driverSplitsMax bounds the splits of an input: a mistaken number must not
// fill the memory.
const driverSplitsMax = 10_000

// Input returns the input that stands in for the source of that UID, whose
// rows are like like, of which only the type matters. What the job says of the source holds: its function for
// timestamps, and its watermark strategy after each single row. Watermarks can
// be pushed besides.
func Input[T any](d *Driver, uid string, like T) *DriverInput[T] {
	d.tb.Helper()
	in := &DriverInput[T]{d: d, uid: uid, split: allSplits}
	if d.err != nil {
		return in
	}
	state := d.inputs[uid]
	if state == nil {
		d.fail(d.unknown("source", uid))
		return in
	}
	if src := state.cfg.Source; src != nil && src.RowType() != nil {
		if want := reflect.TypeFor[T]().String(); src.RowType().Name() != want {
			d.fail(fmt.Errorf("the rows of source %q are %s, not %s", uid, src.RowType().Name(), want))
		}
	}
	return in
}

// Split returns split n of the source alone, such as a partition of a topic,
// counted from 0: the source's watermark is the least over its splits that are
// not idle. An input has one split until others are asked for, which makes all
// up to n. Rows pushed into the input itself go to the first; its Watermark,
// Idle and End are those of all its splits.
func (in *DriverInput[T]) Split(n int) *DriverInput[T] {
	in.d.tb.Helper()
	one := &DriverInput[T]{d: in.d, uid: in.uid, split: n}
	s := in.d.inputs[in.uid]
	switch {
	case in.d.err != nil || s == nil:
		one.split = 0
	case n < 0 || n >= driverSplitsMax:
		one.split = 0
		in.d.fail(fmt.Errorf("split %d of input %q: splits are counted from 0, and there are at most %d", n, in.uid, driverSplitsMax))
	case n < len(s.feed.splits):
	case s.feed.splits[0].ended:
		in.d.fail(fmt.Errorf("split %d of input %q: it has ended without one", n, in.uid))
	default:
		s.feed.grow(n + 1)
		if in.d.started {
			in.d.do(func(l *life) error { return l.tell(s.feed) })
		}
	}
	return one
}

// Push gives rows to the job, one after the other. Their event times are what
// the job's function for timestamps says; without one they have none.
func (in *DriverInput[T]) Push(rows ...T) {
	in.d.tb.Helper()
	in.push(dataflow.TimeNone, rows)
}

// PushAt gives rows that carry a time, as records of Kafka do. It is their
// event time unless the job has a function for timestamps.
func (in *DriverInput[T]) PushAt(at time.Time, rows ...T) {
	in.d.tb.Helper()
	in.push(at.UnixMilli(), rows)
}

func (in *DriverInput[T]) push(millis int64, rows []T) {
	in.d.tb.Helper()
	for _, row := range rows {
		in.d.do(func(l *life) error { return in.pushOne(l, millis, row) })
	}
}

func (in *DriverInput[T]) pushOne(l *life, millis int64, row T) error {
	if err := l.room(); err != nil {
		return err
	}
	s := in.d.inputs[in.uid]
	n := max(0, in.split)
	split := &s.feed.splits[n]
	if split.ended {
		return fmt.Errorf("input %q has ended: nothing can be pushed any more", in.uid)
	}
	b := columnar.NewBatch([]T{row}, nil)
	if millis != dataflow.TimeNone {
		b.Times = []int64{millis}
	}
	if s.cfg.Stamp != nil {
		b.Times = s.cfg.Stamp(b)
	}
	at := b.Time(0)
	if err := l.give(s.feed, n, int(split.rows)%len(l.subtasksOf(s.feed)), b, 1); err != nil {
		return err
	}
	gen := s.generator(n)
	if gen == nil || at == dataflow.TimeNone {
		return nil
	}
	gen.Observe([]int64{at})
	split.wm = max(split.wm, gen.Watermark())
	return l.tell(s.feed)
}

// Watermark says that no row at or before at follows. One that lies behind
// the watermark has no effect.
func (in *DriverInput[T]) Watermark(at time.Time) {
	in.d.tb.Helper()
	in.change(func(s *feedSplit) { s.wm = max(s.wm, at.UnixMilli()) })
}

// Idle says that the input holds back no watermark until its next row.
func (in *DriverInput[T]) Idle() {
	in.d.tb.Helper()
	in.change(func(s *feedSplit) { s.idle, s.lapsed = true, false })
}

// End ends the input.
func (in *DriverInput[T]) End() {
	in.d.tb.Helper()
	in.change(func(s *feedSplit) { s.ended = true })
}

func (in *DriverInput[T]) change(change func(*feedSplit)) {
	in.d.tb.Helper()
	in.d.do(func(l *life) error {
		f := in.d.inputs[in.uid].feed
		for i := range f.splits {
			if in.split == allSplits || in.split == i {
				change(&f.splits[i])
			}
		}
		return l.tell(f)
	})
}

// PushDeadLetter gives a record that the source could not decode to the
// source's dead letters.
func (in *DriverInput[T]) PushDeadLetter(letter connectors.DeadLetter) {
	in.d.tb.Helper()
	in.d.do(func(l *life) error {
		s := l.subtasksOf(in.d.inputs[in.uid].feed)[0]
		if !s.out.HasSide(dataflow.SideDeadLetter) {
			return fmt.Errorf("source %q has no consumer of dead letters: a record that cannot be decoded fails the job", in.uid)
		}
		letter.Operator = in.uid
		s.out.EmitSide(dataflow.SideDeadLetter, columnar.NewBatch([]connectors.DeadLetter{letter}, []int64{letter.Timestamp}))
		return nil
	})
}

// TimedRow is a row with its event time, zero when it has none.
type TimedRow[T any] struct {
	// At is the event time.
	At time.Time
	// Row is what came out.
	Row T
}

// DriverOutput reads rows in the order in which they came out.
type DriverOutput[T any] struct {
	d    *Driver
	rows captured[T]
}

// Output returns what the sink of that UID is given, or what the operator of
// that UID emits, whoever takes it. It is asked for before the job starts.
func Output[T any](d *Driver, uid string, like T) *DriverOutput[T] {
	d.tb.Helper()
	return SideOutput(d, uid, "", like)
}

// SideOutput returns what an operator emits on a side output: the name of a
// stream.SideTag, dataflow.SideLate or dataflow.SideDeadLetter. When the job
// itself reads side outputs of the operator, another name ends the test; when
// it reads none, nothing tells which names there are. It is asked for before
// the job starts.
func SideOutput[T any](d *Driver, uid, name string, like T) *DriverOutput[T] {
	d.tb.Helper()
	out := &DriverOutput[T]{d: d}
	switch {
	case d.err != nil:
		return out
	case d.started:
		d.fail(fmt.Errorf("output %q is asked for after the job has started: operators decide at their start which outputs are wanted", uid))
		return out
	}
	known := false
	for _, n := range d.run.graph.Nodes {
		known = known || n.UID == uid
	}
	if !known {
		d.fail(d.unknown("operator", uid))
		return out
	}
	if err := d.checkRows(uid, name, reflect.TypeFor[T]().String()); err != nil {
		d.fail(err)
		return out
	}
	if err := d.checkSide(uid, name); err != nil {
		d.fail(err)
		return out
	}
	d.run.capture(port{uid, name}, &out.rows)
	return out
}

// checkSide reports a side output that the job does not read, if it reads
// others of the operator.
func (d *Driver) checkSide(uid, name string) error {
	if name == "" || name == dataflow.SideLate || name == dataflow.SideDeadLetter {
		return nil
	}
	var have []string
	for _, e := range d.run.graph.Edges {
		if e.From == dataflow.OperatorIDOf(uid) && e.Output != "" && !slices.Contains(have, e.Output) {
			have = append(have, e.Output)
		}
	}
	if len(have) == 0 || slices.Contains(have, name) {
		return nil
	}
	return fmt.Errorf("operator %q has no side output %q that the job reads, only %q", uid, name, have)
}

// checkRows compares the type of the rows on a port, where it is known, with
// that which the test wants.
func (d *Driver) checkRows(uid, output, want string) error {
	id := dataflow.OperatorIDOf(uid)
	for _, e := range d.run.graph.Edges {
		read := e.From == id && e.Output == output
		written := e.To == id && output == "" && d.run.replace[uid] != nil
		if t, ok := e.Type.(columnar.RowType); ok && (read || written) && t.Name() != want {
			return fmt.Errorf("the rows of %q are %s, not %s", uid, t.Name(), want)
		}
	}
	return nil
}

// Len returns the number of rows that were not taken yet.
func (o *DriverOutput[T]) Len() int { return o.rows.len() }

// Take returns the rows that came out since the last Take, nil when none did.
func (o *DriverOutput[T]) Take() []T {
	rows := o.rows.rows
	o.rows = captured[T]{}
	return rows
}

// TakeTimed is Take with the rows' event times.
func (o *DriverOutput[T]) TakeTimed() []TimedRow[T] {
	var out []TimedRow[T]
	for i, row := range o.rows.rows {
		t := TimedRow[T]{Row: row}
		if at := o.rows.times[i]; at != dataflow.TimeNone {
			t.At = time.UnixMilli(at).UTC()
		}
		out = append(out, t)
	}
	o.rows = captured[T]{}
	return out
}

// Next takes one row; ok is false when there is none.
func (o *DriverOutput[T]) Next() (row T, ok bool) {
	if o.rows.len() == 0 {
		return row, false
	}
	row = o.rows.rows[0]
	o.rows.rows, o.rows.times = o.rows.rows[1:], o.rows.times[1:]
	return row, true
}

// Await lets results of the job's own goroutines come in until n rows are
// there.
func (o *DriverOutput[T]) Await(n int) {
	o.d.tb.Helper()
	o.d.Await(func() bool { return o.Len() >= n })
}
