package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
	"github.com/leatstream/leat/runtime/slots"
)

// testPlan is source (parallelism p) -> keyed operator (p), two vertices.
func testPlan(t testing.TB, p int, r graph.Restart) *graph.Plan {
	t.Helper()
	g := &graph.JobGraph{
		Version: graph.FormatVersion, Name: "wc", MaxParallelism: 128, Config: graph.Config{Restart: r},
		Nodes: []*graph.Node{
			{ID: "a", UID: "a", Name: "words", Kind: graph.KindSource},
			{ID: "b", UID: "b", Name: "count", Kind: graph.KindSink, Keyed: true, Stateful: true},
		},
		Edges: []*graph.Edge{{From: "a", To: "b", Partitioning: graph.Hash}},
	}
	g.Config.EnsureDefaults()
	plan, err := graph.Build(g, p)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// script drives one scheduler. Every line of a command is one event.
type script struct {
	t   testing.TB
	s   *scheduler.Scheduler
	now time.Time
	cfg scheduler.Config
}

func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		sc := &script{now: time.Unix(1_000_000, 0)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			sc.t = t
			return sc.run(d)
		})
	})
}

func (sc *script) run(d *datadriven.TestData) string {
	if d.Cmd == "new" {
		return sc.reset(d)
	}
	var out strings.Builder
	for _, ev := range sc.events(d) {
		for _, c := range sc.s.Step(sc.now, ev) {
			fmt.Fprintln(&out, describe(c))
		}
	}
	fmt.Fprintf(&out, "[%s %s", sc.s.View(), sc.s.State())
	if r := sc.s.Reason(); r != "" {
		fmt.Fprintf(&out, ": %s", r)
	}
	out.WriteString("]\n")
	if d.HasArg("next") {
		fmt.Fprintf(&out, "tick is due in %s\n", sc.s.Next().Sub(sc.now))
	}
	if d.HasArg("exceptions") {
		for _, e := range sc.s.Exceptions() {
			fmt.Fprintf(&out, "exception attempt=%d restarted=%v: %s\n", e.Attempt, e.Restarted, e.Error.Error())
		}
	}
	return out.String()
}

func (sc *script) reset(d *datadriven.TestData) string {
	cfg := scheduler.Config{Job: dataflow.JobID("0123456789abcdef"), Name: "wc", Random: rand.New(rand.NewPCG(1, 1))}
	var last, goal int
	d.MaybeScanArgs(sc.t, "last", &last)
	d.MaybeScanArgs(sc.t, "goal", &goal)
	cfg.LastAttempt, cfg.Goal = dataflow.Attempt(last), scheduler.Goal(goal)
	cfg.Effects = d.HasArg("effects")
	for i, tm := range d.CmdArgs {
		if strings.HasPrefix(tm.Key, "tm-") {
			cfg.Recovered = append(cfg.Recovered, scheduler.Worker{
				ID: scheduler.WorkerID(cfg.Job, cfg.LastAttempt, i), TaskManager: tm.Key, Attempt: cfg.LastAttempt, Slots: 1,
			})
		}
	}
	sc.cfg = cfg
	sc.s = scheduler.New(cfg, sc.now)
	return fmt.Sprintf("[%s %s: %s]\n", sc.s.View(), sc.s.State(), sc.s.Reason())
}

