package jobmaster_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/leatstream/leat/checkpoint"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/slots"
)

// script drives one core. I/O that was commanded waits in io until a line
// answers it: "ok" as it should, "refused", "unknown" and "fenced" not.
type script struct {
	t    testing.TB
	now  time.Time
	core *jobmaster.Core
	io   []jobmaster.Command
	last *checkpointv1.Manifest
	out  strings.Builder
}

func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{now: time.Unix(1_000_000, 0)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.run(d)
		})
	})
}

func (s *script) run(d *datadriven.TestData) string {
	s.out.Reset()
	if d.Cmd == "new" {
		s.reset(d)
	} else {
		s.command(d)
	}
	fmt.Fprintf(&s.out, "[%s", s.core.State())
	if r := s.core.Reason(); r != "" {
		fmt.Fprintf(&s.out, ": %s", r)
	}
	s.out.WriteString("]\n")
	return s.out.String()
}

func (s *script) reset(d *datadriven.TestData) {
	rec := jobmaster.Record{ID: "0123456789abcdef0123456789abcdef", Name: "sim", Incarnation: "inc", Parallelism: 1}
	d.MaybeScanArgs(s.t, "from", &rec.FromSavepoint)
	var drop string
	if d.MaybeScanArgs(s.t, "drop", &drop) {
		rec.DropState = []string{drop}
	}
	core, err := jobmaster.NewCore(jobmaster.CoreConfig{
		Record: rec, Random: rand.New(rand.NewPCG(1, 1)), NewToken: func() string { return "token" }, URI: func(k string) string { return "s3://b/" + k },
	}, s.now)
	if err != nil {
		s.t.Fatal(err)
	}
	s.core, s.io = core, nil
	s.step(jobmaster.Begin{})
}

func (s *script) step(ev jobmaster.Event) {
	for _, c := range s.core.Step(s.now, ev) {
		s.show(c)
	}
	if n, last := s.core.Faults(); n > 0 {
		s.t.Fatalf("impossible event: %s", last)
	}
}

// show prints a command and keeps I/O for its answer.
func (s *script) show(c jobmaster.Command) {
	switch c := c.(type) {
	case jobmaster.RequestPlan:
		fmt.Fprintln(&s.out, "request-plan")
	case jobmaster.AcquireSlots:
		fmt.Fprintf(&s.out, "acquire %d\n", c.N)
	case jobmaster.ReleaseSlots:
		fmt.Fprintln(&s.out, "release")
	case jobmaster.Ended:
		fmt.Fprintf(&s.out, "ended %s\n", c.State)
	case jobmaster.Send:
		fmt.Fprintf(&s.out, "%s <- %s\n", c.TaskManager, message(c.Message))
	case jobmaster.Discard:
		fmt.Fprintf(&s.out, "discard %d\n", c.ID)
	case jobmaster.Sweep:
	default:
		s.io = append(s.io, c)
		fmt.Fprintf(&s.out, "io: %s\n", describe(c))
	}
}

func describe(c jobmaster.Command) string {
	switch c := c.(type) {
	case jobmaster.WriteRecord:
		return fmt.Sprintf("record attempt=%d restarts=%d pools=%v goal=%q state=%q", c.Record.Attempt, c.Record.Restarts, c.Record.Pools, c.Record.Goal, c.Record.State)
	case jobmaster.MovePointer:
		goal := "-"
		if c.Record != nil {
			goal = string(c.Record.Goal)
		}
		return fmt.Sprintf("move-pointer %d goal=%s", c.ID, goal)
	case jobmaster.ReserveIDs:
		return fmt.Sprintf("reserve %d", c.Through)
	case jobmaster.LoadManifest:
		return "load " + c.Key
	case jobmaster.CopyState:
		return fmt.Sprintf("copy %v", c.Objects)
	case jobmaster.WriteManifest:
		return fmt.Sprintf("manifest %d", c.ID)
	default:
		return strings.TrimPrefix(fmt.Sprintf("%T", c), "jobmaster.")
	}
}

func message(m *controlv1.JobManagerMessage) string {
	switch b := m.Body.(type) {
	case *controlv1.JobManagerMessage_StartWorker:
		return fmt.Sprintf("start-worker %s", b.StartWorker.WorkerId)
	case *controlv1.JobManagerMessage_StopWorker:
		return fmt.Sprintf("stop-worker %s grace=%dms", b.StopWorker.WorkerId, b.StopWorker.GraceMillis)
	case *controlv1.JobManagerMessage_WorkerCommand:
		return b.WorkerCommand.WorkerId + ": " + workerCommand(b.WorkerCommand.Command)
	}
	return fmt.Sprintf("%T", m.Body)
}

