package task

import (
	"errors"
	"fmt"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/mailbox"
	"github.com/leatstream/leat/state"
)

// node is one operator of the chain. Nodes are in depth-first order, so the
// operators behind a node are those up to its end.
type node struct {
	index, end int
	parent     *node
	spec       *graph.Node
	op         operators.Operator
	out        *emitter
	state      state.Backend
	failer     state.Failer // of state, when it can fail; nil before it is opened
	// incremental is state that checkpoints hold in part, and chain the files
	// that they consist of; nil when it is written whole each time.
	incremental state.Incremental
	chain       *chain.Chain
	opened      bool
	inWork      *columnar.Batch
	commits     commitLog

	// Abilities; nil when the operator does not have them.
	watermark operators.WatermarkHandler
	delay     operators.WatermarkDelayer
	status    operators.StatusHandler
	idleDelay operators.IdleDelayer
	end_      operators.EndHandler
	snapshot  operators.Snapshotter
	decline   operators.SnapshotDecliner
	limit     operators.InputLimiter
	listener  operators.CheckpointListener
	committer operators.Committer
	position  operators.Positioner
}

// sourceHead is the head of a source's chain.
type sourceHead struct {
	*node
	op       operators.SourceOperator
	wanted   wanted
	deferred []deferred
	over     bool // it said that no more input comes
}

// target is where an output leads: to an operator of the chain or to a stream.
type target struct {
	node   *node
	input  int
	writer *exchange.Output
	rows   columnar.RowType
}

// buildChain makes the operators and connects them.
func (t *Task) buildChain() error {
	v := t.cfg.Vertex
	byID := make(map[dataflow.OperatorID]*node, len(v.Nodes))
	children := make(map[dataflow.OperatorID][]*graph.Edge)
	for _, e := range v.Chained {
		children[e.From] = append(children[e.From], e)
	}
	specs := make(map[dataflow.OperatorID]*graph.Node, len(v.Nodes))
	for _, n := range v.Nodes {
		specs[n.ID] = n
	}
	var place func(id dataflow.OperatorID, parent *node) error
	place = func(id dataflow.OperatorID, parent *node) error {
		n, err := t.newNode(specs[id], parent)
		if err != nil {
			return err
		}
		byID[id] = n
		for _, e := range children[id] {
			if err := place(e.To, n); err != nil {
				return err
			}
		}
		n.end = len(t.nodes)
		return nil
	}
	if err := place(v.Nodes[0].ID, nil); err != nil {
		return err
	}
	if len(t.nodes) != len(v.Nodes) {
		return fmt.Errorf("vertex %q: %d of %d operators hang together", v.Name, len(t.nodes), len(v.Nodes))
	}
	return t.connect(byID)
}

// newNode makes the operator of a graph node and appends it.
func (t *Task) newNode(spec *graph.Node, parent *node) (*node, error) {
	f, ok := spec.Factory.(operators.Factory)
	if !ok {
		return nil, fmt.Errorf("operator %q (%s) has no factory (%T)", spec.Name, spec.Where, spec.Factory)
	}
	n := &node{index: len(t.nodes), parent: parent, spec: spec, op: f.New()}
	n.watermark, _ = n.op.(operators.WatermarkHandler)
	n.delay, _ = n.op.(operators.WatermarkDelayer)
	n.status, _ = n.op.(operators.StatusHandler)
	n.idleDelay, _ = n.op.(operators.IdleDelayer)
	n.end_, _ = n.op.(operators.EndHandler)
	n.snapshot, _ = n.op.(operators.Snapshotter)
	n.decline, _ = n.op.(operators.SnapshotDecliner)
	n.limit, _ = n.op.(operators.InputLimiter)
	n.listener, _ = n.op.(operators.CheckpointListener)
	n.committer, _ = n.op.(operators.Committer)
	n.position, _ = n.op.(operators.Positioner)
	n.out = &emitter{task: t, node: n}
	t.nodes = append(t.nodes, n)
	src, isSource := n.op.(operators.SourceOperator)
	switch {
	case spec.Kind != graph.KindSource:
	case !isSource || parent != nil:
		return nil, fmt.Errorf("source %q (%s): %T is no source operator at the head of a chain", spec.Name, spec.Where, n.op)
	default:
		t.source = &sourceHead{node: n, op: src}
		a, ok := n.op.(operators.Abstainer)
		t.abstains = ok && a.Abstains()
		t.source.wanted.set()
	}
	return n, nil
}

func (t *Task) connect(byID map[dataflow.OperatorID]*node) error {
	for _, e := range t.cfg.Vertex.Chained {
		if err := byID[e.From].out.add(e, target{node: byID[e.To], input: e.Input}); err != nil {
			return err
		}
	}
	for i, s := range t.cfg.Vertex.Outputs {
		e := t.cfg.Plan.Streams[s].Edge
		if err := byID[e.From].out.add(e, target{writer: t.cfg.Outputs[i]}); err != nil {
			return err
		}
	}
	return nil
}

