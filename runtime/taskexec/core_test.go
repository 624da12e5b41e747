package taskexec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// script drives the core by lines: an event each, answered by its commands.
type script struct {
	core *core
	now  time.Time
}

func TestCore(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/core", func(t *testing.T, path string) {
		s := &script{now: time.Unix(1000, 0)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				s.create(t, d)
				return "ok"
			}
			ev := s.event(t, d)
			if ev == nil {
				return s.show(d)
			}
			return format(s.core.step(s.now, ev))
		})
	})
}

func (s *script) create(t *testing.T, d *datadriven.TestData) {
	t.Helper()
	cfg := coreConfig{
		slots: 4, memoryBytes: 400 << 20, cpus: 2, helloMax: 30 * time.Second, awayMax: 10 * time.Minute,
		planTimeoutMax: time.Minute, detachGrace: 3 * time.Second, relay: relayLimits{messagesMax: 4, bytesMax: 1 << 20},
		jobIdleMax: 15 * time.Minute,
	}
	if d.HasArg("drain") {
		cfg.drainMax = 20 * time.Second
	}
	d.MaybeScanArgs(t, "slots", &cfg.slots)
	s.core = newCore(cfg, s.now)
}

func (s *script) show(d *datadriven.TestData) string {
	var b strings.Builder
	switch d.Cmd {
	case "running":
		for _, w := range s.core.running() {
			fmt.Fprintf(&b, "%s attempt=%d pid=%d\n", w.GetWorkerId(), w.GetAttempt(), w.GetPid())
		}
	case "idle":
		fmt.Fprintln(&b, s.core.idle())
	case "relay":
		fmt.Fprintf(&b, "kept=%d bytes>0=%t\n", len(s.core.relay.kept), s.core.relay.bytes > 0)
	}
	if b.Len() == 0 {
		return "(none)"
	}
	return b.String()
}

// arg returns a text argument, or the default.
func arg(t *testing.T, d *datadriven.TestData, name, def string) string {
	t.Helper()
	d.MaybeScanArgs(t, name, &def)
	return def
}

func number(t *testing.T, d *datadriven.TestData, name string, def int64) int64 {
	t.Helper()
	d.MaybeScanArgs(t, name, &def)
	return def
}

func (s *script) event(t *testing.T, d *datadriven.TestData) event {
	t.Helper()
	w := arg(t, d, "w", "w1")
	switch d.Cmd {
	case "tick":
		after, err := time.ParseDuration(arg(t, d, "after", "0s"))
		if err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(after)
		return evTick{}
	case "connected":
		return evConnected{registered: &controlv1.Registered{Epoch: number(t, d, "epoch", 1), HeartbeatMillis: 500, TimeoutMillis: 2000}}
	case "disconnected":
		return evDisconnected{}
	case "started":
		return evStarted{worker: w, pid: number(t, d, "pid", 77)}
	case "start-failed":
		return evStartFailed{worker: w, err: &controlv1.ErrorInfo{Code: "LEAT1213"}}
	case "exited":
		return evExited{worker: w, exit: Exit{Code: int32(number(t, d, "code", 0)), Signal: arg(t, d, "signal", "")}}
	case "attached":
		return evAttached{worker: w}
	case "detached":
		return evDetached{worker: w}
	case "stuck":
		return evWorkerStuck{worker: w}
	case "says":
		return evWorker{worker: w, ev: &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Ready{Ready: &controlv1.Ready{Fingerprint: arg(t, d, "text", "x")}}}}
	case "figures":
		return evWorker{worker: w, ev: &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Metrics{Metrics: &controlv1.MetricsReport{}}}}
	case "memory":
		return evSample{memory: map[string]int64{w: number(t, d, "mib", 0) << 20}}
	case "planned":
		return evPlanned{result: &controlv1.PlanResult{RequestId: arg(t, d, "id", "p1")}}
	case "shutdown":
		return evShutdown{}
	}
	if m := message(t, d, w); m != nil {
		return evMessage{m: m}
	}
	return nil
}