func (sc *script) events(d *datadriven.TestData) []scheduler.Event {
	n := sc.s.Attempt()
	if d.HasArg("attempt") {
		var a int
		d.ScanArgs(sc.t, "attempt", &a)
		n = dataflow.Attempt(a)
	}
	var why, tm string
	d.MaybeScanArgs(sc.t, "why", &why)
	d.MaybeScanArgs(sc.t, "tm", &tm)
	failure := scheduler.Failure{Error: jobview.Error{Code: "LEAT9999", What: why}, Fatal: d.HasArg("fatal"), Unstartable: d.HasArg("unstartable")}
	switch d.Cmd {
	case "planned":
		return []scheduler.Event{scheduler.Planned{Plan: testPlan(sc.t, sc.int(d, "p", 2), sc.restart(d)), Fingerprint: "f1"}}
	case "tick":
		dur, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			sc.t.Fatal(err)
		}
		sc.now = sc.now.Add(dur)
		return []scheduler.Event{scheduler.Tick{}}
	case "granted":
		var sh []slots.Share
		for _, a := range d.CmdArgs {
			k, _ := strconv.Atoi(a.Vals[0])
			sh = append(sh, slots.Share{TaskManager: a.Key, Slots: k})
		}
		return []scheduler.Event{scheduler.SlotsGranted{Shares: sh}}
	case "short":
		return []scheduler.Event{scheduler.SlotsShort{Reason: "needs 2, 0 are free"}}
	case "prepared":
		return []scheduler.Event{scheduler.Prepared{Attempt: n}}
	case "prepare-failed":
		return []scheduler.Event{scheduler.PrepareFailed{Attempt: n, Failure: failure}}
	case "cancel":
		return []scheduler.Event{scheduler.Cancel{}}
	case "finish":
		return []scheduler.Event{scheduler.Finish{}}
	case "fail":
		return []scheduler.Event{scheduler.Fail{Failure: failure}}
	case "effects":
		return []scheduler.Event{scheduler.Effects{Pending: d.HasArg("pending")}}
	case "joined":
		var ids []string
		if d.HasArg("with") {
			for _, i := range d.CmdArgs[1].Vals {
				k, _ := strconv.Atoi(i)
				ids = append(ids, scheduler.WorkerID(sc.cfg.Job, sc.cfg.LastAttempt, k))
			}
		}
		return []scheduler.Event{scheduler.TaskManagerJoined{TaskManager: tm, Workers: ids}}
	case "lost":
		return []scheduler.Event{scheduler.TaskManagerLost{TaskManager: tm, Reason: "its session ended"}}
	default:
		return sc.workerEvents(d, n)
	}
}

// workerEvents are about worker w, or about all of them.
func (sc *script) workerEvents(d *datadriven.TestData, n dataflow.Attempt) []scheduler.Event {
	var workers []string
	if d.HasArg("w") {
		workers = []string{scheduler.WorkerID(sc.cfg.Job, n, sc.int(d, "w", 0))}
	} else {
		for _, w := range sc.s.Workers() {
			workers = append(workers, w.ID)
		}
	}
	var out []scheduler.Event
	for _, id := range workers {
		out = append(out, sc.workerEvent(d, n, id)...)
	}
	return out
}

func (sc *script) workerEvent(d *datadriven.TestData, n dataflow.Attempt, id string) []scheduler.Event {
	switch d.Cmd {
	case "ready":
		fp := "f1"
		d.MaybeScanArgs(sc.t, "fingerprint", &fp)
		return []scheduler.Event{scheduler.WorkerReady{Attempt: n, Worker: id, Ready: &controlv1.Ready{Fingerprint: fp, TcpAddress: "tcp-" + id}}}
	case "waits":
		return []scheduler.Event{scheduler.WorkerWaits{Attempt: n, Worker: id}}
	case "deployed":
		return []scheduler.Event{scheduler.WorkerDeployed{Attempt: n, Worker: id}}
	case "exited":
		return []scheduler.Event{scheduler.WorkerExited{Attempt: n, Worker: id, Exit: &controlv1.WorkerExited{ExitCode: 2, Reason: "crash"}}}
	case "not-started":
		return []scheduler.Event{scheduler.WorkerNotStarted{Attempt: n, Worker: id}}
	case "worker-failed":
		return []scheduler.Event{scheduler.WorkerFailed{Attempt: n, Worker: id}}
	case "tasks":
		return sc.taskEvents(d, n, id)
	case "stands":
		return sc.standing(d, n, id)
	}
	sc.t.Fatalf("unknown command %q", d.Cmd)
	return nil
}

