package dispatcher

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/slots"
)

// staleGrace is how long a worker of an attempt that is over may take to end.
const staleGrace = 500 * time.Millisecond

// staleRepeat is the time between two orders to end one.
const staleRepeat = 5 * time.Second

// sessionID names a session as far as taskmanagers tell.
type sessionID struct {
	id       string
	instance uint64
}

// taskManager is a registered taskmanager.
type taskManager struct {
	reg        *controlv1.Register
	session    Session
	registered time.Time
	heard      time.Time
	memory     int64
	cpuSeconds float64
	workers    map[string]jobview.WorkerInfo
	// stale workers belong to attempts that are over; the slots are offered
	// once they have ended.
	stale map[string]*controlv1.RunningWorker
	// kept workers run since a former leader, for jobs that may take them over.
	kept      map[string]*controlv1.RunningWorker
	judged    bool // stale and kept are told apart
	offered   bool // the slots are in the pool
	draining  bool // it is to end
	stopAgain time.Time
}

// Connect admits a taskmanager, or says why not. Its session counts as the
// only one of that name from now on.
func (d *Dispatcher) Connect(reg *controlv1.Register, s Session) (*controlv1.Registered, error) {
	if reg.GetId() == "" {
		return nil, fmt.Errorf("taskmanager without a name: set its id")
	}
	d.mu.Lock()
	if d.over {
		d.mu.Unlock()
		return nil, errOver
	}
	var replaced Session
	if old := d.tms[reg.GetId()]; old != nil {
		if old.reg.GetInstance() != reg.GetInstance() && d.cfg.Clock.Since(old.heard) < d.cfg.HeartbeatTimeout {
			d.mu.Unlock()
			return nil, fmt.Errorf("taskmanager %q is registered already, from host %s (pid %d): names must be unique", reg.GetId(), old.reg.GetHost(), old.reg.GetPid())
		}
		replaced = d.evictLocked(old, "it registered again")
	}
	tm := d.admitLocked(reg, s)
	stops := d.stopStaleLocked(tm)
	d.mu.Unlock()
	if replaced != nil {
		replaced.Close("the taskmanager registered again")
	}
	for _, stop := range stops {
		stop()
	}
	d.cfg.Log.Info("taskmanager registered", "taskmanager", reg.GetId(), "host", reg.GetHost(), "slots", reg.GetSlots(), "workers", len(reg.GetWorkers()))
	return &controlv1.Registered{
		Epoch: int64(d.cfg.Leadership.Epoch()), HeartbeatMillis: d.cfg.HeartbeatInterval.Milliseconds(), TimeoutMillis: d.cfg.HeartbeatTimeout.Milliseconds(),
	}, nil
}

// admitLocked enters the taskmanager and tells all jobs what it runs.
func (d *Dispatcher) admitLocked(reg *controlv1.Register, s Session) *taskManager {
	now := d.cfg.Clock.Now()
	tm := &taskManager{
		reg: reg, session: s, registered: now, heard: now,
		workers: make(map[string]jobview.WorkerInfo), stale: make(map[string]*controlv1.RunningWorker), kept: make(map[string]*controlv1.RunningWorker),
	}
	for _, w := range reg.GetWorkers() {
		tm.workers[w.GetWorkerId()] = jobview.WorkerInfo{ID: w.GetWorkerId(), Job: dataflow.JobID(w.GetJobId()), Attempt: dataflow.Attempt(w.GetAttempt()), PID: w.GetPid()}
	}
	d.tms[reg.GetId()] = tm
	d.beats.Add(reg.GetId(), d.elapsed())
	if d.isReady() {
		d.judgeLocked(tm)
	}
	d.askPlansLocked()
	return tm
}

