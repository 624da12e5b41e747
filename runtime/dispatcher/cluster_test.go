package dispatcher_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/memha"
	"github.com/leatstream/leat/runtime/jobview"
)

// cluster is a leader with taskmanagers that play the worker protocol, in
// memory and in one process.
type cluster struct {
	t       *testing.T
	service *memha.Service
	store   store.Store
	bundles *bundles
	d       *dispatcher.Dispatcher
	leader  ha.Leadership
	cancel  context.CancelFunc
	ended   chan error
	tms     map[string]*fakeTM

	mu sync.Mutex
	// program is the graph that the bundle builds, plan by plan; guarded by mu.
	program func(n int) *graph.JobGraph
}

// builds sets the program of the bundle.
func (c *cluster) builds(program func(n int) *graph.JobGraph) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.program = program
}

func (c *cluster) build(n int) *graph.JobGraph {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.program(n)
}

// wordCount is a source and a transactional sink, hash-partitioned.
func wordCount(int) *graph.JobGraph {
	g := &graph.JobGraph{
		Version: graph.FormatVersion, Name: "wordcount", MaxParallelism: 128,
		Config: graph.Config{CheckpointInterval: time.Second},
		Nodes: []*graph.Node{
			{ID: dataflow.OperatorIDOf("words"), UID: "words", Name: "words", Kind: graph.KindSource, Stateful: true},
			{ID: dataflow.OperatorIDOf("out"), UID: "out", Name: "out", Kind: graph.KindSink, Stateful: true, Transactional: true},
		},
	}
	g.Edges = []*graph.Edge{{From: g.Nodes[0].ID, To: g.Nodes[1].ID, Partitioning: graph.Hash}}
	return g
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{
		t: t, service: memha.NewService(), store: memstore.New(clock.Real{}), bundles: &bundles{},
		tms: make(map[string]*fakeTM), program: wordCount,
	}
	c.lead()
	t.Cleanup(func() { c.halt() })
	return c
}

// lead elects a new leader and runs its dispatcher.
func (c *cluster) lead() {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := c.service.Contender().Campaign(ctx, ha.Leader{ID: "jm-1"})
	if err != nil {
		c.t.Fatal(err)
	}
	c.leader, c.cancel, c.ended = l, cancel, make(chan error, 1)
	c.d = dispatcher.New(dispatcher.Config{
		Leadership: l, Store: c.store, Bundles: c.bundles, Clock: clock.Real{}, Version: "test", Seed: 1,
		Log: slog.New(slog.NewTextHandler(c.t.Output(), nil)),
	})
	d, ended := c.d, c.ended
	go func() { ended <- d.Run(ctx) }()
}

// halt ends the leader as a crash would: nobody is told.
func (c *cluster) halt() error {
	if c.cancel == nil {
		return nil
	}
	c.cancel()
	err := <-c.ended
	_ = c.leader.Resign(context.Background())
	c.cancel = nil
	for _, tm := range c.tms {
		tm.disconnect(false)
	}
	return err
}

// join registers a taskmanager.
func (c *cluster) join(id string, slots int) *fakeTM {
	c.t.Helper()
	tm := c.tms[id]
	if tm == nil {
		tm = &fakeTM{c: c, id: id, slots: slots, instance: uint64(len(c.tms) + 1), workers: make(map[string]*fakeWorker)}
		c.tms[id] = tm
	}
	if err := tm.connect(); err != nil {
		c.t.Fatal(err)
	}
	return tm
}

// submit stores a bundle and submits it.
func (c *cluster) submit(s jobview.Submission) dataflow.JobID {
	c.t.Helper()
	s.BundleSHA = "b1"
	id, err := c.d.Submit(c.t.Context(), s)
	if err != nil {
		c.t.Fatal(err)
	}
	return id
}

func (c *cluster) job(id dataflow.JobID) jobview.Job {
	c.t.Helper()
	j, err := c.d.Job(id)
	if err != nil {
		c.t.Fatal(err)
	}
	return j
}

// until advances the clock of the bubble until the job is in a state.
func (c *cluster) until(id dataflow.JobID, want jobview.JobState) jobview.Job {
	c.t.Helper()
	for range 2000 {
		if j := c.job(id); j.State == want {
			return j
		}
		moment()
	}
	j := c.job(id)
	c.t.Fatalf("job is %s (%s), want %s", j.State, j.StateReason, want)
	return j
}

