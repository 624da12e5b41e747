package task_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/mailbox"
	"github.com/leatstream/leat/runtime/task"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// op is an operator made of functions; nil ones do what is usual.
type op struct {
	ctx       *operators.Context
	open      func(*operators.Context) error
	process   func(input int, b *columnar.Batch) error
	watermark func(wm int64) (bool, error)
	end       func() (bool, error)
	idle      func(bool)
	snapshot  func(operators.Checkpoint) ([]byte, error)
	decline   func() error
	ready     func() bool
	committed func(dataflow.CheckpointID)
	left      int // uncommitted
	position  string
	closed    int
}

func (o *op) Open(ctx *operators.Context) error {
	o.ctx = ctx
	if o.open != nil {
		return o.open(ctx)
	}
	return nil
}

func (o *op) Process(input int, b *columnar.Batch) error {
	if o.process != nil {
		return o.process(input, b)
	}
	o.ctx.Out.Emit(b)
	return nil
}

func (o *op) Watermark(wm int64) (bool, error) {
	if o.watermark != nil {
		return o.watermark(wm)
	}
	return true, nil
}

func (o *op) End() (bool, error) {
	if o.end != nil {
		return o.end()
	}
	return true, nil
}

func (o *op) Idle(idle bool) error {
	if o.idle != nil {
		o.idle(idle)
	}
	return nil
}

func (o *op) Snapshot(cp operators.Checkpoint) ([]byte, error) {
	if o.snapshot != nil {
		return o.snapshot(cp)
	}
	return []byte(o.ctx.Info.Name), nil
}

func (o *op) CanSnapshot() error {
	if o.decline != nil {
		return o.decline()
	}
	return nil
}

func (o *op) InputReady() bool { return o.ready == nil || o.ready() }

func (o *op) CheckpointCommitted(id dataflow.CheckpointID) error {
	if o.committed != nil {
		o.committed(id)
	}
	return nil
}

func (o *op) Uncommitted() int { return o.left }
func (o *op) Position() string { return o.position }
func (o *op) Close() error     { o.closed++; return nil }

// src is a source made of functions.
type src struct {
	op
	poll  func() (operators.PollStatus, error)
	event func([]byte) error
}

func (s *src) Poll() (operators.PollStatus, error) { return s.poll() }

func (s *src) HandleEvent(b []byte) error {
	if s.event != nil {
		return s.event(b)
	}
	return nil
}

// sender records what a task sends on one channel.
type sender struct {
	log  []string
	full bool
}

func (s *sender) Send(el exchange.Element) int {
	switch el.Kind {
	case exchange.KindBatch:
		s.log = append(s.log, fmt.Sprint(columnar.Rows[int64](el.Batch)))
	case exchange.KindWatermark:
		s.log = append(s.log, "wm "+timeText(el.Time))
	case exchange.KindStatus:
		s.log = append(s.log, fmt.Sprintf("idle %v", el.Idle))
	case exchange.KindBarrier:
		text := fmt.Sprintf("barrier %d", el.Barrier.ID)
		if el.Barrier.Overtakes {
			text += " overtakes"
		}
		s.log = append(s.log, text)
	case exchange.KindEnd:
		s.log = append(s.log, "end")
	}
	return 0
}

func (s *sender) Ready() bool { return !s.full }

func timeText(t int64) string {
	if t == dataflow.TimeMax {
		return "max"
	}
	return fmt.Sprint(t)
}

// reports records what a task reports.
type reports struct {
	snapshots []*task.Snapshot
	declined  []string
	committed []dataflow.CheckpointID
	finished  int
	events    []string
}

func (r *reports) Snapshot(s *task.Snapshot) { r.snapshots = append(r.snapshots, s) }
func (r *reports) Declined(id dataflow.CheckpointID, reason string) {
	r.declined = append(r.declined, fmt.Sprintf("%d %s", id, reason))
}
func (r *reports) Committed(id dataflow.CheckpointID) { r.committed = append(r.committed, id) }
func (r *reports) Finished()                          { r.finished++ }
func (r *reports) Event(_ dataflow.OperatorID, payload []byte) {
	r.events = append(r.events, string(payload))
}

// rig is a task under test: a chain whose last operator sends on one stream,
// with a number of input channels, or a source at the head.
type rig struct {
	*reports
	t     *testing.T
	task  *task.Task
	gate  *exchange.Gate
	out   *sender
	side  *sender
	clock *clock.Manual
	cfg   task.Config
}

// inStream is the stream on which the rows come.
const inStream = 2

// chain makes a rig of the operators, one behind the other; channels is 0 for
// a source. The first operator also has a side output "late" with a stream of
// its own.
func chain(t *testing.T, channels int, chained ...operators.Operator) *rig {
	t.Helper()
	return restoredChain(t, nil, channels, chained...)
}

