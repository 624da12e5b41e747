package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/mailbox"
	"github.com/leatstream/leat/runtime/task"
)

// place names a subtask by its vertex.
type place struct {
	vertex, subtask int
}

// deployment is the attempt's part on this worker: its tasks and the
// coordinator. run builds it on a goroutine of its own; the other methods
// belong to the worker's loop unless they say otherwise.
type deployment struct {
	w       *driver
	cmd     *controlv1.Deploy
	ctx     context.Context //nolint:containedctx // the tasks' life
	cancel  context.CancelFunc
	started chan struct{}

	// Set by run before it posts built.
	plan        *graph.Plan
	local       []*local
	at          map[place]*local
	owner       map[place]string // worker of each subtask of the job
	coordinator *coordinator

	mu    sync.Mutex
	tasks []*task.Task               // guarded by mu
	early []*controlv1.OperatorEvent // guarded by mu
	lines *lines
}

// local is a subtask that runs here.
type local struct {
	index  int
	place  place
	vertex *graph.Vertex
	box    *mailbox.Mailbox
	gate   *exchange.Gate
	fail   func(error)
	task   *task.Task
}

func (w *driver) newDeployment(cmd *controlv1.Deploy) *deployment {
	d := &deployment{
		w: w, cmd: cmd, started: make(chan struct{}),
		at: make(map[place]*local), owner: make(map[place]string),
		lines: newLines(func(ev *controlv1.OperatorEvent) {
			// A link that is gone is seen by the receiver.
			_ = w.cfg.Link.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_OperatorEvent{OperatorEvent: ev}})
		}),
	}
	d.ctx, d.cancel = context.WithCancel(w.life)
	return d
}

// run builds and opens the tasks.
func (d *deployment) run() {
	err := d.build()
	if err != nil {
		var wrong *graphError
		d.w.post(event{built: &built{failure: plainFailure(err, errors.As(err, &wrong))}})
		return
	}
	b := &built{}
	for _, l := range d.local {
		b.tasks = append(b.tasks, &controlv1.SubtaskRef{Vertex: int32(l.place.vertex), Subtask: int32(l.place.subtask)})
	}
	if !d.w.post(event{built: b}) {
		return
	}
	for _, l := range d.local {
		d.w.goDo(func() { d.live(l) })
	}
}

// graphError is a fault of the graph or of the deployment, which would come
// again in each attempt.
type graphError struct{ error }

// Unwrap gives the cause.
func (e *graphError) Unwrap() error { return e.error }

