package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// callsMax bounds how often an operator may say that it is not done.
const callsMax = 1 << 20

// subtask is one instance of an operator with its input channels.
type subtask struct {
	life    *life
	node    *graph.Node
	index   int
	of      int
	op      operators.Operator
	source  operators.SourceOperator
	state   state.Backend
	inputs  []*input
	out     output
	emitted int64 // last watermark forwarded
	idle    bool
	ended   bool
	opened  bool
	metrics *metrics
}

// input is one channel.
type input struct {
	wm    int64
	idle  bool
	ended bool
}

func (s *subtask) open(from *saved) error {
	mp := s.life.run.graph.MaxParallelism
	groups := dataflow.KeyGroupsOf(s.index, mp, s.of)
	ctx := &operators.Context{
		Info: dataflow.TaskInfo{
			Job: "test", JobName: s.life.run.graph.Name, Operator: s.node.ID, UID: s.node.UID, Name: s.node.Name,
			Subtask: s.index, Parallelism: s.of, MaxParallelism: mp, Attempt: dataflow.Attempt(s.life.run.figures.Crashes + 1),
		},
		KeyGroups: groups, Out: &s.out, Clock: s.life.run.clock, Log: s.life.run.opt.Log,
		Mail: s.life.post, At: s.life.at, Wake: func() {},
		SendEvent:   func(p []byte) { s.life.toCoordinator(s, bytes.Clone(p)) },
		Incarnation: "test", TxnPool: 4 * s.of, Metrics: s.metrics,
	}
	if s.node.Keyed {
		s.state = memstate.New(groups, mp)
		ctx.State = s.state
	}
	if from != nil {
		ctx.Restored = from.operator[s.node.ID]
		for _, b := range from.keyed[s.node.ID] {
			if s.state == nil {
				continue
			}
			if err := s.state.Restore(bytes.NewReader(b)); err != nil {
				return err
			}
		}
	}
	s.source, _ = s.op.(operators.SourceOperator)
	s.opened = true
	return s.op.Open(ctx)
}

// process hands a batch over.
func (s *subtask) process(b *columnar.Batch) {
	if s.life.err != nil {
		return
	}
	if err := s.op.Process(0, b); err != nil {
		s.fail(err)
	}
}

func (s *subtask) fail(err error) {
	place := ""
	if p, ok := s.op.(operators.Positioner); ok {
		place = p.Position()
	}
	s.life.err = errors.Join(s.life.err, fmt.Errorf("operator %q, subtask %d, at %q: %w", s.node.UID, s.index, place, err))
}

// channel takes a watermark, status or end of one input.
func (s *subtask) channel(n int, change func(*input)) {
	change(s.inputs[n])
	least, most, active, open := dataflow.TimeMax, dataflow.TimeMin, false, false
	for _, in := range s.inputs {
		most = max(most, in.wm)
		open = open || !in.ended
		if !in.idle && !in.ended {
			active = true
			least = min(least, in.wm)
		}
	}
	switch {
	case !open:
		s.advance(dataflow.TimeMax)
		s.end()
	case active:
		s.setIdle(false)
		s.advance(least)
	default:
		s.advance(most)
		s.setIdle(true)
	}
}

func (s *subtask) advance(wm int64) {
	if wm <= s.emitted || s.life.err != nil {
		return
	}
	if h, ok := s.op.(operators.WatermarkHandler); ok {
		if err := untilDone(func() (bool, error) { return h.Watermark(wm) }); err != nil {
			s.fail(err)
			return
		}
	}
	s.emitted = wm
	s.out.each(func(in *input) { in.wm = wm })
}

func untilDone(call func() (bool, error)) error {
	for range callsMax {
		if done, err := call(); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("the operator is not done after %d calls", callsMax)
}

func (s *subtask) setIdle(idle bool) {
	if s.idle == idle {
		return
	}
	s.idle = idle
	if h, ok := s.op.(operators.StatusHandler); ok {
		if err := h.Idle(idle); err != nil {
			s.fail(err)
		}
	}
	s.out.each(func(in *input) { in.idle = idle })
}

func (s *subtask) end() {
	if s.ended || s.life.err != nil {
		return
	}
	s.ended = true
	s.advance(dataflow.TimeMax)
	if h, ok := s.op.(operators.EndHandler); ok {
		if err := untilDone(h.End); err != nil {
			s.fail(err)
			return
		}
	}
	s.out.each(func(in *input) { in.ended = true })
}

// output routes what a subtask emits.
type output struct {
	sub    *subtask
	routes []*route
}

// route is the way of one edge from one subtask.
type route struct {
	edge *graph.Edge
	part graph.Partitioning
	rows columnar.RowType
	max  int // key groups
	to   []target
	turn int
	cut  columnar.Partitioner
}

type target struct {
	sub   *subtask
	input int
}

var _ operators.Output = (*output)(nil)

func (o *output) each(change func(*input)) {
	for _, r := range o.routes {
		for _, t := range r.to {
			t.sub.channel(t.input, change)
		}
	}
}

// Emit implements operators.Output.
func (o *output) Emit(b *columnar.Batch) { o.EmitSide("", b) }

// EmitSide implements operators.Output.
func (o *output) EmitSide(tag string, b *columnar.Batch) {
	n := 0
	for _, r := range o.routes {
		if r.edge.Output == tag {
			n++
		}
	}
	if n > 1 {
		b.Shared = true
	}
	for _, r := range o.routes {
		if r.edge.Output == tag && r.rows.Len(b.Rows) > 0 {
			r.send(b)
		}
	}
}

func (r *route) send(b *columnar.Batch) {
	n := r.rows.Len(b.Rows)
	targets := make([]int32, n)
	switch r.part {
	case graph.Forward, graph.Global:
	case graph.Broadcast:
		b.Shared = len(r.to) > 1 || b.Shared
		for _, t := range r.to {
			t.sub.process(b)
		}
		return
	case graph.Hash:
		hashes := r.edge.Key.(columnar.KeyHasher).HashRows(nil, b.Rows)
		targets = columnar.NewKeyTargets(r.max, len(r.to)).Append(targets[:0], hashes)
	case graph.Custom:
		pick := r.edge.Custom.(func(rows any, i, parallelism int) int)
		for i := range targets {
			targets[i] = int32(pick(b.Rows, i, len(r.to)))
		}
	default:
		for i := range targets {
			targets[i] = int32(r.turn % len(r.to))
			r.turn++
		}
	}
	r.cut.Split(b, r.rows, targets, len(r.to), func(to int, b *columnar.Batch) { r.to[to].sub.process(b) })
}

// EmitWatermark implements operators.Output.
func (o *output) EmitWatermark(wm int64) { o.sub.advance(wm) }

// EmitIdle implements operators.Output.
func (o *output) EmitIdle(idle bool) { o.sub.setIdle(idle) }

// Ready implements operators.Output.
func (o *output) Ready() bool { return true }

// HasSide implements operators.Output.
func (o *output) HasSide(tag string) bool {
	return slices.ContainsFunc(o.routes, func(r *route) bool { return r.edge.Output == tag })
}