// emitter is the Output of one operator. It belongs to the task's goroutine.
type emitter struct {
	task    *Task
	node    *node
	main    []target
	sides   map[string][]target
	writers []*exchange.Output // each stream that leaves from here, once
	emitted int                // batches, to see that a call did something
}

var _ operators.Output = (*emitter)(nil)

func (o *emitter) add(e *graph.Edge, tg target) error {
	rt, ok := e.Type.(columnar.RowType)
	if !ok {
		return fmt.Errorf("edge %s to %s has no row type (%T)", e.From, e.To, e.Type)
	}
	tg.rows = rt
	if tg.writer != nil {
		o.writers = append(o.writers, tg.writer)
	}
	if e.Output == "" {
		o.main = append(o.main, tg)
		return nil
	}
	if o.sides == nil {
		o.sides = make(map[string][]target)
	}
	o.sides[e.Output] = append(o.sides[e.Output], tg)
	return nil
}

// Emit implements operators.Output.
func (o *emitter) Emit(b *columnar.Batch) {
	if o.task.deferring(o.node) {
		o.task.source.later(deferred{batch: b})
		return
	}
	o.emit(o.main, b)
}

// EmitSide implements operators.Output.
func (o *emitter) EmitSide(tag string, b *columnar.Batch) {
	if o.task.deferring(o.node) {
		o.task.source.later(deferred{batch: b, side: tag, isSide: true})
		return
	}
	o.emit(o.sides[tag], b)
}

func (o *emitter) emit(targets []target, b *columnar.Batch) {
	t := o.task
	switch {
	case len(targets) == 0 || t.err != nil || t.stateFailed(o.node):
		return
	case t.finished:
		// The end was forwarded: nothing may follow it.
		t.cfg.Log.Warn("rows emitted after the end of input were dropped", "operator", o.node.spec.Name)
		return
	}
	rows := targets[0].rows.Len(b.Rows)
	if rows == 0 {
		return
	}
	o.emitted++
	if t.source != nil && o.node == t.source.node {
		t.figures.recordsIn.Add(int64(rows))
		t.wakeOutput()
	}
	if len(targets) > 1 && !b.Shared { // others may read a shared batch now
		b.Shared = true
	}
	for i := range targets {
		tg := &targets[i]
		if tg.node != nil {
			t.process(tg.node, tg.input, b)
			continue
		}
		t.figures.recordsOut.Add(int64(rows))
		if err := tg.writer.Write(b); err != nil {
			t.fail(o.node, err)
		}
	}
}

// EmitWatermark implements operators.Output.
func (o *emitter) EmitWatermark(wm int64) {
	t := o.task
	switch {
	case t.source == nil || o.node != t.source.node:
		t.fail(o.node, errors.New("only a source may emit watermarks"))
	case t.deferring(o.node):
		t.source.later(deferred{watermark: wm, isWatermark: true})
	default:
		t.sourceWatermark(wm)
	}
}

// EmitIdle implements operators.Output.
func (o *emitter) EmitIdle(idle bool) {
	t := o.task
	switch {
	case t.source == nil || o.node != t.source.node:
		t.fail(o.node, errors.New("only a source may emit its status"))
	case t.deferring(o.node):
		t.source.later(deferred{idle: idle, isIdle: true})
	default:
		t.setIdle(idle)
	}
}

// Ready implements operators.Output: all streams of the task have room, since
// what one operator emits may leave through any behind it, and the operators
// behind it in the chain take rows. Each that does not wakes the task later.
func (o *emitter) Ready() bool {
	ready := o.task.outputsReady()
	for _, n := range o.task.nodes[o.node.index+1 : o.node.end] {
		if n.limit != nil && !n.limit.InputReady() {
			ready = false
		}
	}
	return ready
}

// HasSide implements operators.Output.
func (o *emitter) HasSide(tag string) bool { return len(o.sides[tag]) > 0 }

// process hands a batch to an operator. After a failure nothing is processed.
func (t *Task) process(n *node, input int, b *columnar.Batch) {
	if t.err != nil {
		return
	}
	caller := t.current
	t.current, n.inWork = n, b
	if err := n.op.Process(input, b); err != nil && !t.stateFailed(n) {
		t.fail(n, err)
	}
	t.stateFailed(n)
	t.current, n.inWork = caller, nil
}

// outputsReady asks every output, so that each that has no room wakes the
// task later.
func (t *Task) outputsReady() bool {
	ready := true
	for _, o := range t.cfg.Outputs {
		if !o.Ready() {
			ready = false
		}
	}
	return ready
}

func isClosed(err error) bool { return errors.Is(err, mailbox.ErrClosed) }