// judgeLocked tells the workers that run on a taskmanager apart, once the jobs
// are known: those that their job may take over go on, the others are to end.
func (d *Dispatcher) judgeLocked(tm *taskManager) {
	tm.judged = true
	for _, w := range tm.reg.GetWorkers() {
		j := d.jobs[dataflow.JobID(w.GetJobId())]
		if j != nil && j.attachable[w.GetWorkerId()] > 0 && int64(j.record.Attempt) == w.GetAttempt() {
			tm.kept[w.GetWorkerId()] = w
		} else {
			tm.stale[w.GetWorkerId()] = w
		}
	}
	for _, j := range d.liveLocked() {
		j.driver.Post(tm.joined(j.id))
	}
	d.offerLocked(tm)
}

// joined tells a job which of its workers the taskmanager runs.
func (tm *taskManager) joined(id dataflow.JobID) jobmaster.TaskManagerJoined {
	ev := jobmaster.TaskManagerJoined{TaskManager: tm.reg.GetId(), Host: tm.reg.GetHost()}
	for _, running := range []map[string]*controlv1.RunningWorker{tm.stale, tm.kept} {
		for _, w := range slices.Sorted(maps.Keys(running)) {
			if running[w].GetJobId() == string(id) {
				ev.Workers = append(ev.Workers, w)
			}
		}
	}
	return ev
}

// offerLocked puts the slots into the pool once no old worker uses them. Those
// of workers that go on stay with their jobs.
func (d *Dispatcher) offerLocked(tm *taskManager) {
	if len(tm.stale) == 0 && !tm.offered {
		tm.offered = true
		d.pool.Add(tm.reg.GetId(), int(tm.reg.GetSlots()))
		if tm.draining {
			d.pool.Drain(tm.reg.GetId())
		}
		for _, w := range tm.kept {
			job := dataflow.JobID(w.GetJobId())
			d.pool.Hold(job, tm.reg.GetId(), workerSlots(d.jobs[job], w.GetWorkerId()))
		}
	}
	d.grantLocked()
}

// drainLocked has the jobs move off a taskmanager. It returns what to tell it
// when none can: there are no slots elsewhere for them, also if they wait.
func (d *Dispatcher) drainLocked(tm *taskManager) *controlv1.JobManagerMessage {
	id := tm.reg.GetId()
	tm.draining = true
	d.pool.Drain(id)
	d.cfg.Log.Info("taskmanager drains", "taskmanager", id, "workers", len(tm.workers))
	moving := 0
	for _, j := range d.liveLocked() {
		held := d.pool.Held(j.id)
		needs := 0
		for _, s := range held {
			needs += s.Slots
		}
		if !slices.ContainsFunc(held, func(s slots.Share) bool { return s.TaskManager == id }) {
			continue
		}
		if room := d.pool.Room(j.id); room >= needs || j.follows && room > 0 {
			moving++
		}
	}
	d.shareOutLocked()
	if moving == 0 {
		return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Drained{Drained: &controlv1.Drained{Reason: "there are no slots elsewhere"}}}
	}
	for _, j := range d.liveLocked() {
		j.driver.Post(jobmaster.TaskManagerDrains{TaskManager: id})
	}
	return nil
}

// disinheritLocked returns the orders to end the workers that were kept for a
// job which has ended instead of taking them over. The job holds their slots
// until they have ended.
func (d *Dispatcher) disinheritLocked(tm *taskManager, id dataflow.JobID) []func() {
	found := false
	for worker, w := range tm.kept {
		if w.GetJobId() == string(id) {
			delete(tm.kept, worker)
			tm.stale[worker] = w
			found = true
		}
	}
	if !found {
		return nil
	}
	return d.stopStaleLocked(tm)
}

func workerSlots(j *job, worker string) int {
	for _, w := range j.record.Workers {
		if w.ID == worker {
			return w.Slots
		}
	}
	return 0
}

// stopStaleLocked returns the orders to end the workers of old attempts.
func (d *Dispatcher) stopStaleLocked(tm *taskManager) []func() {
	tm.stopAgain = d.cfg.Clock.Now().Add(staleRepeat)
	var out []func()
	for _, id := range slices.Sorted(maps.Keys(tm.stale)) {
		w := tm.stale[id]
		m := &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_StopWorker{StopWorker: &controlv1.StopWorker{
			JobId: w.GetJobId(), Attempt: w.GetAttempt(), WorkerId: id, GraceMillis: staleGrace.Milliseconds(),
		}}}
		out = append(out, func() { _ = tm.session.Send(m) }) // a session that fails ends, and the workers are found again
	}
	return out
}

