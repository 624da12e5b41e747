package taskexec

import (
	"context"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/ctlrpc"
)

// apply steps the core and carries out its commands. What cannot be carried
// out becomes the next event.
func (e *Executor) apply(ev event) {
	next := []event{ev}
	for len(next) > 0 {
		ev, next = next[0], next[1:]
		for _, cmd := range e.core.step(e.cfg.Clock.Now(), ev) {
			if follow := e.execute(cmd); follow != nil {
				next = append(next, follow)
			}
		}
	}
}

func (e *Executor) execute(cmd command) event {
	switch c := cmd.(type) {
	case cmdSend:
		e.sendOut(c.m)
	case cmdDrop:
		if e.drop != nil {
			e.drop(c.reason)
		}
	case cmdStart:
		return e.startWorker(c)
	case cmdCancelStart:
		if cancel := e.starting[c.worker]; cancel != nil {
			cancel()
		}
	case cmdSignal:
		e.signal(c)
	case cmdDeliver:
		return e.deliverTo(c)
	case cmdForget:
		e.forget(c.worker)
	case cmdForgetJob:
		if e.cfg.ForgetJob != nil {
			e.cfg.ForgetJob(dataflow.JobID(c.job))
		}
	case cmdPlan:
		return e.startPlan(c)
	case cmdCancelPlan:
		if cancel := e.planning[c.request]; cancel != nil {
			cancel(errPlanAbandoned)
		}
	case cmdReadLog:
		e.readLog(c.req)
	}
	return nil
}

// sendOut queues a message; a session that cannot take it ends by itself and
// the core hears of it by evDisconnected.
func (e *Executor) sendOut(m *controlv1.TaskManagerMessage) {
	if e.send == nil {
		return
	}
	if err := e.send(m); err != nil {
		e.cfg.Log.Debug("message for the jobmanager was not sent", "error", err)
	}
}

// startWorker leaves fetching, starting and waiting to a goroutine of the
// worker's own, which ends with the process.
func (e *Executor) startWorker(c cmdStart) event {
	id := c.start.GetWorkerId()
	dir, err := e.dirs.workerDir(id)
	if err != nil {
		return evStartFailed{worker: id, err: errorInfo(err, CodeStart, "the worker has no working folder")}
	}
	logFile, err := e.logs.open(c.start.GetJobId(), id)
	if err != nil {
		e.removeFolder(id)
		return evStartFailed{worker: id, err: errorInfo(err, CodeStart, "the worker has no log")}
	}
	a := &admission{start: c.start, token: newToken(), memory: c.memory}
	e.mu.Lock()
	e.workers[id] = a
	e.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	e.starting[id] = cancel
	spec := Spec{
		Start: c.start, Token: a.token, Dir: dir, MemoryBytes: c.memory, CPUs: c.cpus, Log: logFile, Host: e,
	}
	e.helpers.Go(func() { e.attend(ctx, spec) })
	return nil
}

// attend starts a worker and waits for its end.
func (e *Executor) attend(ctx context.Context, spec Spec) {
	id := spec.Start.GetWorkerId()
	p, err := e.cfg.Launcher.Start(ctx, spec)
	if err != nil {
		e.removeFolder(id)
		info := errorInfo(err, CodeStart, "the worker's program could not be started")
		e.post(func() {
			e.settle(id)
			e.apply(evStartFailed{worker: id, err: info})
		})
		return
	}
	if err := e.dirs.notePID(id, p.PID()); err != nil {
		e.cfg.Log.Warn("a worker's process id was not recorded", "worker", id, "error", err)
	}
	e.post(func() {
		e.settle(id)
		e.procs[id] = p
		e.apply(evStarted{worker: id, pid: p.PID()})
	})
	exit := p.Wait()
	e.removeFolder(id) // before anyone hears of the end, and off the loop: it may be large
	e.post(func() {
		delete(e.procs, id)
		e.apply(evExited{worker: id, exit: exit})
	})
}

func (e *Executor) settle(id string) {
	if cancel := e.starting[id]; cancel != nil {
		cancel()
		delete(e.starting, id)
	}
}

func (e *Executor) signal(c cmdSignal) {
	p := e.procs[c.worker]
	switch {
	case p == nil:
	case c.kill:
		p.Kill()
	default:
		p.Terminate()
	}
}

func (e *Executor) deliverTo(c cmdDeliver) event {
	e.mu.Lock()
	a := e.workers[c.worker]
	var send func(*controlv1.WorkerCommand) error
	if a != nil {
		send = a.send
		a.noteReadable(c.c)
	}
	e.mu.Unlock()
	if send == nil {
		return nil
	}
	if err := send(c.c); err != nil {
		return evWorkerStuck{worker: c.worker, why: err.Error()}
	}
	return nil
}

// noteReadable opens the parts of a foreign savepoint that Deploy names, and
// nothing else, to the worker.
func (a *admission) noteReadable(c *controlv1.WorkerCommand) {
	for _, h := range c.GetDeploy().GetRestore().GetHandles() {
		if ctlrpc.IsURI(h.GetObject()) {
			if a.readable == nil {
				a.readable = make(map[string]struct{})
			}
			a.readable[h.GetObject()] = struct{}{}
		}
	}
}

// forget removes what is left of a worker that has gone.
func (e *Executor) forget(id string) {
	e.mu.Lock()
	a := e.workers[id]
	delete(e.workers, id)
	e.mu.Unlock()
	if a != nil && a.drop != nil {
		a.drop("the worker has ended")
	}
	e.logs.finished(id)
}

func (e *Executor) removeFolder(id string) {
	if err := e.dirs.removeWorker(id); err != nil {
		e.cfg.Log.Warn("a worker's folder was not removed", "worker", id, "error", err)
	}
}

// startPlan runs a plan child on a goroutine of its own, which ends with it.
func (e *Executor) startPlan(c cmdPlan) event {
	id := c.req.GetRequestId()
	dir, err := e.dirs.planDir()
	if err != nil {
		return evPlanned{result: &controlv1.PlanResult{RequestId: id, Error: errorInfo(err, CodePlanFailed, "no folder to plan in")}}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	e.planning[id] = cancel
	timer := e.cfg.Clock.NewTimer(c.timeout)
	e.helpers.Go(func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			cancel(fmt.Errorf("the plan took longer than %s", c.timeout))
		case <-ctx.Done():
		}
	})
	e.helpers.Go(func() {
		result := e.cfg.Launcher.Plan(ctx, c.req, dir)
		result.RequestId = id
		cancel(nil)
		if err := e.dirs.remove(dir); err != nil {
			e.cfg.Log.Warn("a plan's folder was not removed", "folder", dir, "error", err)
		}
		e.post(func() {
			delete(e.planning, id)
			e.apply(evPlanned{result: result})
		})
	})
	return nil
}

func (e *Executor) readLog(req *controlv1.ReadLog) {
	chunk := &controlv1.LogChunk{RequestId: req.GetRequestId()}
	l := e.cfg.OwnLog
	if req.GetJobId() != "" {
		l = e.logs.find(req.GetJobId(), req.GetWorkerId())
	}
	if l == nil {
		chunk.Error = "no such log on this taskmanager"
	} else if data, first, size, err := l.ReadAt(req.GetOffset(), req.GetLimit()); err != nil {
		chunk.Error = err.Error()
	} else {
		chunk.Data, chunk.Offset, chunk.Size = data, first, size
	}
	e.sendOut(&controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_LogChunk{LogChunk: chunk}})
}
