package cep

import (
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/cepop"
	"github.com/leatstream/leat/stream"
)

// Matches are the matches of a pattern in a keyed stream. They serve one
// function, Select or FlatSelect. Options are called before it, side outputs
// asked of it after.
type Matches[K comparable, T any] struct {
	keyed     *stream.KeyedStream[K, T]
	where     string
	automaton *cepop.Automaton[T]
	text      string
	rows      *codec.Codec[T]
	cfg       cepop.Config[K, T, struct{}]

	taken       bool
	node        stream.Extended
	timedOut    func(cepop.Side[T])
	hasTimedOut bool
}

// Detect looks for a pattern in the rows of each key.
func Detect[K comparable, T any](k *stream.KeyedStream[K, T], p *Pattern[T]) *Matches[K, T] {
	m := &Matches[K, T]{keyed: k, where: here()}
	if p == nil {
		stream.FailAt(k, m.where, "the pattern is nil")
		return m
	}
	m.text = p.String()
	faults := p.faults
	var err error
	if m.rows, err = codec.Of[T](); err != nil {
		faults = append(faults[:len(faults):len(faults)], cepop.Fault{Where: m.where, Text: err.Error()})
	}
	if len(faults) == 0 {
		m.automaton, faults = cepop.Compile(p.p)
	}
	for _, f := range faults {
		stream.FailAt(k, f.Where, f.Text)
	}
	return m
}

// ProcessingTime takes the rows as they come and measures time by the clock,
// so that no watermark is waited for. Results depend on the run then.
func (m *Matches[K, T]) ProcessingTime() *Matches[K, T] {
	m.cfg.Processing = true
	return m
}

// OrderBy orders rows of equal event time. Without it they are in the order
// of arrival, which is not always the same when they come on several ways.
func (m *Matches[K, T]) OrderBy(compare func(a, b T) int) *Matches[K, T] {
	if compare == nil {
		stream.FailAt(m.keyed, here(), "OrderBy: the comparison is nil")
	}
	m.cfg.Compare = compare
	return m
}

// PartialsMax bounds the partial matches of a key; one more fails the job. The
// default is 10,000: each is looked at with every row of its key.
func (m *Matches[K, T]) PartialsMax(n int) *Matches[K, T] {
	if n < 1 {
		stream.FailAt(m.keyed, here(), fmt.Sprintf("at most %d partial matches is less than 1", n))
	}
	m.cfg.PartialsMax = n
	return m
}

// Select makes a row of each match. Its event time is that of the row which
// made the match whole, or of the end of Within. It is stateful.
func Select[K comparable, T, R any](m *Matches[K, T], row func(Match[T]) R, opts ...stream.Option) *stream.DataStream[R] {
	return sel(m, here(), row == nil, func(x Match[T], emit func(R)) { emit(row(x)) }, opts)
}

// FlatSelect makes any number of rows of each match. emit is valid during the
// call only. It is stateful.
func FlatSelect[K comparable, T, R any](m *Matches[K, T], rows func(m Match[T], emit func(R)), opts ...stream.Option) *stream.DataStream[R] {
	return sel(m, here(), rows == nil, rows, opts)
}

func sel[K comparable, T, R any](m *Matches[K, T], where string, isNil bool, rows func(Match[T], func(R)), opts []stream.Option) *stream.DataStream[R] {
	if isNil {
		stream.FailAt(m.keyed, where, "the function that makes rows of matches is nil")
	}
	if m.taken {
		stream.FailAt(m.keyed, where, fmt.Sprintf("the matches of %s have a function already: make others with Detect", m.where))
	}
	m.taken = true
	f := &cepop.Factory[K, T, R]{Config: cepop.Config[K, T, R]{
		Rows: m.rows, Automaton: m.automaton, Processing: m.cfg.Processing, Compare: m.cfg.Compare,
		PartialsMax: m.cfg.PartialsMax, Select: rows,
	}}
	x := stream.Extension[K, T]{Op: "pattern", Detail: m.detail(), Where: where, EventTime: !m.cfg.Processing}
	if m.automaton != nil && m.rows != nil {
		x.New = func(in stream.Keyed[K, T]) operators.Factory {
			f.Key, f.Hasher, f.KeyCodec = in.Key, in.Hasher, in.Codec
			return f
		}
	}
	out, node := stream.Extend[R](m.keyed, x, opts...)
	m.node = node
	m.timedOut = func(s cepop.Side[T]) { f.TimedOut = s }
	return out
}

// TimedOut makes a row of each partial match that Within has ended. Partial
// matches that were whole once, and went on to repeat, are not among them.
// It is called once, after Select; without it they are counted only
// (numPartialMatchesTimedOut).
func TimedOut[K comparable, T, S any](m *Matches[K, T], row func(Match[T]) S) *stream.DataStream[S] {
	where := here()
	switch {
	case row == nil:
		stream.FailAt(m.keyed, where, "TimedOut: the function that makes rows is nil")
	case !m.taken:
		stream.FailAt(m.keyed, where, "TimedOut is asked of matches without a function: call Select or FlatSelect on them before")
		return stream.NoStream[S](m.keyed, where)
	case m.automaton != nil && !m.automaton.Timed():
		stream.FailAt(m.keyed, where, fmt.Sprintf("no partial match of pattern %s can time out: bound it with Within", m.text))
	case m.hasTimedOut:
		stream.FailAt(m.keyed, where, "TimedOut is called twice for the same matches: use its stream twice")
	}
	m.hasTimedOut = true
	m.timedOut(cepop.TimedOutTo(row))
	return stream.ExtendedSide[S](m.node, cepop.SideTimedOut, where)
}

// Late returns the rows that came behind the watermark and so could not be
// put in order. Without a consumer they are dropped and counted
// (numLateRecordsDropped). It is called after Select.
func (m *Matches[K, T]) Late() *stream.DataStream[T] {
	where := here()
	if !m.taken {
		stream.FailAt(m.keyed, where, "Late is asked of matches without a function: call Select or FlatSelect on them before")
		return stream.NoStream[T](m.keyed, where)
	}
	if m.cfg.Processing {
		stream.FailAt(m.keyed, where, "Late: by the clock no row is late")
	}
	return stream.ExtendedSide[T](m.node, dataflow.SideLate, where)
}

func (m *Matches[K, T]) detail() string {
	if m.cfg.Processing {
		return m.text + " by the clock"
	}
	return m.text
}