// repeatStopsLocked asks again for what did not end.
func (d *Dispatcher) repeatStopsLocked() []func() {
	var out []func()
	for _, id := range slices.Sorted(maps.Keys(d.tms)) {
		tm := d.tms[id]
		if len(tm.stale) > 0 && !d.cfg.Clock.Now().Before(tm.stopAgain) {
			out = append(out, d.stopStaleLocked(tm)...)
		}
	}
	return out
}

// Receive takes a message of a taskmanager, in order for each session. It
// waits while the job it is for has too much to do.
func (d *Dispatcher) Receive(tmID string, instance uint64, m *controlv1.TaskManagerMessage) {
	d.mu.Lock()
	tm := d.tms[tmID]
	if tm == nil || tm.reg.GetInstance() != instance {
		d.mu.Unlock()
		return
	}
	d.beats.Beat(tmID, d.elapsed())
	tm.heard = d.cfg.Clock.Now()
	then := d.receiveLocked(tm, m)
	ctx := d.ctx
	d.mu.Unlock()
	if then.answer != nil {
		_ = tm.session.Send(then.answer) // see Session: its end is reported by Disconnect
	}
	if then.job != nil && ctx != nil {
		then.job.Deliver(ctx, jobmaster.FromTaskManager{TaskManager: tmID, Message: m})
	}
}

// reaction is what follows from a message, to be done without the lock.
type reaction struct {
	answer *controlv1.JobManagerMessage
	job    *jobmaster.Driver
}

func (d *Dispatcher) receiveLocked(tm *taskManager, m *controlv1.TaskManagerMessage) reaction {
	switch b := m.GetBody().(type) {
	case *controlv1.TaskManagerMessage_Heartbeat:
		tm.memory, tm.cpuSeconds = b.Heartbeat.GetMemoryUsedBytes(), b.Heartbeat.GetCpuSeconds()
		return reaction{answer: &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_HeartbeatAck{
			HeartbeatAck: &controlv1.HeartbeatAck{Sequence: b.Heartbeat.GetSequence()}}}}
	case *controlv1.TaskManagerMessage_Drain:
		return reaction{answer: d.drainLocked(tm)}
	case *controlv1.TaskManagerMessage_PlanResult:
		d.planResultLocked(tm.reg.GetId(), b.PlanResult)
	case *controlv1.TaskManagerMessage_LogChunk:
		d.logChunkLocked(b.LogChunk)
	case *controlv1.TaskManagerMessage_WorkerStarted:
		w := b.WorkerStarted
		tm.workers[w.GetWorkerId()] = jobview.WorkerInfo{ID: w.GetWorkerId(), Job: dataflow.JobID(w.GetJobId()), Attempt: dataflow.Attempt(w.GetAttempt()), PID: w.GetPid()}
	case *controlv1.TaskManagerMessage_WorkerExited:
		d.workerGoneLocked(tm, b.WorkerExited.GetWorkerId())
		return d.forJobLocked(b.WorkerExited.GetJobId())
	case *controlv1.TaskManagerMessage_StartWorkerFailed:
		d.workerGoneLocked(tm, b.StartWorkerFailed.GetWorkerId())
		return d.forJobLocked(b.StartWorkerFailed.GetJobId())
	case *controlv1.TaskManagerMessage_WorkerEvent:
		if a := b.WorkerEvent.GetEvent().GetStateAnswer(); a != nil {
			d.stateAnswerLocked(a)
			return reaction{}
		}
		return d.forJobLocked(b.WorkerEvent.GetJobId())
	}
	return reaction{}
}

func (d *Dispatcher) forJobLocked(id string) reaction {
	if j := d.jobs[dataflow.JobID(id)]; j != nil && j.live() {
		return reaction{job: j.driver}
	}
	return reaction{}
}

