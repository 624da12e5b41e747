package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// callsMax bounds how often an operator may say that it is not done.
const callsMax = 1 << 20

// idleMax bounds the calls that bring nothing before mail is waited for.
const idleMax = 100

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
	emitted int64 // last watermark handled
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
		Attempt: s.life.run.ctx, Wake: func() {},
		Mail:        func(fn func() error) { s.life.post(s.own(fn)) },
		At:          func(millis int64, fn func() error) func() { return s.life.at(millis, s.own(fn)) },
		SendEvent:   func(p []byte) { s.life.toCoordinator(s, bytes.Clone(p)) },
		Incarnation: "test", TxnPool: 4 * s.of, Metrics: s.metrics,
		OnError: operators.ErrorPolicy(s.node.OnError),
	}
	if s.node.Keyed {
		b, err := s.life.run.newBackend(groups, mp)
		if err != nil {
			return err
		}
		s.state, ctx.State = b, b
	}
	if from != nil {
		ctx.Restored = from.operator[s.node.ID]
		for _, b := range from.keyed[s.node.ID] {
			if s.state == nil {
				continue
			}
			if err := s.state.Restore(bytes.NewReader(b), state.RestorePart{}); err != nil {
				return err
			}
		}
	}
	if s.state != nil && s.node.KeySchema != "" {
		if err := state.NameOperator(state.BindKey(s.state, s.node.KeySchema), s.node.UID); err != nil {
			return err
		}
	}
	s.source, _ = s.op.(operators.SourceOperator)
	s.opened = true
	return state.NameOperator(s.op.Open(ctx), s.node.UID)
}

// own makes fn one of the operator's calls.
func (s *subtask) own(fn func() error) func() error {
	return func() error {
		s.call(fn)
		return s.life.err
	}
}

// call runs a method of the operator; an error is kept as the life's. It
// reports whether the job goes on.
func (s *subtask) call(fn func() error) bool {
	l := s.life
	if l.err != nil {
		return false
	}
	caller := l.current
	l.current = s
	if err := fn(); err != nil {
		s.fail(err)
	}
	l.current = caller // after a panic it stays
	return l.err == nil
}

// process hands a batch over.
func (s *subtask) process(in int, b *columnar.Batch) {
	s.call(func() error { return s.op.Process(in, b) })
}

func (s *subtask) fail(err error) {
	s.life.err = errors.Join(s.life.err, s.located(err))
}

// located names the place that an error came from.
func (s *subtask) located(err error) error {
	place := ""
	if p, ok := s.op.(operators.Positioner); ok {
		place = p.Position()
	}
	return fmt.Errorf("operator %q, subtask %d, at %q: %w", s.node.UID, s.index, place, err)
}

// channel takes a watermark, status or end of one input.
func (s *subtask) channel(n int, change func(*input)) {
	change(s.inputs[n])
	least, most, active, open := dataflow.TimeMax, dataflow.TimeMin, false, false
	for _, in := range s.inputs {
		switch {
		case in.ended:
			continue
		case !in.idle:
			active = true
			least = min(least, in.wm)
		case in.wm != dataflow.TimeMax: // else it is about to end
			most = max(most, in.wm)
		}
		open = true
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
		if !s.untilDone(func() (bool, error) { return h.Watermark(wm) }) {
			return
		}
	}
	s.emitted = wm
	if d, ok := s.op.(operators.WatermarkDelayer); ok && wm < dataflow.TimeMax {
		wm = dataflow.AddTime(wm, -d.WatermarkDelay())
	}
	s.out.each(func(in *input) { in.wm = wm })
}

// untilDone calls until the operator says that it is done, and reports
// whether the job goes on. One that waits for work elsewhere gets its mail.
func (s *subtask) untilDone(call func() (bool, error)) bool {
	l := s.life
	idle := 0 // calls in a row that emitted nothing
	for range callsMax {
		done, before := false, l.emitted
		ok := s.call(func() (err error) {
			done, err = call()
			return err
		})
		if !ok || done {
			l.silent = time.Time{}
			return ok
		}
		if idle++; l.emitted != before {
			idle = 0
		}
		if err := l.nested(idle > idleMax); err != nil {
			l.err = errors.Join(l.err, err)
			return false
		}
	}
	s.fail(fmt.Errorf("the operator is not done after %d calls", callsMax))
	return false
}

func (s *subtask) setIdle(idle bool) {
	if s.idle == idle {
		return
	}
	s.idle = idle
	if d, ok := s.op.(operators.IdleDelayer); ok && idle && !s.untilDone(d.IdleReady) {
		return
	}
	if h, ok := s.op.(operators.StatusHandler); ok {
		s.call(func() error { return h.Idle(idle) })
	}
	s.out.each(func(in *input) { in.idle = idle })
}

func (s *subtask) end() {
	if s.ended || s.life.err != nil {
		return
	}
	s.ended = true
	s.advance(dataflow.TimeMax)
	if h, ok := s.op.(operators.EndHandler); ok && !s.untilDone(h.End) {
		return
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
	sub     *subtask
	channel int
}

var _ operators.Output = (*output)(nil)

func (o *output) each(change func(*input)) {
	for _, r := range o.routes {
		for _, t := range r.to {
			t.sub.channel(t.channel, change)
		}
	}
}

// Emit implements operators.Output.
func (o *output) Emit(b *columnar.Batch) { o.EmitSide("", b) }

// EmitSide implements operators.Output.
func (o *output) EmitSide(tag string, b *columnar.Batch) {
	if err := o.sub.life.run.tap(port{o.sub.node.UID, tag}, b); err != nil {
		o.sub.fail(err)
	}
	o.sub.life.emitted++
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
			r.send(o.sub, b)
		}
	}
}

func (r *route) send(from *subtask, b *columnar.Batch) {
	if from.life.run.wire && r.part != graph.Forward {
		// As from one worker to another: what the wire form loses is lost.
		sent, err := r.rows.DecodeBatch(r.rows.AppendBatch(nil, b))
		if err != nil {
			from.fail(err)
			return
		}
		b = sent
	}
	n := r.rows.Len(b.Rows)
	targets := make([]int32, n)
	switch r.part {
	case graph.Forward, graph.Global:
	case graph.Broadcast:
		b.Shared = len(r.to) > 1 || b.Shared
		for _, t := range r.to {
			t.sub.process(r.edge.Input, b)
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
	r.cut.Split(b, r.rows, targets, len(r.to), func(to int, b *columnar.Batch) { r.to[to].sub.process(r.edge.Input, b) })
}

// EmitWatermark implements operators.Output.
func (o *output) EmitWatermark(wm int64) { o.sub.advance(wm) }

// EmitIdle implements operators.Output.
func (o *output) EmitIdle(idle bool) { o.sub.setIdle(idle) }

// Ready implements operators.Output.
func (o *output) Ready() bool { return o.sub.life.ready() }

// HasSide implements operators.Output.
func (o *output) HasSide(tag string) bool {
	return len(o.sub.life.run.captures[port{o.sub.node.UID, tag}]) > 0 ||
		slices.ContainsFunc(o.routes, func(r *route) bool { return r.edge.Output == tag })
}