// fakeTM is a taskmanager whose workers do what they are told and nothing
// else. Everything it sends and receives passes its own goroutine.
type fakeTM struct {
	c        *cluster
	id       string
	slots    int
	instance uint64

	mu      sync.Mutex
	session *fakeSession
	workers map[string]*fakeWorker
	mute    bool // says nothing any more
	// onStart, if set, may take over what a worker does instead of running.
	onStart func(w *fakeWorker) bool
	// bounded tasks end their input right after they run.
	bounded bool
	// stubborn workers do not end when they are told to.
	stubborn bool
	// silent workers do not confirm commits.
	silent bool
	plans  int
}

type fakeWorker struct {
	tm          *fakeTM
	start       *controlv1.StartWorker
	deploy      *controlv1.Deploy
	fingerprint string
	committed   []int64
	triggered   []int64
	adopted     []*controlv1.Adopt
}

// fakeSession queues what the leader sends; a goroutine of the taskmanager
// takes it.
type fakeSession struct {
	mu     sync.Mutex
	queue  []*controlv1.JobManagerMessage
	wake   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (s *fakeSession) Send(m *controlv1.JobManagerMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, m)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s *fakeSession) Close(string) { s.once.Do(func() { close(s.closed) }) }

func (tm *fakeTM) connect() error {
	s := &fakeSession{wake: make(chan struct{}, 1), closed: make(chan struct{})}
	reg := &controlv1.Register{Id: tm.id, Instance: tm.instance, Slots: int32(tm.slots), Host: "host-" + tm.id, Protocol: 1}
	tm.mu.Lock()
	for _, id := range tm.workerIDs() {
		w := tm.workers[id]
		reg.Workers = append(reg.Workers, &controlv1.RunningWorker{JobId: w.start.JobId, Attempt: w.start.Attempt, WorkerId: id})
	}
	tm.session = s
	tm.mu.Unlock()
	r, err := tm.c.d.Connect(reg, s)
	if err != nil {
		return err
	}
	go tm.run(tm.c.d, reg.Instance, s, time.Duration(r.HeartbeatMillis)*time.Millisecond)
	return nil
}

func (tm *fakeTM) workerIDs() []string {
	var ids []string
	for id := range tm.workers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// disconnect ends the session; crash ends the workers with it.
func (tm *fakeTM) disconnect(crash bool) {
	tm.mu.Lock()
	s := tm.session
	if crash {
		clear(tm.workers)
		tm.instance += 100
	}
	tm.mu.Unlock()
	if s != nil {
		s.Close("gone")
	}
}

func (tm *fakeTM) run(d *dispatcher.Dispatcher, instance uint64, s *fakeSession, beat time.Duration) {
	defer d.Disconnect(tm.id, instance)
	timer := time.NewTimer(beat)
	defer timer.Stop()
	send := func(m *controlv1.TaskManagerMessage) {
		tm.mu.Lock()
		mute := tm.mute
		tm.mu.Unlock()
		if !mute {
			d.Receive(tm.id, instance, m)
		}
	}
	for {
		select {
		case <-s.closed:
			return
		case <-timer.C:
			send(&controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_Heartbeat{Heartbeat: &controlv1.Heartbeat{Sequence: 1}}})
			timer.Reset(beat)
		case <-s.wake:
			s.mu.Lock()
			queue := s.queue
			s.queue = nil
			s.mu.Unlock()
			for _, m := range queue {
				for _, answer := range tm.handle(m) {
					send(answer)
				}
			}
		}
	}
}

// say sends an event of a worker out of turn.
func (w *fakeWorker) say(ev *controlv1.WorkerEvent) {
	w.tm.c.d.Receive(w.tm.id, w.tm.instance, w.event(ev))
}

func (w *fakeWorker) event(ev *controlv1.WorkerEvent) *controlv1.TaskManagerMessage {
	return &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerEvent{WorkerEvent: &controlv1.WorkerEventEnvelope{
		JobId: w.start.JobId, Attempt: w.start.Attempt, WorkerId: w.start.WorkerId, Event: ev,
	}}}
}

func (tm *fakeTM) exited(w *controlv1.StopWorker, reason string) *controlv1.TaskManagerMessage {
	return &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerExited{WorkerExited: &controlv1.WorkerExited{
		JobId: w.JobId, Attempt: w.Attempt, WorkerId: w.WorkerId, Reason: reason,
	}}}
}

