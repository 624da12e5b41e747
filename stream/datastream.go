package stream

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/rowop"
	"github.com/leatstream/leat/operators/sinkop"
)

// DataStream is a stream of rows of type T. It is a description: a value may
// be used as input of any number of steps.
type DataStream[T any] struct {
	env     *Env
	ports   []port
	typ     columnar.RowType // nil after a fault
	untimed timing
	// late makes the stream of late rows of a side of a join of windows; nil
	// for other streams.
	late lateSides
}

// port is one output of a node with the way its rows are spread.
type port struct {
	node   *graph.Node
	output string
	part   graph.Partitioning
	key    any
	custom any
}

// rowTypeOf compiles T; a type that cannot be encoded is a fault of the call.
func rowTypeOf[T any](e *Env, where string) columnar.RowType {
	t, err := columnar.TypeOf[T]()
	if err != nil {
		e.fail(where, "%w", err)
		return nil
	}
	return t
}

func schemaOf(t columnar.RowType) string {
	if t == nil {
		return ""
	}
	return t.Schema()
}

// step describes an operator to be added.
type step struct {
	op       string
	kind     graph.Kind
	detail   string
	factory  operators.Factory
	stateful bool
	keyed    bool
	fallible bool // it has errors of records
	out      columnar.RowType
	where    string
}

// input is one input of an operator: what feeds it and the type of its rows.
type input struct {
	ports []port
	typ   columnar.RowType
}

// in returns d as an input of an operator.
func (d *DataStream[T]) in() input { return input{ports: d.ports, typ: d.typ} }

// add appends a node with one input, and returns it.
func (e *Env) add(s step, ins []port, in columnar.RowType, opts []Option) *graph.Node {
	return e.addInputs(s, []input{{ports: ins, typ: in}}, opts)
}

// addInputs appends a node; ins[i] feeds its input i.
func (e *Env) addInputs(s step, ins []input, opts []Option) *graph.Node {
	n := &graph.Node{
		Kind: s.kind, Op: s.op, Detail: s.detail, Stateful: s.stateful, Keyed: s.keyed,
		OutSchema: schemaOf(s.out), Where: s.where, Factory: s.factory,
	}
	for _, o := range opts {
		o.applyNode(n)
	}
	e.addNode(n)
	e.checkPolicy(n, s.fallible)
	for i, in := range ins {
		for _, p := range in.ports {
			if p.node == nil {
				continue
			}
			if k, ok := p.key.(columnar.KeyDescriber); ok && n.Keyed {
				n.KeySchema = k.KeySchema()
			}
			e.graph.Edges = append(e.graph.Edges, &graph.Edge{
				From: p.node.ID, To: n.ID, Output: p.output, Input: i, Partitioning: p.part,
				Schema: schemaOf(in.typ), Type: in.typ, Key: p.key, Custom: p.custom,
			})
		}
	}
	return n
}

// addNode gives n its identity and appends it.
func (e *Env) addNode(n *graph.Node) {
	e.count[n.Op]++
	if n.UID == "" {
		if n.Stateful {
			e.fail(n.Where, "%s has state and needs a name for good: add stream.UID(%q)", n.Op, n.Op)
		}
		n.UID = fmt.Sprintf("%s#%d", n.Op, e.count[n.Op])
	}
	if first, dup := e.uids[n.UID]; dup {
		e.fail(n.Where, "two operators have UID %q (the other at %s)", n.UID, first)
		// Later faults are found with a UID that is at least unique.
		n.UID = fmt.Sprintf("%s#%d", n.UID, len(e.graph.Nodes))
	}
	e.uids[n.UID] = n.Where
	n.ID = dataflow.OperatorIDOf(n.UID)
	if n.Name == "" {
		n.Name = n.UID
	}
	if n.Parallelism < 0 || n.Parallelism > e.graph.MaxParallelism {
		e.fail(n.Where, "operator %q: its parallelism is not between 1 and the maximum parallelism %d", n.Name, e.graph.MaxParallelism)
	}
	e.graph.Nodes = append(e.graph.Nodes, n)
}