// taskEvents report the state of all subtasks of a worker.
func (sc *script) taskEvents(d *datadriven.TestData, n dataflow.Attempt, id string) []scheduler.Event {
	var state string
	d.ScanArgs(sc.t, "state", &state)
	st := &controlv1.TaskStatus{State: controlv1.TaskState(controlv1.TaskState_value["TASK_STATE_"+state])}
	if state == "FAILED" {
		st.Failure = &controlv1.Failure{Error: &controlv1.ErrorInfo{Code: "LEAT3101", What: "index out of range"}, Fatal: d.HasArg("fatal")}
	}
	var out []scheduler.Event
	for _, p := range sc.s.Placements() {
		if p.WorkerId == id {
			out = append(out, scheduler.TaskChanged{Attempt: n, Worker: id, Status: &controlv1.TaskStatus{Subtask: p.Subtask, State: st.State, Failure: st.Failure}})
		}
	}
	return out
}

// standing tells where a worker stands, its tasks being in one state.
func (sc *script) standing(d *datadriven.TestData, n dataflow.Attempt, id string) []scheduler.Event {
	st := &controlv1.Standing{Running: !d.HasArg("not-running"), Ending: d.HasArg("ending")}
	if d.HasArg("broken") {
		st.Failure = &controlv1.Failure{Error: &controlv1.ErrorInfo{What: "the coordinator failed"}}
	}
	for _, ev := range sc.taskEvents(d, n, id) {
		st.Tasks = append(st.Tasks, ev.(scheduler.TaskChanged).Status)
	}
	return []scheduler.Event{scheduler.WorkerStanding{Attempt: n, Worker: id, Standing: st}}
}

func (sc *script) int(d *datadriven.TestData, key string, def int) int {
	d.MaybeScanArgs(sc.t, key, &def)
	return def
}

func (sc *script) restart(d *datadriven.TestData) graph.Restart {
	kind := ""
	d.MaybeScanArgs(sc.t, "restart", &kind)
	return graph.Restart{Kind: graph.RestartKind(kind), AttemptsMax: sc.int(d, "max", 0)}
}

func describe(c scheduler.Command) string {
	switch c := c.(type) {
	case scheduler.AcquireSlots:
		return fmt.Sprintf("acquire %d", c.N)
	case scheduler.ReleaseSlots:
		return "release"
	case scheduler.Prepare:
		return fmt.Sprintf("prepare attempt=%d", c.Attempt)
	case scheduler.StartWorker:
		return fmt.Sprintf("start-worker %s on %s slots=%d coordinator=%v", c.Worker.ID, c.Worker.TaskManager, c.Worker.Slots, c.Worker.Coordinator)
	case scheduler.Deploy:
		return "deploy " + c.Worker.ID
	case scheduler.Start:
		return "start " + c.Worker.ID
	case scheduler.StopWorker:
		return fmt.Sprintf("stop-worker %s on %s grace=%s", c.Worker.ID, c.Worker.TaskManager, c.Grace)
	case scheduler.Attach:
		return "attach " + c.Worker.ID
	case scheduler.Disown:
		return "disown"
	case scheduler.DropTaskManager:
		return fmt.Sprintf("drop %s: %s", c.TaskManager, c.Reason)
	case scheduler.TasksRunning:
		return fmt.Sprintf("tasks-running attempt=%d", c.Attempt)
	case scheduler.TasksFinished:
		return fmt.Sprintf("tasks-finished attempt=%d", c.Attempt)
	case scheduler.Settle:
		return "settle"
	case scheduler.AttemptEnding:
		return fmt.Sprintf("attempt-ending %d", c.Attempt)
	case scheduler.Ended:
		return "ended " + c.State.String()
	default:
		return fmt.Sprintf("%T", c)
	}
}