func (tm *fakeTM) handle(m *controlv1.JobManagerMessage) []*controlv1.TaskManagerMessage {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	switch b := m.Body.(type) {
	case *controlv1.JobManagerMessage_Plan:
		return tm.plan(b.Plan)
	case *controlv1.JobManagerMessage_StartWorker:
		w := &fakeWorker{tm: tm, start: b.StartWorker, fingerprint: tm.c.build(0).Fingerprint()}
		tm.workers[w.start.WorkerId] = w
		return []*controlv1.TaskManagerMessage{
			{Body: &controlv1.TaskManagerMessage_WorkerStarted{WorkerStarted: &controlv1.WorkerStarted{JobId: w.start.JobId, Attempt: w.start.Attempt, WorkerId: w.start.WorkerId, Pid: 7}}},
			w.event(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Ready{Ready: &controlv1.Ready{Fingerprint: w.fingerprint, TcpAddress: "tcp"}}}),
		}
	case *controlv1.JobManagerMessage_StopWorker:
		if tm.stubborn {
			return nil
		}
		reason := "unknown"
		if tm.workers[b.StopWorker.WorkerId] != nil {
			reason = "stopped"
		}
		delete(tm.workers, b.StopWorker.WorkerId)
		return []*controlv1.TaskManagerMessage{tm.exited(b.StopWorker, reason)}
	case *controlv1.JobManagerMessage_WorkerCommand:
		if w := tm.workers[b.WorkerCommand.WorkerId]; w != nil {
			var out []*controlv1.TaskManagerMessage
			for _, ev := range w.command(b.WorkerCommand.Command) {
				out = append(out, w.event(ev))
			}
			return out
		}
	case *controlv1.JobManagerMessage_ReadLog:
		return []*controlv1.TaskManagerMessage{{Body: &controlv1.TaskManagerMessage_LogChunk{LogChunk: &controlv1.LogChunk{
			RequestId: b.ReadLog.RequestId, Data: []byte("log of " + tm.id), Size: 100,
		}}}}
	}
	return nil
}

func (tm *fakeTM) plan(r *controlv1.PlanRequest) []*controlv1.TaskManagerMessage {
	tm.plans++
	g := tm.c.build(tm.plans)
	res := &controlv1.PlanResult{RequestId: r.RequestId}
	if g == nil {
		res.Error = &controlv1.ErrorInfo{Code: "LEAT1218", What: "main panicked"}
	} else {
		res.Graph, _ = g.Marshal()
		res.Fingerprint = g.Fingerprint()
	}
	return []*controlv1.TaskManagerMessage{{Body: &controlv1.TaskManagerMessage_PlanResult{PlanResult: res}}}
}

// mine are the subtasks placed on the worker.
func (w *fakeWorker) mine() []*controlv1.SubtaskRef {
	var out []*controlv1.SubtaskRef
	for _, p := range w.deploy.Placements {
		if p.WorkerId == w.start.WorkerId {
			out = append(out, p.Subtask)
		}
	}
	return out
}

func (w *fakeWorker) status(s controlv1.TaskState) []*controlv1.WorkerEvent {
	var out []*controlv1.WorkerEvent
	for _, ref := range w.mine() {
		out = append(out, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_TaskStatus{TaskStatus: &controlv1.TaskStatus{Subtask: ref, State: s}}})
	}
	return out
}

func (w *fakeWorker) command(cmd *controlv1.WorkerCommand) []*controlv1.WorkerEvent {
	switch b := cmd.Body.(type) {
	case *controlv1.WorkerCommand_Deploy:
		w.deploy = b.Deploy
		return []*controlv1.WorkerEvent{{Body: &controlv1.WorkerEvent_Deployed{Deployed: &controlv1.Deployed{}}}}
	case *controlv1.WorkerCommand_Start:
		if w.tm.onStart != nil && w.tm.onStart(w) {
			return nil
		}
		out := w.status(controlv1.TaskState_TASK_STATE_RUNNING)
		if w.tm.bounded {
			out = append(out, w.status(controlv1.TaskState_TASK_STATE_FINISHED)...)
		}
		return out
	case *controlv1.WorkerCommand_Adopt:
		w.adopted = append(w.adopted, b.Adopt)
		st := &controlv1.Standing{Epoch: b.Adopt.Epoch, Running: true}
		for _, ev := range w.status(controlv1.TaskState_TASK_STATE_RUNNING) {
			st.Tasks = append(st.Tasks, ev.GetTaskStatus())
		}
		return []*controlv1.WorkerEvent{{Body: &controlv1.WorkerEvent_Standing{Standing: st}}}
	case *controlv1.WorkerCommand_TriggerCheckpoint:
		w.triggered = append(w.triggered, b.TriggerCheckpoint.Id)
		return w.snapshot(b.TriggerCheckpoint)
	case *controlv1.WorkerCommand_CheckpointCommitted:
		w.committed = append(w.committed, b.CheckpointCommitted.Id)
		if !w.tm.silent {
			return []*controlv1.WorkerEvent{{Body: &controlv1.WorkerEvent_CommitDone{CommitDone: &controlv1.CommitDone{Id: b.CheckpointCommitted.Id, Subtasks: w.mine()}}}}
		}
	}
	return nil
}