func message(t *testing.T, d *datadriven.TestData, w string) *controlv1.JobManagerMessage {
	t.Helper()
	attempt := number(t, d, "attempt", 1)
	switch d.Cmd {
	case "ack":
		return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_HeartbeatAck{HeartbeatAck: &controlv1.HeartbeatAck{Sequence: number(t, d, "seq", 0)}}}
	case "start":
		return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_StartWorker{StartWorker: &controlv1.StartWorker{
			JobId: "job", Attempt: attempt, WorkerId: w, Slots: int32(number(t, d, "slots", 1)), Epoch: number(t, d, "epoch", 0),
		}}}
	case "stop":
		return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_StopWorker{StopWorker: &controlv1.StopWorker{
			JobId: "job", Attempt: attempt, WorkerId: w, GraceMillis: number(t, d, "grace", 1000),
		}}}
	case "command":
		return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_WorkerCommand{WorkerCommand: &controlv1.WorkerCommandEnvelope{
			JobId: "job", Attempt: attempt, WorkerId: w,
			Command: &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_Cancel{Cancel: &controlv1.Cancel{Reason: arg(t, d, "text", "x")}}},
		}}}
	case "drained":
		return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Drained{Drained: &controlv1.Drained{}}}
	case "plan":
		return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Plan{Plan: &controlv1.PlanRequest{
			RequestId: arg(t, d, "id", "p1"), TimeoutMillis: number(t, d, "timeout", 0),
		}}}
	}
	return nil
}

func format(cmds []command) string {
	if len(cmds) == 0 {
		return "(no commands)"
	}
	var b strings.Builder
	for _, c := range cmds {
		switch c := c.(type) {
		case cmdSend:
			fmt.Fprintf(&b, "send %s\n", formatMessage(c.m))
		case cmdDrop:
			fmt.Fprintf(&b, "drop session: %s\n", c.reason)
		case cmdStart:
			fmt.Fprintf(&b, "start %s memory=%dMiB cpus=%d\n", c.start.GetWorkerId(), c.memory>>20, c.cpus)
		case cmdCancelStart:
			fmt.Fprintf(&b, "cancel start of %s\n", c.worker)
		case cmdSignal:
			fmt.Fprintf(&b, "signal %s kill=%t\n", c.worker, c.kill)
		case cmdDeliver:
			fmt.Fprintf(&b, "deliver to %s: %s\n", c.worker, c.c.GetCancel().GetReason())
		case cmdForget:
			fmt.Fprintf(&b, "forget %s\n", c.worker)
		case cmdForgetJob:
			fmt.Fprintf(&b, "forget job %s\n", c.job)
		case cmdPlan:
			fmt.Fprintf(&b, "plan %s timeout=%s\n", c.req.GetRequestId(), c.timeout)
		case cmdCancelPlan:
			fmt.Fprintf(&b, "cancel plan %s\n", c.request)
		default:
			fmt.Fprintf(&b, "%T\n", c)
		}
	}
	return b.String()
}

func formatMessage(m *controlv1.TaskManagerMessage) string {
	switch b := m.GetBody().(type) {
	case *controlv1.TaskManagerMessage_Heartbeat:
		return fmt.Sprintf("heartbeat %d", b.Heartbeat.GetSequence())
	case *controlv1.TaskManagerMessage_Drain:
		return "drain"
	case *controlv1.TaskManagerMessage_WorkerStarted:
		return fmt.Sprintf("started %s pid=%d", b.WorkerStarted.GetWorkerId(), b.WorkerStarted.GetPid())
	case *controlv1.TaskManagerMessage_WorkerExited:
		x := b.WorkerExited
		s := fmt.Sprintf("exited %s code=%d signal=%q reason=%s", x.GetWorkerId(), x.GetExitCode(), x.GetSignal(), x.GetReason())
		if tail := strings.TrimSpace(x.GetStderrTail()); tail != "" {
			s += " (" + tail + ")"
		}
		return s
	case *controlv1.TaskManagerMessage_StartWorkerFailed:
		return fmt.Sprintf("start-failed %s %s: %s", b.StartWorkerFailed.GetWorkerId(), b.StartWorkerFailed.GetError().GetCode(), b.StartWorkerFailed.GetError().GetWhat())
	case *controlv1.TaskManagerMessage_WorkerEvent:
		if b.WorkerEvent.GetEvent().GetMetrics() != nil {
			return "figures of " + b.WorkerEvent.GetWorkerId()
		}
		return fmt.Sprintf("event of %s: %s", b.WorkerEvent.GetWorkerId(), b.WorkerEvent.GetEvent().GetReady().GetFingerprint())
	case *controlv1.TaskManagerMessage_PlanResult:
		return fmt.Sprintf("plan %s %s", b.PlanResult.GetRequestId(), b.PlanResult.GetError().GetCode())
	default:
		return fmt.Sprintf("%T", b)
	}
}