func restoredChain(t *testing.T, restored task.Restored, channels int, chained ...operators.Operator) *rig {
	t.Helper()
	rt, err := columnar.TypeOf[int64]()
	if err != nil {
		t.Fatal(err)
	}
	g := &graph.JobGraph{Version: graph.FormatVersion, Name: "job", MaxParallelism: 16}
	g.Config.EnsureDefaults()
	v := &graph.Vertex{Name: "vertex", Parallelism: 1, ID: "op0"}
	edge := func(from, to, output string) *graph.Edge {
		return &graph.Edge{From: dataflow.OperatorID(from), To: dataflow.OperatorID(to), Output: output, Partitioning: graph.Forward, Type: rt}
	}
	for i, o := range chained {
		name := fmt.Sprintf("op%d", i)
		kind := graph.KindOperator
		if i == 0 && channels == 0 {
			kind = graph.KindSource
		}
		v.Nodes = append(v.Nodes, &graph.Node{ID: dataflow.OperatorID(name), UID: name, Name: name, Kind: kind, Factory: operators.FactoryFunc(func() operators.Operator { return o })})
		if i > 0 {
			v.Chained = append(v.Chained, edge(fmt.Sprintf("op%d", i-1), name, ""))
		}
	}
	last := fmt.Sprintf("op%d", len(chained)-1)
	plan := &graph.Plan{Graph: g, Vertices: []*graph.Vertex{v}, Streams: []*graph.Stream{
		{Index: 0, Edge: edge(last, "next", "")}, {Index: 1, Edge: edge("op0", "late", "late")},
	}}
	v.Outputs = []int{0, 1}
	if channels > 0 {
		plan.Streams = append(plan.Streams, &graph.Stream{Index: inStream, Edge: edge("before", "op0", "")})
		v.Inputs = []int{inStream}
	}
	r := &rig{t: t, reports: &reports{}, out: &sender{}, side: &sender{}, clock: clock.NewManual(time.UnixMilli(1000))}
	box := mailbox.New()
	r.cfg = task.Config{
		Job: "job", JobName: "job", Attempt: 1, Plan: plan, Vertex: v, Mailbox: box,
		NewBackend: func(kg dataflow.KeyGroupRange, maxP int) (state.Backend, error) { return memstate.New(kg, maxP), nil },
		Restored:   restored, Clock: r.clock, Log: slog.New(slog.DiscardHandler),
		Async: func(fn func()) { fn() }, Reporter: r.reports,
	}
	if channels > 0 {
		specs := make([]exchange.ChannelSpec, channels)
		for i := range specs {
			specs[i] = exchange.ChannelSpec{ID: exchange.ChannelID{Stream: inStream, From: i}, Type: rt, Input: i % 2}
		}
		r.gate = exchange.NewGate(specs, box.Wake)
		r.cfg.Gate = r.gate
	}
	for i, s := range []*sender{r.out, r.side} {
		o, err := exchange.NewOutput(exchange.OutputConfig{Edge: plan.Streams[i].Edge, MaxParallelism: 16, ToParallelism: 1, Targets: []exchange.Sender{s}})
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.Outputs = append(r.cfg.Outputs, o)
	}
	if r.task, err = task.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

// begin opens the task and runs it until it waits.
func (r *rig) begin() *rig {
	r.t.Helper()
	r.open()
	r.run()
	return r
}

// open opens the task.
func (r *rig) open() *rig {
	r.t.Helper()
	if err := r.task.Open(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.task.Begin()
	return r
}

// run steps until the task waits.
func (r *rig) run() task.Wait {
	r.t.Helper()
	for range 10_000 {
		if w := r.task.Step(); !w.Progress {
			return w
		}
	}
	r.t.Fatal("the task does not come to rest")
	return task.Wait{}
}

func (r *rig) rows(channel int, rows ...int64) {
	r.gate.Channel(channel).Send(exchange.Element{Kind: exchange.KindBatch, Batch: columnar.NewBatch(rows, nil)})
}

func (r *rig) wm(channel int, wm int64) {
	r.gate.Channel(channel).Send(exchange.Element{Kind: exchange.KindWatermark, Time: wm})
}

func (r *rig) barrier(channel int, id dataflow.CheckpointID) {
	r.gate.Channel(channel).Send(exchange.Element{Kind: exchange.KindBarrier, Barrier: &exchange.Barrier{ID: id}})
}

func (r *rig) end(channel int) {
	r.gate.Channel(channel).Send(exchange.Element{Kind: exchange.KindEnd})
}

func (r *rig) trigger(id dataflow.CheckpointID, change func(*task.Trigger)) {
	tr := task.Trigger{Barrier: exchange.Barrier{ID: id}}
	if change != nil {
		change(&tr)
	}
	r.task.Trigger(tr)
}

// expect runs the task and compares what it has sent on the main stream.
func (r *rig) expect(want ...string) {
	r.t.Helper()
	r.run()
	if got := fmt.Sprint(r.out.log); got != fmt.Sprint(want) {
		r.t.Fatalf("sent %v, want %v", r.out.log, want)
	}
}

func emit(ctx *operators.Context, rows ...int64) {
	ctx.Out.Emit(columnar.NewBatch(rows, nil))
}

// oldState is a checkpoint for a restore.
type oldState struct {
	tasks    [][]byte
	channels [][]byte
	finished map[dataflow.OperatorID]bool
}

func (o oldState) Keyed(context.Context, dataflow.OperatorID, dataflow.KeyGroupRange, func(io.Reader, state.RestorePart) error) error {
	return nil
}
func (o oldState) Chain(dataflow.OperatorID, dataflow.KeyGroupRange) []*controlv1.StateHandle {
	return nil
}
func (o oldState) Operator(context.Context, dataflow.OperatorID) ([][]byte, error) { return nil, nil }
func (o oldState) Channels(context.Context, dataflow.OperatorID) ([][]byte, error) {
	return o.channels, nil
}
func (o oldState) Task(context.Context, dataflow.OperatorID) ([][]byte, error) { return o.tasks, nil }
func (o oldState) Finished(op dataflow.OperatorID) bool                        { return o.finished[op] }

// taskPart returns the task-level state of a snapshot.
func taskPart(t *testing.T, s *task.Snapshot) []byte {
	t.Helper()
	return s.Parts[len(s.Parts)-1].Data
}