// then returns the main output of n as a stream with the inputs' event time.
func then[R any](e *Env, n *graph.Node, t columnar.RowType, untimed timing) *DataStream[R] {
	return &DataStream[R]{env: e, ports: []port{{node: n, part: graph.Forward}}, typ: t, untimed: untimed}
}

// Filter keeps the rows for which keep holds; the others are counted
// (numRecordsFiltered).
func (d *DataStream[T]) Filter(keep func(T) bool, opts ...Option) *DataStream[T] {
	s := step{op: "filter", kind: graph.KindOperator, factory: rowop.Filter(keep), out: d.typ, where: callSite()}
	needFunctions(d.env, s.where, "filter", keep == nil)
	return then[T](d.env, d.env.add(s, d.ports, d.typ, opts), d.typ, d.untimed)
}

// Union returns the rows of this stream and the others, in no particular order.
func (d *DataStream[T]) Union(others ...*DataStream[T]) *DataStream[T] {
	u := *d
	u.ports = append([]port(nil), d.ports...)
	for _, o := range others {
		u.ports = append(u.ports, o.ports...)
		u.untimed = timingOfBoth(u.untimed, o.untimed)
	}
	return &u
}

// Rebalance spreads the rows round robin over all subtasks of the next step.
func (d *DataStream[T]) Rebalance() *DataStream[T] { return d.spread(graph.Rebalance, nil, nil) }

// Rescale spreads the rows round robin over a near group of subtasks.
func (d *DataStream[T]) Rescale() *DataStream[T] { return d.spread(graph.Rescale, nil, nil) }

// Broadcast gives each row to every subtask of the next step.
func (d *DataStream[T]) Broadcast() *DataStream[T] { return d.spread(graph.Broadcast, nil, nil) }

// Global gives all rows to the first subtask of the next step.
func (d *DataStream[T]) Global() *DataStream[T] { return d.spread(graph.Global, nil, nil) }

// Partition spreads the rows by a function: its result, modulo parallelism,
// is the subtask of the next step.
func (d *DataStream[T]) Partition(subtask func(v T, parallelism int) int) *DataStream[T] {
	needFunctions(d.env, callSite(), "Partition", subtask == nil)
	custom := func(rows any, i, parallelism int) int {
		n := subtask(rows.([]T)[i], parallelism) % parallelism
		if n < 0 {
			n += parallelism
		}
		return n
	}
	return d.spread(graph.Custom, nil, custom)
}

func (d *DataStream[T]) spread(p graph.Partitioning, key, custom any) *DataStream[T] {
	s := *d
	s.ports = make([]port, len(d.ports))
	for i, from := range d.ports {
		s.ports[i] = port{node: from.node, output: from.output, part: p, key: key, custom: custom}
	}
	return &s
}

// To ends the stream in a sink. A transactional sink needs a UID. The result
// is for DeadLetters of a sink.
func (d *DataStream[T]) To(sink connectors.SinkOf[T], opts ...Option) *SinkStep {
	s := step{
		op: "sink", kind: graph.KindSink, detail: sink.Name() + " " + sink.Detail(),
		factory: sinkop.New(sink), stateful: sink.Transactional(), where: callSite(), fallible: true,
	}
	d.env.check(s.where, sink.Name(), sink)
	n := d.env.add(s, d.ports, d.typ, opts)
	n.Transactional = sink.Transactional()
	return &SinkStep{env: d.env, node: n, untimed: d.untimed}
}

// side returns a side output of the nodes that the stream comes from.
func side[S, T any](d *DataStream[T], tag, where string) *DataStream[S] {
	s := &DataStream[S]{env: d.env, untimed: d.untimed, typ: rowTypeOf[S](d.env, where)}
	for _, p := range d.ports {
		if p.output != "" {
			d.env.fail(where, "side output %q is asked of a side output: ask the operator's main output", tag)
			continue
		}
		s.ports = append(s.ports, port{node: p.node, output: tag, part: graph.Forward})
	}
	return s
}
