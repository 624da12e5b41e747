package diagnosis_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/diagnosis"
	"github.com/leatstream/leat/runtime/jobview"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// lane is what a vertex' subtask did within a second.
type lane struct {
	busy, blocked int64 // per cent
	in, out       int64
	watermark     int64
}

// job is a chain of vertices at work, in two views a second apart.
func job(t *testing.T, vertices ...[]lane) (before, after diagnosis.Sample) {
	t.Helper()
	g := &graph.JobGraph{Version: graph.FormatVersion, MaxParallelism: 128}
	for i, lanes := range vertices {
		kind := graph.KindOperator
		if i == 0 {
			kind = graph.KindSource
		}
		id := fmt.Sprintf("v%d", i)
		g.Nodes = append(g.Nodes, &graph.Node{ID: dataflow.OperatorID(id), UID: id, Name: id, Kind: kind, Parallelism: len(lanes)})
		if i > 0 {
			g.Edges = append(g.Edges, &graph.Edge{From: g.Nodes[i-1].ID, To: g.Nodes[i].ID, Partitioning: graph.Hash})
		}
	}
	plan, err := graph.Build(g, 1)
	if err != nil {
		t.Fatal(err)
	}
	view := func(times int64) jobview.Job {
		j := jobview.Job{Name: "j", State: jobview.JobRunning, Plan: plan, Attempt: 1, StateSince: map[jobview.JobState]time.Time{jobview.JobRunning: now.Add(-time.Hour)}}
		for i, lanes := range vertices {
			v := jobview.Vertex{ID: g.Nodes[i].ID, Name: g.Nodes[i].Name, Parallelism: len(lanes)}
			for _, l := range lanes {
				v.Subtasks = append(v.Subtasks, jobview.Subtask{State: "RUNNING", TaskManager: "tm-1", Watermark: l.watermark,
					BusyMillis: times * 10 * l.busy, BackPressuredMillis: times * 10 * l.blocked, IdleMillis: times * 10 * (100 - l.busy - l.blocked),
					RecordsIn: times * l.in, RecordsOut: times * l.out})
			}
			j.Vertices = append(j.Vertices, v)
		}
		return j
	}
	return diagnosis.Sample{Job: view(1), At: now.Add(-time.Second)}, diagnosis.Sample{Job: view(2), At: now}
}

func rules(found []diagnosis.Problem) string {
	var out []string
	for _, p := range found {
		out = append(out, p.Rule)
	}
	return strings.Join(out, " ")
}