func (w *fakeWorker) snapshot(tr *controlv1.TriggerCheckpoint) []*controlv1.WorkerEvent {
	ack := &controlv1.CheckpointAck{Id: tr.Id, Bytes: 10}
	g := w.tm.c.build(0)
	for _, ref := range w.mine() {
		ack.Subtasks = append(ack.Subtasks, &controlv1.SubtaskSnapshot{Subtask: ref, Committables: 1, Finished: tr.Final,
			Handles: []*controlv1.StateHandle{{
				OperatorId: string(g.Nodes[ref.Vertex].ID), Kind: controlv1.StateKind_STATE_KIND_OPERATOR, Subtask: ref.Subtask,
				Inline: fmt.Appendf(nil, "state %d of %d", tr.Id, ref.Subtask), Length: int64(len(fmt.Sprintf("state %d of %d", tr.Id, ref.Subtask))),
			}}})
	}
	out := []*controlv1.WorkerEvent{{Body: &controlv1.WorkerEvent_CheckpointAck{CheckpointAck: ack}}}
	if w.deploy.Coordinator {
		out = append(out, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CoordinatorSnapshot{CoordinatorSnapshot: &controlv1.CoordinatorSnapshot{
			Id: tr.Id, Coordinators: []*controlv1.CoordinatorState{{OperatorId: string(g.Nodes[0].ID), State: []byte("splits")}},
		}}})
	}
	return out
}

// set changes how the taskmanager behaves.
func (tm *fakeTM) set(change func(tm *fakeTM)) {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	change(tm)
}

// running returns the workers of the job on the taskmanager; copies.
func (tm *fakeTM) running(id dataflow.JobID) []*fakeWorker {
	tm.mu.Lock()
	defer tm.mu.Unlock()
	var out []*fakeWorker
	for _, w := range tm.workerIDs() {
		if tm.workers[w].start.JobId == string(id) {
			c := *tm.workers[w]
			c.committed, c.triggered, c.adopted = slices.Clone(c.committed), slices.Clone(c.triggered), slices.Clone(c.adopted)
			out = append(out, &c)
		}
	}
	return out
}

// kill ends a worker process as a crash does.
func (tm *fakeTM) kill(w *fakeWorker) {
	tm.mu.Lock()
	delete(tm.workers, w.start.WorkerId)
	tm.mu.Unlock()
	tm.c.d.Receive(tm.id, tm.instance, &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerExited{WorkerExited: &controlv1.WorkerExited{
		JobId: w.start.JobId, Attempt: w.start.Attempt, WorkerId: w.start.WorkerId, ExitCode: 2, Reason: "crash",
	}}})
}

// bundles holds one bundle that is always there.
type bundles struct{}

func (*bundles) Put(context.Context, string, string) (jobview.Bundle, error) {
	return jobview.Bundle{SHA256: "b1"}, nil
}

func (*bundles) Get(_ context.Context, sha string) (jobview.Bundle, error) {
	if sha != "b1" {
		return jobview.Bundle{}, &jobview.Error{Code: "LEAT1213", Kind: jobview.KindNotFound, What: "no bundle " + sha}
	}
	return jobview.Bundle{SHA256: sha, JobName: "wc"}, nil
}

func (b *bundles) Ref(ctx context.Context, sha string) (*controlv1.BundleRef, error) {
	if _, err := b.Get(ctx, sha); err != nil {
		return nil, err
	}
	return &controlv1.BundleRef{Sha256: sha, Key: "bundles/" + sha, Size: 1}, nil
}

func (*bundles) List(context.Context) ([]jobview.Bundle, error) {
	return []jobview.Bundle{{SHA256: "b1"}}, nil
}

func (*bundles) Delete(context.Context, string) error { return nil }