func workerCommand(c *controlv1.WorkerCommand) string {
	switch b := c.Body.(type) {
	case *controlv1.WorkerCommand_Deploy:
		r := "fresh"
		if x := b.Deploy.Restore; x != nil {
			r = fmt.Sprintf("restore=%d foreign=%v", x.CheckpointId, x.FromSavepoint)
			for _, h := range x.Handles {
				r += fmt.Sprintf(" %s:%s", h.OperatorId, h.Object)
			}
		}
		return fmt.Sprintf("deploy %s pools=%d coordinator=%v", r, len(b.Deploy.Pools), b.Deploy.Coordinator)
	case *controlv1.WorkerCommand_TriggerCheckpoint:
		t := b.TriggerCheckpoint
		return fmt.Sprintf("trigger %d savepoint=%v stop=%v final=%v", t.Id, t.Savepoint, t.Stop, t.Final)
	case *controlv1.WorkerCommand_CheckpointCommitted:
		return fmt.Sprintf("committed %d", b.CheckpointCommitted.Id)
	case *controlv1.WorkerCommand_CheckpointAborted:
		return fmt.Sprintf("aborted %d: %s", b.CheckpointAborted.Id, b.CheckpointAborted.Reason)
	case *controlv1.WorkerCommand_Start:
		return "start"
	case *controlv1.WorkerCommand_Cancel:
		return "cancel"
	}
	return fmt.Sprintf("%T", c.Body)
}

func (s *script) command(d *datadriven.TestData) {
	switch d.Cmd {
	case "plan":
		b, _ := simGraph().Marshal()
		s.step(jobmaster.PlanReady{Graph: b})
	case "granted":
		s.step(jobmaster.SlotsGranted{Shares: []slots.Share{{TaskManager: "tm-1", Slots: 1}}})
	case "tick":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(dur)
		s.step(jobmaster.Tick{})
	case "ok", "refused", "unknown", "fenced", "found", "absent", "delayed":
		if len(s.io) == 0 {
			s.t.Fatalf("%s: no I/O waits for an answer", d.Pos)
		}
		c := s.io[0]
		s.io = s.io[1:]
		s.answer(d.Cmd, c)
	case "cancel":
		s.step(jobmaster.CancelJob{})
	case "savepoint":
		kind := checkpoint.KindSavepoint
		if d.HasArg("stop") {
			kind = checkpoint.KindStop
		}
		s.step(jobmaster.TakeCheckpoint{Operation: "op", Kind: kind})
	case "operation":
		op, ok := s.core.Operation("op")
		fmt.Fprintf(&s.out, "known=%v done=%v path=%s failure=%v\n", ok, op.Done, op.Path, op.Failure)
	case "loaded":
		s.loaded(d)
	case "lost":
		s.step(jobmaster.TaskManagerLost{TaskManager: "tm-1", Reason: "its session ended"})
	default:
		s.worker(d)
	}
}

// loaded answers the load of a savepoint of another job, with state of the
// operators named.
func (s *script) loaded(d *datadriven.TestData) {
	s.io = s.io[1:]
	m := &checkpointv1.Manifest{JobId: "other", CheckpointId: 7, Kind: checkpointv1.Kind_KIND_SAVEPOINT, MaxParallelism: 128, Drained: d.HasArg("drained")}
	if a, ok := d.Arg("max"); ok {
		n, _ := strconv.Atoi(a.Vals[0])
		m.MaxParallelism = int32(n)
	}
	for _, op := range []string{"src", "out", "dedupe"} {
		if !d.HasArg(op) {
			continue
		}
		m.Operators = append(m.Operators, &checkpointv1.Operator{Id: op, Uid: op})
		m.Handles = append(m.Handles, &controlv1.StateHandle{OperatorId: op, Kind: controlv1.StateKind_STATE_KIND_KEYED, Object: "jobs/other/savepoint-7/w.state", Length: 2048})
	}
	s.step(jobmaster.ManifestLoaded{Attempt: s.core.Summary().Attempt, Manifest: m})
}