func (d *Dispatcher) workerGoneLocked(tm *taskManager, worker string) {
	delete(tm.workers, worker)
	delete(tm.kept, worker)
	w, ok := tm.stale[worker]
	if !ok {
		return
	}
	delete(tm.stale, worker)
	if tm.offered { // it was kept for a job that did not take it over
		d.pool.Release(dataflow.JobID(w.GetJobId()))
	}
	if len(tm.stale) == 0 {
		d.offerLocked(tm)
	}
}

// Disconnect tells that a session is over: the taskmanager is gone.
func (d *Dispatcher) Disconnect(tmID string, instance uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := sessionID{tmID, instance}
	if n := d.superseded[key]; n > 0 {
		// The end of a session that was replaced, or of its successor with
		// the same name and instance: whose end comes second counts.
		d.superseded[key] = n - 1
		if n == 1 {
			delete(d.superseded, key)
		}
		return
	}
	if tm := d.tms[tmID]; tm != nil && tm.reg.GetInstance() == instance {
		d.loseLocked(tm, "its session ended")
	}
}

// evictLocked is loseLocked for a session that has not ended: the caller
// closes the one returned, and its Disconnect must not hit a successor.
func (d *Dispatcher) evictLocked(tm *taskManager, reason string) Session {
	d.superseded[sessionID{tm.reg.GetId(), tm.reg.GetInstance()}]++
	d.loseLocked(tm, reason)
	return tm.session
}

// loseLocked takes a taskmanager out.
func (d *Dispatcher) loseLocked(tm *taskManager, reason string) {
	id := tm.reg.GetId()
	delete(d.tms, id)
	d.beats.Remove(id)
	d.pool.Remove(id)
	d.cfg.Log.Warn("taskmanager is gone", "taskmanager", id, "reason", reason)
	for _, j := range d.liveLocked() {
		j.driver.Post(jobmaster.TaskManagerLost{TaskManager: id, Reason: reason})
	}
	d.planTaskManagerLostLocked(id)
	d.grantLocked()
}

// Send implements jobmaster.Cluster.
func (d *Dispatcher) Send(taskManager string, m *controlv1.JobManagerMessage) {
	d.mu.Lock()
	tm := d.tms[taskManager]
	d.mu.Unlock()
	if tm != nil {
		_ = tm.session.Send(m) // its end is reported by Disconnect
	}
}

// Drop implements jobmaster.Cluster. The taskmanager registers again, and its
// workers that live are then ended before its slots are offered.
func (d *Dispatcher) Drop(taskManager, reason string) {
	d.mu.Lock()
	tm := d.tms[taskManager]
	if tm != nil {
		d.evictLocked(tm, reason)
	}
	d.mu.Unlock()
	if tm != nil {
		tm.session.Close(reason)
	}
}

// TaskManagers implements jobview.Control.
func (d *Dispatcher) TaskManagers() []jobview.TaskManager {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []jobview.TaskManager
	for _, id := range slices.Sorted(maps.Keys(d.tms)) {
		tm := d.tms[id]
		r := tm.reg
		v := jobview.TaskManager{
			ID: id, Host: r.GetHost(), Address: r.GetAddress(), Version: r.GetVersion(), OS: r.GetOs(), Arch: r.GetArch(),
			Slots: int(r.GetSlots()), SlotsFree: d.pool.FreeOn(id), MemoryBytes: r.GetMemoryBytes(), MemoryUsedBytes: tm.memory,
			CPUSeconds: tm.cpuSeconds, PID: r.GetPid(), Registered: tm.registered, LastHeartbeat: tm.heard, MetricsAddress: r.GetMetricsAddress(),
		}
		for _, w := range tm.workers {
			v.Workers = append(v.Workers, w)
		}
		slices.SortFunc(v.Workers, func(a, b jobview.WorkerInfo) int { return cmp.Compare(a.ID, b.ID) })
		out = append(out, v)
	}
	return out
}