// build makes gates, connections, outputs and tasks.
func (d *deployment) build() error {
	if err := d.planAndPlace(); err != nil {
		return &graphError{err}
	}
	in := exchange.Inbound{Credentials: d.credentials()}
	for _, l := range d.local {
		for i := range d.buildGate(l) {
			if ch := l.gate.Channel(i); !d.isLocal(place{d.plan.Streams[ch.ID().Stream].From, ch.ID().From}) {
				in.Channels = append(in.Channels, ch)
			}
		}
	}
	d.w.endpoint.Admit(in)
	senders, err := d.dial()
	if err != nil {
		return err
	}
	restored := newRestorer(d.w.cfg.Objects, d.cmd.GetRestore())
	tasks := make([]*task.Task, 0, len(d.local))
	for _, l := range d.local {
		if l.task, err = d.buildTask(l, senders, restored); err != nil {
			return &graphError{fmt.Errorf("vertex %q, subtask %d: %w", l.vertex.Name, l.place.subtask, err)}
		}
		tasks = append(tasks, l.task)
	}
	if d.cmd.GetCoordinator() {
		if d.coordinator, err = newCoordinator(d); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks = tasks
	for _, ev := range d.early {
		d.route(ev)
	}
	d.early = nil
	return nil
}

// planAndPlace plans the graph and finds the subtasks that run here.
func (d *deployment) planAndPlace() (err error) {
	own := make(map[dataflow.OperatorID]int)
	for id, p := range d.cmd.GetOperatorParallelism() {
		own[dataflow.OperatorID(id)] = int(p)
	}
	if d.plan, err = graph.Build(d.w.cfg.Graph.WithParallelism(own), int(d.cmd.GetParallelism())); err != nil {
		return err
	}
	if r := d.cmd.GetRestore(); r != nil && r.GetMaxParallelism() != 0 && int(r.GetMaxParallelism()) != d.w.cfg.Graph.MaxParallelism {
		return fmt.Errorf("the checkpoint was taken with maximum parallelism %d, the job has %d: it cannot be changed", r.GetMaxParallelism(), d.w.cfg.Graph.MaxParallelism)
	}
	for _, p := range d.cmd.GetPlacements() {
		at := place{int(p.GetSubtask().GetVertex()), int(p.GetSubtask().GetSubtask())}
		if at.vertex < 0 || at.vertex >= len(d.plan.Vertices) || at.subtask < 0 || at.subtask >= d.plan.Vertices[at.vertex].Parallelism {
			return fmt.Errorf("placement of subtask %d of vertex %d, which the plan does not have", at.subtask, at.vertex)
		}
		d.owner[at] = p.GetWorkerId()
		if p.GetWorkerId() != d.w.cfg.WorkerID {
			continue
		}
		l := &local{place: at, vertex: d.plan.Vertices[at.vertex], box: mailbox.New()}
		d.local = append(d.local, l)
	}
	slices.SortFunc(d.local, func(a, b *local) int {
		if a.place.vertex != b.place.vertex {
			return a.place.vertex - b.place.vertex
		}
		return a.place.subtask - b.place.subtask
	})
	for i, l := range d.local {
		l.index = i
		d.at[l.place] = l
	}
	for _, v := range d.plan.Vertices {
		for s := range v.Parallelism {
			if d.owner[place{v.Index, s}] == "" {
				return fmt.Errorf("subtask %d of vertex %q has no worker", s, v.Name)
			}
		}
	}
	return nil
}

func (d *deployment) isLocal(p place) bool { return d.at[p] != nil }

func (d *deployment) credentials() exchange.Credentials {
	return exchange.Credentials{Token: d.cmd.GetExchangeToken(), Fingerprint: d.w.fingerprint}
}

// buildGate makes the gate of a subtask, with a channel from each subtask
// that sends to it, and returns the number of channels.
func (d *deployment) buildGate(l *local) int {
	var specs []exchange.ChannelSpec
	for _, si := range l.vertex.Inputs {
		s := d.plan.Streams[si]
		from := d.plan.Vertices[s.From]
		rt, _ := s.Edge.Type.(columnar.RowType) // checked where the output is made
		for f := range from.Parallelism {
			if slices.Contains(graph.ChannelTargets(s.Edge.Partitioning, f, from.Parallelism, l.vertex.Parallelism), l.place.subtask) {
				specs = append(specs, exchange.ChannelSpec{
					ID: exchange.ChannelID{Stream: si, From: f, To: l.place.subtask}, Input: s.Edge.Input, Type: rt,
				})
			}
		}
	}
	if len(l.vertex.Inputs) == 0 {
		l.fail = func(error) {}
		return 0
	}
	l.gate = exchange.NewGate(specs, l.box.Wake)
	return len(specs)
}

// dial connects to every worker that this one sends to, all at once, and
// returns the producing ends of the remote channels.
func (d *deployment) dial() (map[exchange.ChannelID]exchange.Sender, error) {
	byPeer := make(map[string][]exchange.OutboundChannel)
	for _, l := range d.local {
		d.eachTarget(l, func(id exchange.ChannelID, s *graph.Stream) {
			if to := (place{s.To, id.To}); !d.isLocal(to) {
				rt, _ := s.Edge.Type.(columnar.RowType) // checked where the output is made
				byPeer[d.owner[to]] = append(byPeer[d.owner[to]], exchange.OutboundChannel{
					ID: id, Type: rt, Wake: l.box.Wake, Fail: d.failer(l),
				})
			}
		})
	}
	type result struct {
		channels []exchange.OutboundChannel
		senders  []exchange.Sender
		err      error
	}
	results := make(chan result, len(byPeer))
	for id, channels := range byPeer {
		d.w.goDo(func() {
			r := result{channels: channels}
			var p exchange.Peer
			if p, r.err = d.peer(id); r.err == nil {
				r.senders, r.err = d.w.endpoint.Dial(d.ctx, p, exchange.Outbound{Credentials: d.credentials(), Channels: channels})
			}
			results <- r
		})
	}
	senders := make(map[exchange.ChannelID]exchange.Sender)
	var first error
	for range byPeer {
		r := <-results
		if r.err != nil && first == nil {
			first = r.err
		}
		for i, s := range r.senders {
			senders[r.channels[i].ID] = s
		}
	}
	return senders, first
}

// failer ends a task whose outgoing channel broke.
func (d *deployment) failer(l *local) func(error) {
	return func(err error) {
		// A task that has ended does not care.
		_ = l.box.Put(func() error { return err })
	}
}

func (d *deployment) peer(id string) (exchange.Peer, error) {
	for _, p := range d.cmd.GetPeers() {
		if p.GetWorkerId() == id {
			return exchange.Peer{WorkerID: id, TCPAddress: p.GetTcpAddress(), UnixAddress: p.GetUnixAddress(), HostID: p.GetHostId()}, nil
		}
	}
	return exchange.Peer{}, fmt.Errorf("worker %q is not among the %d peers of the deployment", id, len(d.cmd.GetPeers()))
}

// eachTarget calls fn for each channel that leaves a subtask.
func (d *deployment) eachTarget(l *local, fn func(exchange.ChannelID, *graph.Stream)) {
	for _, si := range l.vertex.Outputs {
		s := d.plan.Streams[si]
		for _, to := range graph.ChannelTargets(s.Edge.Partitioning, l.place.subtask, l.vertex.Parallelism, d.plan.Vertices[s.To].Parallelism) {
			fn(exchange.ChannelID{Stream: si, From: l.place.subtask, To: to}, s)
		}
	}
}

func (d *deployment) buildTask(l *local, remote map[exchange.ChannelID]exchange.Sender, restored *restorer) (*task.Task, error) {
	outputs, err := d.buildOutputs(l, remote)
	if err != nil {
		return nil, err
	}
	w := d.w.cfg
	cfg := task.Config{
		Job: dataflow.JobID(w.Welcome.GetJobId()), JobName: w.Welcome.GetJobName(), Attempt: dataflow.Attempt(w.Welcome.GetAttempt()),
		Plan: d.plan, Vertex: l.vertex, Subtask: l.place.subtask,
		Mailbox: l.box, Gate: l.gate, Outputs: outputs,
		NewBackend: w.NewBackend, ScratchDir: w.ScratchDir, FromSavepoint: d.cmd.GetRestore().GetFromSavepoint(),
		CheckpointsOff: d.cmd.GetCheckpointIntervalMillis() < 0, Incarnation: dataflow.Incarnation(d.cmd.GetIncarnation()),
		Pools: make(map[dataflow.OperatorID]int),
		Clock: w.Clock, Log: w.Log, Async: d.w.pool.do, Reporter: &reporter{d: d, l: l},
		Trouble: d.w.troubles.set,
	}
	if restored != nil {
		cfg.Restored = restored
	}
	for _, p := range d.cmd.GetPools() {
		cfg.Pools[dataflow.OperatorID(p.GetOperatorId())] = int(p.GetSize())
	}
	return task.New(cfg)
}

func (d *deployment) buildOutputs(l *local, remote map[exchange.ChannelID]exchange.Sender) ([]*exchange.Output, error) {
	targets := make(map[int][]exchange.Sender)
	d.eachTarget(l, func(id exchange.ChannelID, s *graph.Stream) {
		to := d.at[place{s.To, id.To}]
		if to == nil {
			targets[s.Index] = append(targets[s.Index], remote[id])
			return
		}
		ch := to.gate.Find(id)
		ch.SetProducer(l.box.Wake)
		targets[s.Index] = append(targets[s.Index], ch)
	})
	var out []*exchange.Output
	for _, si := range l.vertex.Outputs {
		s := d.plan.Streams[si]
		o, err := exchange.NewOutput(exchange.OutputConfig{
			Edge: s.Edge, MaxParallelism: d.plan.Graph.MaxParallelism, ToParallelism: d.plan.Vertices[s.To].Parallelism,
			From: l.place.subtask, Targets: targets[si],
		})
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// built returns the tasks, once they are made.
func (d *deployment) built() []*task.Task {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tasks
}

// live is the whole life of a task, on its own goroutine.
func (d *deployment) live(l *local) {
	t := l.task
	if t.Open(d.ctx) == nil {
		d.w.post(event{task: &taskEvent{task: l.index, opened: true}})
		select {
		case <-d.started:
			t.Begin()
			task.Drive(d.ctx.Done(), t, d.w.cfg.Clock)
		case <-d.ctx.Done():
		}
	}
	t.Close()
	ev := &taskEvent{task: l.index, closed: true, failure: t.Failure()}
	if d.ctx.Err() != nil {
		ev.failure = nil // cancelled: what broke on the way is not a cause
	}
	d.w.post(event{task: ev})
}

// start lets the tasks and the coordinator run.
func (d *deployment) start() {
	if d.coordinator != nil {
		d.w.goDo(d.coordinator.run)
	}
	close(d.started)
}

func (d *deployment) snapshotCoordinators(id dataflow.CheckpointID) {
	if d.coordinator != nil {
		d.coordinator.snapshot(id)
	}
}

// committedCoordinators tells the coordinators of a commit. d may be nil:
// nothing was deployed yet.
func (d *deployment) committedCoordinators(id dataflow.CheckpointID) {
	if d != nil && d.coordinator != nil {
		d.coordinator.committed(id)
	}
}

// operatorEvent delivers what came over the link; what comes before the tasks
// are made waits for them.
func (d *deployment) operatorEvent(ev *controlv1.OperatorEvent) {
	if !d.lines.received(ev) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.tasks != nil:
		d.route(ev)
	case len(d.early) < earlyMax:
		d.early = append(d.early, ev)
	default:
		d.w.cfg.Log.Error("an event was dropped: too many came before the tasks were made", "limit", earlyMax)
	}
}

// earlyMax bounds the events that come before the tasks are made: readers
// send one each, once they are open.
const earlyMax = 1 << 16

// route puts an event into the mailbox that it is for; it does not block.
func (d *deployment) route(ev *controlv1.OperatorEvent) {
	op, subtask := dataflow.OperatorID(ev.GetOperatorId()), int(ev.GetSubtask())
	if !ev.GetToCoordinator() {
		d.toSubtask(op, subtask, ev.GetPayload())
		return
	}
	if d.coordinator != nil {
		d.coordinator.event(op, subtask, ev.GetPayload())
	}
}

// toSubtask delivers an event to a source that runs here, or else sends it
// over the link. Safe from any goroutine.
func (d *deployment) toSubtask(op dataflow.OperatorID, subtask int, payload []byte) {
	v := d.plan.VertexOf(op)
	if v == nil {
		d.w.cfg.Log.Error("event for an unknown operator was dropped", "operator", op)
		return
	}
	if l := d.at[place{v.Index, subtask}]; l != nil {
		l.task.Event(payload)
		return
	}
	d.lines.say(&controlv1.OperatorEvent{OperatorId: string(op), Subtask: int32(subtask), Payload: payload})
}

// reporter tells the worker's loop what its task says.
type reporter struct {
	d *deployment
	l *local
}

var _ task.Reporter = (*reporter)(nil)

func (r *reporter) post(ev *taskEvent) {
	ev.task = r.l.index
	r.d.w.post(event{task: ev})
}

// Snapshot implements task.Reporter.
func (r *reporter) Snapshot(s *task.Snapshot) { r.post(&taskEvent{snapshot: s}) }

// Declined implements task.Reporter.
func (r *reporter) Declined(id dataflow.CheckpointID, reason string) {
	r.post(&taskEvent{declined: id, reason: reason})
}

// Committed implements task.Reporter.
func (r *reporter) Committed(id dataflow.CheckpointID) { r.post(&taskEvent{committed: id}) }

// Finished implements task.Reporter.
func (r *reporter) Finished() { r.post(&taskEvent{finished: true}) }

// Event implements task.Reporter.
func (r *reporter) Event(op dataflow.OperatorID, payload []byte) {
	d := r.d
	if d.coordinator != nil {
		d.coordinator.event(op, r.l.place.subtask, payload)
		return
	}
	d.lines.say(&controlv1.OperatorEvent{
		OperatorId: string(op), Subtask: int32(r.l.place.subtask), ToCoordinator: true, Payload: payload,
	})
}