func (s *script) answer(how string, c jobmaster.Command) {
	if how == "fenced" {
		s.step(jobmaster.Fenced{})
		return
	}
	switch c := c.(type) {
	case jobmaster.WriteRecord:
		if how == "delayed" {
			s.io = append([]jobmaster.Command{c}, s.io...)
			s.step(jobmaster.WriteDelayed{Reason: "no quorum"})
			return
		}
		s.step(jobmaster.RecordWritten{Version: c.Version})
	case jobmaster.StoreGraph:
		s.step(jobmaster.GraphStored{})
	case jobmaster.CopyState:
		s.step(jobmaster.StateCopied{Attempt: c.Attempt})
	case jobmaster.LoadManifest:
		s.step(jobmaster.ManifestLoaded{Attempt: c.Attempt, Manifest: s.last})
	case jobmaster.ReserveIDs:
		s.step(jobmaster.Answer{Body: checkpoint.IDsReserved{Through: c.Through}})
	case jobmaster.WriteManifest:
		s.last = c.Manifest
		s.step(jobmaster.Answer{Body: checkpoint.ManifestWritten{ID: c.ID}})
	case jobmaster.MovePointer:
		switch how {
		case "unknown":
			s.step(jobmaster.Answer{Body: checkpoint.PointerUnknown{ID: c.ID}})
		case "refused":
			s.step(jobmaster.Answer{Body: checkpoint.PointerFailed{ID: c.ID, Reason: "refused"}})
		default:
			s.step(jobmaster.Answer{Body: checkpoint.PointerMoved{ID: c.ID}})
		}
	case jobmaster.ReadPointer:
		p := &checkpoint.Pointer{}
		if how == "found" {
			p.Latest = &checkpoint.Entry{ID: c.ID}
		}
		s.step(jobmaster.Answer{Body: checkpoint.PointerRead{ID: c.ID, Pointer: p}})
	}
}

// worker plays the one worker of the attempt: number n, or the last.
func (s *script) worker(d *datadriven.TestData) {
	n := int64(s.core.Summary().Attempt)
	if a, ok := d.Arg("attempt"); ok {
		n, _ = strconv.ParseInt(a.Vals[0], 10, 64)
	}
	id := fmt.Sprintf("0123456789ab-%d-0", n)
	var events []*controlv1.WorkerEvent
	switch d.Cmd {
	case "exited":
		s.step(jobmaster.FromTaskManager{TaskManager: "tm-1", Message: &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerExited{
			WorkerExited: &controlv1.WorkerExited{Attempt: n, WorkerId: id, Reason: "crash"}}}})
	case "ready":
		events = append(events, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Ready{Ready: &controlv1.Ready{Fingerprint: simGraph().Fingerprint()}}})
	case "deployed":
		events = append(events, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Deployed{}})
	case "running", "finished", "failed":
		state := controlv1.TaskState_value["TASK_STATE_"+strings.ToUpper(d.Cmd)]
		for v := range int32(2) {
			events = append(events, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_TaskStatus{TaskStatus: &controlv1.TaskStatus{
				Subtask: &controlv1.SubtaskRef{Vertex: v}, State: controlv1.TaskState(state),
				Failure: &controlv1.Failure{Error: &controlv1.ErrorInfo{What: "boom"}}}}})
		}
	case "ack":
		events = s.acks(d)
	case "decline":
		events = append(events, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CheckpointDecline{CheckpointDecline: &controlv1.CheckpointDecline{Id: s.id(d), Reason: "4 transactions are sealed"}}})
	case "trouble":
		events = append(events, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_Metrics{Metrics: &controlv1.MetricsReport{
			Troubles: []*controlv1.Trouble{{Operator: "out", Error: &controlv1.ErrorInfo{What: "broker unreachable"}}}}}})
	case "wanted":
		events = append(events, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CheckpointWanted{CheckpointWanted: &controlv1.CheckpointWanted{}}})
	case "commit-done":
		events = append(events, &controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CommitDone{CommitDone: &controlv1.CommitDone{Id: s.id(d)}}})
	default:
		s.t.Fatalf("unknown command %q", d.Cmd)
	}
	for _, ev := range events {
		s.step(jobmaster.FromTaskManager{TaskManager: "tm-1", Message: &controlv1.TaskManagerMessage{Body: &controlv1.TaskManagerMessage_WorkerEvent{
			WorkerEvent: &controlv1.WorkerEventEnvelope{Attempt: n, WorkerId: id, Event: ev}}}})
	}
}

func (s *script) id(d *datadriven.TestData) int64 {
	var id int64
	d.ScanArgs(s.t, "id", &id)
	return id
}

func (s *script) acks(d *datadriven.TestData) []*controlv1.WorkerEvent {
	a := &controlv1.CheckpointAck{Id: s.id(d)}
	dir := fmt.Sprintf("chk-%d/", a.Id)
	if d.HasArg("savepoint") {
		dir = fmt.Sprintf("savepoint-%d/", a.Id)
	}
	for v, op := range []string{"src", "out"} {
		a.Subtasks = append(a.Subtasks, &controlv1.SubtaskSnapshot{Subtask: &controlv1.SubtaskRef{Vertex: int32(v)}, Committables: 1,
			Handles: []*controlv1.StateHandle{{OperatorId: op, Kind: controlv1.StateKind_STATE_KIND_OPERATOR, Object: dir + "w.state", Length: 9}}})
	}
	return []*controlv1.WorkerEvent{
		{Body: &controlv1.WorkerEvent_CheckpointAck{CheckpointAck: a}},
		{Body: &controlv1.WorkerEvent_CoordinatorSnapshot{CoordinatorSnapshot: &controlv1.CoordinatorSnapshot{Id: a.Id}}},
	}
}
