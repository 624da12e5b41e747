package checkpoint

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// script drives one coordinator. Worker w<i> has subtask 0/<i> of vertex 0;
// time stands still except where a line says "at".
type script struct {
	t *testing.T
	c *Coordinator
	d *datadriven.TestData
	n time.Time
}

func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{t: t, n: time.Unix(1000, 0)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.d = t, d
			return s.run()
		})
	})
}

func (s *script) str(key, def string) string {
	if s.d.HasArg(key) {
		s.d.ScanArgs(s.t, key, &def)
	}
	return def
}

func (s *script) num(key string, def int64) int64 {
	v, err := strconv.ParseInt(s.str(key, strconv.FormatInt(def, 10)), 10, 64)
	if err != nil {
		s.t.Fatalf("%s: %v", key, err)
	}
	return v
}

func (s *script) dur(key, def string) time.Duration {
	v, err := time.ParseDuration(s.str(key, def))
	if err != nil {
		s.t.Fatalf("%s: %v", key, err)
	}
	return v
}

func (s *script) list(key string) []string {
	for _, a := range s.d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

func (s *script) chk() dataflow.CheckpointID { return dataflow.CheckpointID(s.num("chk", 0)) }

func (s *script) run() string {
	s.n = s.n.Add(s.dur("after", "0s"))
	switch s.d.Cmd {
	case "new":
		return s.create()
	case "state":
		return s.state()
	}
	cmds, err := s.c.Step(Event{Now: s.n, Body: s.body()})
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	return printCommands(cmds)
}

func (s *script) create() string {
	cfg := Config{Job: "j", MaxParallelism: 128, Interval: s.dur("interval", "0s"), MinPause: s.dur("min-pause", "0s"),
		Timeout: s.dur("timeout", "60s"), SavepointTimeout: s.dur("savepoint-timeout", "100s"),
		RetryPause: s.dur("retry-pause", "1s"), Retain: int(s.num("retain", 1)), PointerAttemptsMax: 2}
	rec := Recovered{Pointer: Pointer{Reserved: dataflow.CheckpointID(s.num("reserved", 1000))}}
	for _, id := range s.list("retained") {
		n, _ := strconv.Atoi(id)
		e := Entry{ID: dataflow.CheckpointID(n), Manifest: "jobs/j/chk-" + id + "/manifest"}
		rec.Pointer.Retained = append(rec.Pointer.Retained, e)
		rec.Pointer.Latest = &e
		if !s.d.HasArg("unreadable") {
			rec.Completed = append(rec.Completed, Completed{Entry: e, Dir: "jobs/j/chk-" + id + "/", Objects: append(s.list("needs"), "jobs/j/chk-"+id+"/w.state")})
		}
	}
	if id := s.num("savepoint", 0); id > 0 {
		rec.Pointer.Latest = &Entry{ID: dataflow.CheckpointID(id), Savepoint: true, Manifest: fmt.Sprintf("jobs/j/savepoint-%d/manifest", id)}
	}
	c, err := New(cfg, rec)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	s.c = c
	if !s.d.HasArg("reserved") {
		c.next = 1 // ids 1 to 1000 are reserved: scripts show small numbers
	}
	return "ok\n"
}

func (s *script) state() string {
	var b strings.Builder
	latest := "none"
	if l := s.c.Latest(); l != nil {
		latest = fmt.Sprint(l.ID)
	}
	fmt.Fprintf(&b, "latest=%s settled=%v ending=%v failures=%d stale=%d", latest, s.c.Settled(), s.c.Ending(), s.c.Failures(), s.c.Stale())
	if wake, ok := s.c.Wake(); ok {
		fmt.Fprintf(&b, " wake=+%v", wake.Sub(s.n))
	}
	if a, ok := s.c.Active(); ok {
		fmt.Fprintf(&b, " active=%d acked=%d/%d waiting=%v", a.ID, a.Acked, a.Subtasks, a.Waiting)
	}
	return b.String() + "\n"
}

func (s *script) body() Body {
	attempt := dataflow.Attempt(s.num("attempt", 1))
	worker := s.str("worker", "w0")
	switch s.d.Cmd {
	case "tick":
		return Tick{}
	case "start":
		return s.start(attempt)
	case "end":
		return AttemptEnded{Attempt: attempt, Reason: s.str("reason", "gone")}
	case "hasten":
		return Hasten{Attempt: attempt}
	case "request":
		return s.request()
	case "ack":
		return Ack{Attempt: attempt, Worker: worker, Ack: s.ack(worker)}
	case "decline":
		return Decline{Attempt: attempt, Worker: worker, Decline: &controlv1.CheckpointDecline{Id: s.num("chk", 0), Reason: s.str("reason", "busy")}}
	case "snapshot":
		return Snapshot{Attempt: attempt, Worker: worker, Snapshot: &controlv1.CoordinatorSnapshot{Id: s.num("chk", 0)}}
	case "done":
		return CommitDone{Attempt: attempt, Worker: worker, ID: s.chk()}
	case "fenced":
		return Fenced{}
	}
	return s.answer()
}

func (s *script) start(attempt dataflow.Attempt) Body {
	e := AttemptStarted{Attempt: attempt, CoordinatorWorker: s.str("coordinator", ""), Restored: dataflow.CheckpointID(s.num("restored", 0))}
	for i, w := range s.list("workers") {
		e.Workers = append(e.Workers, Worker{ID: w, Subtasks: []Subtask{{Vertex: 0, Index: i}}})
	}
	e.Operators = []Operator{{ID: "op", UID: "u", Name: "n", Parallelism: len(e.Workers)}}
	return e
}

func (s *script) request() Body {
	for k := KindPeriodic; k <= KindFinal; k++ {
		if k.String() == s.str("kind", "") {
			return Request{Operation: s.str("op", "op"), Kind: k, Target: s.str("target", "")}
		}
	}
	s.t.Fatalf("unknown kind %q", s.str("kind", ""))
	return nil
}

func (s *script) ack(worker string) *controlv1.CheckpointAck {
	index, _ := strconv.Atoi(strings.TrimPrefix(worker, "w"))
	sub := &controlv1.SubtaskSnapshot{Subtask: &controlv1.SubtaskRef{Subtask: int32(s.num("subtask", int64(index)))}, Finished: s.d.HasArg("finished")}
	for i, o := range s.list("objects") {
		sub.Handles = append(sub.Handles, &controlv1.StateHandle{OperatorId: "op", Kind: controlv1.StateKind_STATE_KIND_OPERATOR,
			Subtask: int32(index), Object: o, Offset: int64(i), Length: 10})
	}
	return &controlv1.CheckpointAck{Id: s.num("chk", 0), Subtasks: []*controlv1.SubtaskSnapshot{sub}, Bytes: 10}
}

func (s *script) answer() Body {
	id, reason := s.chk(), s.str("reason", "no")
	switch s.d.Cmd {
	case "manifest-written":
		return ManifestWritten{ID: id}
	case "manifest-failed":
		return ManifestFailed{ID: id, Reason: reason}
	case "pointer-moved":
		return PointerMoved{ID: id}
	case "pointer-failed":
		return PointerFailed{ID: id, Reason: reason}
	case "pointer-unknown":
		return PointerUnknown{ID: id}
	case "pointer-unread":
		return PointerUnread{ID: id, Reason: reason}
	case "pointer-read":
		p := &Pointer{}
		if n := s.num("latest", 0); n > 0 {
			p.Latest = &Entry{ID: dataflow.CheckpointID(n)}
		}
		return PointerRead{ID: id, Pointer: p}
	case "reserved":
		return IDsReserved{Through: dataflow.CheckpointID(s.num("through", 0))}
	case "reserve-failed":
		return ReserveFailed{Reason: reason}
	}
	s.t.Fatalf("unknown command %s", s.d.Cmd)
	return nil
}

func printCommands(cmds []Command) string {
	if len(cmds) == 0 {
		return "(no commands)\n"
	}
	var b strings.Builder
	for _, x := range cmds {
		fmt.Fprintln(&b, printCommand(x))
	}
	return b.String()
}

func printCommand(x Command) string {
	switch x := x.(type) {
	case ReserveIDs:
		return fmt.Sprintf("reserve through=%d", x.Through)
	case Trigger:
		m := x.Message
		s := fmt.Sprintf("trigger chk=%d kind=%v to=%v dir=%s", m.GetId(), x.Summary.Kind, x.To, m.GetObjectDir())
		return s + flags(m.GetSavepoint(), " savepoint") + flags(m.GetStop(), " stop") + flags(m.GetDrain(), " drain") + flags(m.GetFinal(), " final")
	case Abort:
		return fmt.Sprintf("abort chk=%d to=%v cause=%q reason=%q", x.ID, x.To, x.Cause, x.Reason)
	case WriteManifest:
		s := fmt.Sprintf("write manifest chk=%d key=%s", x.ID, x.Key)
		for _, o := range x.Manifest.GetObjects() {
			s += fmt.Sprintf("\n  object %s size=%d", o.GetKey(), o.GetSize())
		}
		return s + flags(x.Manifest.GetOperators()[0].GetFinished(), "\n  finished")
	case MovePointer:
		s := fmt.Sprintf("move pointer chk=%d latest=%d retained=", x.ID, x.Pointer.Latest.ID)
		for _, e := range x.Pointer.Retained {
			s += fmt.Sprintf("%d,", e.ID)
		}
		return s + fmt.Sprintf(" reserved=%d", x.Pointer.Reserved)
	case ReadPointer:
		return fmt.Sprintf("read pointer chk=%d", x.ID)
	case NotifyCommitted:
		return fmt.Sprintf("notify committed chk=%d to=%v", x.ID, x.To)
	case Committed:
		return fmt.Sprintf("committed chk=%d bytes=%d", x.Entry.ID, x.Summary.Bytes)
	case Discard:
		return fmt.Sprintf("discard %s keep=%v", x.Prefix, x.Keep)
	case Sweep:
		return fmt.Sprintf("sweep %s below=%d keep=%v", x.Prefix, x.Below, x.Keep)
	case OperationDone:
		return fmt.Sprintf("operation %s %v: %v chk=%d manifest=%s unconfirmed=%v reason=%q", x.Operation, x.Kind, x.Outcome, x.ID, x.Manifest, x.Unconfirmed, x.Reason)
	}
	return fmt.Sprintf("%T", x)
}

func flags(set bool, name string) string {
	if set {
		return name
	}
	return ""
}
