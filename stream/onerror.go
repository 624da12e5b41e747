package stream

import (
	"fmt"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/rowop"
)

// ErrorPolicy says what an operator does with a record that its function, or
// its format, refuses with an error. Panics fail the attempt by any policy.
type ErrorPolicy = operators.ErrorPolicy

// Error policies.
const (
	// Fail fails the attempt, which then starts again from the last
	// checkpoint. It is the default.
	Fail = operators.Fail
	// SkipRecord counts the record (numRecordsSkipped) and goes on.
	SkipRecord = operators.SkipRecord
	// ToDeadLetters counts it (numRecordsDeadLettered) and gives it to
	// DeadLetters.
	ToDeadLetters = operators.ToDeadLetters
)

// OnError sets the error policy of a source, a sink, a processor, also of
// windows, of Async, or of a step by TryMap, TryFilter or TryFlatMap. A record that is set aside leaves nothing
// behind: what its call emitted, changed in state, and set in timers is taken
// back; fields of a processor and metrics are not. A timer whose OnTimer fails
// is set aside likewise and does not fire again. Of a window that is refused the
// rows stay: with the next late row it is asked again.
func OnError(p ErrorPolicy) Option {
	return nodeOption(func(n *graph.Node) { n.OnError = string(p) })
}

// checkPolicy reports an error policy that cannot be carried out.
func (e *Env) checkPolicy(n *graph.Node, fallible bool) {
	switch ErrorPolicy(n.OnError) {
	case Fail:
	case SkipRecord, ToDeadLetters:
		if !fallible {
			e.fail(n.Where, "OnError on %q: a %s has no errors of records: use TryMap, TryFilter, TryFlatMap or a processor, before it or behind it", n.Name, n.Op)
		}
	default:
		e.fail(n.Where, "OnError on %q: there is no policy %q: use stream.Fail, stream.SkipRecord or stream.ToDeadLetters", n.Name, n.OnError)
	}
}

// unreadLetters returns a fault for each operator whose dead letters nobody
// takes.
func (e *Env) unreadLetters() (faults []error) {
	read := make(map[dataflow.OperatorID]bool)
	for _, edge := range e.graph.Edges {
		read[edge.From] = read[edge.From] || edge.Output == dataflow.SideDeadLetter
	}
	for _, n := range e.graph.Nodes {
		if ErrorPolicy(n.OnError) == ToDeadLetters && !read[n.ID] {
			faults = append(faults, fmt.Errorf("%s: the dead letters of %q go nowhere: give stream.DeadLetters of it to a sink, or use stream.SkipRecord", n.Where, n.Name))
		}
	}
	return faults
}

// TryMap is Map by a function that may refuse a row with an error; OnError
// says what happens then.
func TryMap[T, R any](d *DataStream[T], fn func(T) (R, error), opts ...Option) *DataStream[R] {
	return try[T, R](d, "try-map", fn == nil, rowop.TryMap(fn), opts)
}

// TryFlatMap is FlatMap by a function that may refuse a row with an error;
// OnError says what happens then. What it emitted for that row is taken back.
func TryFlatMap[T, R any](d *DataStream[T], fn func(v T, emit func(R)) error, opts ...Option) *DataStream[R] {
	return try[T, R](d, "try-flat-map", fn == nil, rowop.TryFlatMap(fn), opts)
}

// TryFilter is Filter by a function that may refuse a row with an error;
// OnError says what happens then.
func (d *DataStream[T]) TryFilter(keep func(T) (bool, error), opts ...Option) *DataStream[T] {
	return try[T, T](d, "try-filter", keep == nil, rowop.TryFilter(keep), opts)
}

func try[T, R any](d *DataStream[T], op string, missing bool, f operators.Factory, opts []Option) *DataStream[R] {
	where := callSite()
	needFunctions(d.env, where, op, missing)
	out := rowTypeOf[R](d.env, where)
	s := step{op: op, kind: graph.KindOperator, factory: f, out: out, where: where, fallible: true}
	return then[R](d.env, d.env.add(s, d.ports, d.typ, opts), out, d.untimed)
}

// Failing is what records can be set aside by: a stream, meaning the operator
// that it comes from, or what To returned.
type Failing interface {
	failing() (e *Env, ports []port, untimed timing)
}

func (d *DataStream[T]) failing() (*Env, []port, timing) { return d.env, d.ports, d.untimed }

// SinkStep is the end of a stream in a sink.
type SinkStep struct {
	env     *Env
	node    *graph.Node
	untimed timing
}

func (s *SinkStep) failing() (*Env, []port, timing) {
	return s.env, []port{{node: s.node, part: graph.Forward}}, s.untimed
}

// DeadLetters returns the records that an operator set aside, by the policy
// ToDeadLetters; of a source, also without a policy, those that it could not
// decode. Without a consumer such a record of a source fails the job.
func DeadLetters(of Failing) *DataStream[connectors.DeadLetter] {
	where := callSite()
	e, ports, untimed := of.failing()
	d := &DataStream[connectors.DeadLetter]{env: e, untimed: untimed, typ: rowTypeOf[connectors.DeadLetter](e, where)}
	for _, p := range ports {
		switch {
		case p.node == nil:
		case p.node.Kind == graph.KindSource && ErrorPolicy(p.node.OnError) != SkipRecord,
			ErrorPolicy(p.node.OnError) == ToDeadLetters:
			d.ports = append(d.ports, port{node: p.node, output: dataflow.SideDeadLetter, part: graph.Forward})
		default:
			e.fail(where, "dead letters are asked of operator %q, which has none: give it stream.OnError(stream.ToDeadLetters)", p.node.Name)
		}
	}
	return d
}