func TestFlows(t *testing.T) {
	t.Parallel()
	const day = 24 * 3600 * 1000
	for name, c := range map[string]struct {
		vertices    [][]lane
		rules, says string
	}{
		"healthy":                {[][]lane{{{busy: 40, out: 900, watermark: day}}, {{busy: 50, in: 900}}}, "", ""},
		"busy and fast enough":   {[][]lane{{{busy: 95, out: 900}}, {{busy: 90, in: 900}}}, "", ""},
		"saturated":              {[][]lane{{{busy: 20, blocked: 70, out: 900}}, {{busy: 99, in: 450}, {busy: 98, in: 450}}}, "bottleneck", `vertex "v1" is saturated`},
		"the last of a chain":    {[][]lane{{{busy: 10, blocked: 85, out: 900}}, {{busy: 20, blocked: 75, in: 900, out: 900}}, {{busy: 97, in: 900}}}, "bottleneck", `"v2"`},
		"held by one before":     {[][]lane{{{busy: 10, blocked: 90, out: 900}}, {{busy: 97, in: 900, out: 9}}, {{busy: 5, in: 9}}}, "bottleneck", `"v1"`},
		"waits for the outside":  {[][]lane{{{busy: 10, blocked: 85, out: 900}}, {{busy: 3, in: 900}}}, "slow-outside", `waits for something outside`},
		"skewed":                 {[][]lane{{{busy: 10, blocked: 85, out: 900}}, {{busy: 9, in: 20}, {busy: 99, in: 860}, {busy: 8, in: 20}}}, "skew", "subtask 1 gets 2.9 times"},
		"event time held back":   {[][]lane{{{busy: 5, out: 9, watermark: day}, {busy: 5, out: 9, watermark: 2 * day}}, {{busy: 5, in: 18}}}, "watermark", "24h0m0s apart"},
		"a quiet split is none":  {[][]lane{{{busy: 5, out: 9, watermark: math.MinInt64}, {busy: 5, out: 9, watermark: 2 * day}}, {{busy: 5, in: 18}}}, "", ""},
		"nothing comes":          {[][]lane{{{busy: 0}}, {{busy: 0}}}, "no-input", `sources "v0"`},
		"slow and held, no note": {[][]lane{{{blocked: 100}}, {{busy: 100, in: 0}}}, "bottleneck", `"v1"`},
	} {
		before, after := job(t, c.vertices...)
		found := diagnosis.Find(before, after)
		if got := rules(found); got != c.rules {
			t.Errorf("%s: found %q, want %q: %+v", name, got, c.rules, found)
		}
		if text := fmt.Sprintf("%+v", found); !strings.Contains(text, c.says) {
			t.Errorf("%s: %q is not in %s", name, c.says, text)
		}
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	failure := func(ago time.Duration, record string) jobview.Exception {
		return jobview.Exception{Time: now.Add(-ago), Error: jobview.Error{Code: "LEAT3101", What: "bad"}, Operator: "parse", Record: record}
	}
	for name, c := range map[string]struct {
		change      func(*jobview.Job)
		rules, says string
	}{
		"failed": {func(j *jobview.Job) {
			j.State, j.Exceptions = jobview.JobFailed, []jobview.Exception{failure(0, "orders-3@17")}
		}, "failed", "orders-3@17"},
		"no slots": {func(j *jobview.Job) {
			j.State, j.StateReason = jobview.JobRestarting, "LEAT2101: needs 4, 2 are free"
		}, "no-slots", "needs 4, 2 are free"},
		"waits":   {func(j *jobview.Job) { j.State, j.StateReason = jobview.JobReconciling, "a new leader looks" }, "not-running", "a new leader looks"},
		"trouble": {func(j *jobview.Job) { j.StateReason = "LEAT5101: no broker answers" }, "trouble", "no broker answers"},
		"one bad record": {func(j *jobview.Job) {
			j.Exceptions = []jobview.Exception{failure(time.Second, "orders-3@17"), failure(time.Minute, "orders-3@17"), failure(2*time.Minute, "orders-3@17")}
		}, "crash-loop", "fails each time at the same record: orders-3@17"},
		"one bad operator": {func(j *jobview.Job) {
			j.Exceptions = []jobview.Exception{failure(time.Second, "a@1"), failure(time.Minute, "b@2"), failure(2*time.Minute, "c@3")}
		}, "crash-loop", "has failed 3 times alike"},
		"long ago": {func(j *jobview.Job) {
			j.Exceptions = []jobview.Exception{failure(time.Hour, "a@1"), failure(time.Hour, "b@2"), failure(2*time.Hour, "c@3")}
		}, "", ""},
		"no checkpoint": {func(j *jobview.Job) {
			j.Config.CheckpointInterval = time.Second
			j.Checkpoints.History = []jobview.Checkpoint{{ID: 9, Status: "IN_PROGRESS", Triggered: now.Add(-5 * time.Minute), Acked: 3, Subtasks: 4}}
		}, "checkpoints", "3 of 4 subtasks"},
		"failing checkpoints": {func(j *jobview.Job) {
			j.Config.CheckpointInterval = time.Second
			j.Checkpoints.Latest = &jobview.Checkpoint{ID: 7, Completed: now.Add(-10 * time.Minute)}
			j.Checkpoints.LastFailed = &jobview.Checkpoint{ID: 9, Completed: now.Add(-time.Minute), Failure: "503 SlowDown"}
		}, "checkpoints", "503 SlowDown"},
		"a checkpoint just now": {func(j *jobview.Job) {
			j.Config.CheckpointInterval = time.Second
			j.Checkpoints.Latest = &jobview.Checkpoint{ID: 7, Completed: now.Add(-5 * time.Second)}
		}, "", ""},
	} {
		before, after := job(t, []lane{{busy: 40, out: 900}}, []lane{{busy: 40, in: 900}})
		c.change(&after.Job)
		found := diagnosis.Find(before, after)
		if got := rules(found); got != c.rules {
			t.Errorf("%s: found %q, want %q: %+v", name, got, c.rules, found)
		}
		if text := fmt.Sprintf("%+v", found); !strings.Contains(text, c.says) {
			t.Errorf("%s: %q is not in %s", name, c.says, text)
		}
	}
}
