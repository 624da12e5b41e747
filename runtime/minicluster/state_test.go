package minicluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

type visit struct {
	User string
	Page string
	At   int64
}

// profile keeps one state of each kind.
type profile struct {
	last  *state.Value[visit]
	pages *state.Map[string, int64]
	list  *state.List[string]
}

func (p *profile) Open(ctx *stream.ProcessContext[string, visit]) (err error) {
	if p.last, err = state.NewValue[visit](ctx.State(), "last"); err != nil {
		return err
	}
	if p.pages, err = state.NewMap[string, int64](ctx.State(), "pages"); err != nil {
		return err
	}
	p.list, err = state.NewList[string](ctx.State(), "list")
	return err
}

func (p *profile) Process(ctx *stream.ProcessContext[string, visit], v visit) error {
	n, _ := p.pages.Get(v.Page)
	p.pages.Put(v.Page, n+1)
	p.last.Set(v)
	p.list.Add(v.Page)
	ctx.SetTimer(time.UnixMilli(v.At + 1e9))
	return nil
}

func (p *profile) OnTimer(*stream.ProcessContext[string, visit], stream.Timer) error { return nil }

const users = 20

// visits is a job whose input does not end: its state stays.
func visits([]string, map[string]string) (*graph.JobGraph, error) {
	env := stream.NewEnv(stream.JobName("visits"), stream.CheckpointInterval(50*time.Millisecond))
	var rows []visit
	for i := range int64(600) {
		rows = append(rows, visit{User: fmt.Sprintf("user-%02d", i%users), Page: fmt.Sprintf("page-%d", i%3), At: i * 1000})
	}
	in := stream.From(env, collection.Slice(rows...).Endless(), stream.UID("visits"),
		stream.TimestampMillis(func(v visit) int64 { return v.At }), stream.Watermarks(stream.Monotonous()))
	byUser := stream.KeyBy(in, func(v visit) string { return v.User })
	stream.Process(byUser, &profile{}, stream.UID("profiles")).To(collection.NewCollector(visit{}), stream.UID("none"))
	stream.AggregateWindow(byUser.Window(stream.Tumbling(10*time.Minute)), visitCount{},
		func(u string, _ stream.Window, n int64) string { return fmt.Sprint(u, n) }, stream.UID("counts")).
		To(collection.NewCollector(""), stream.UID("too"))
	return env.Graph()
}

type visitCount struct{}

func (visitCount) Add(n *int64, _ visit) { *n++ }
func (visitCount) Result(n *int64) int64 { return *n }

func readState(t *testing.T, c *minicluster.Cluster, id dataflow.JobID, q jobview.StateQuery) (jobview.StateResult, error) {
	t.Helper()
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return control.State(t.Context(), id, q)
}

func lines(s jobview.StateResult) string {
	var b strings.Builder
	for _, e := range s.Entries {
		fmt.Fprintf(&b, "%s %s %d %s %s\n", e.State, e.Key, e.Namespace, e.MapKey, e.Value)
	}
	return b.String()
}

// awaitState polls until the answer is as wanted.
func awaitState(t *testing.T, c *minicluster.Cluster, id dataflow.JobID, q jobview.StateQuery, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		s, err := readState(t, c, id, q)
		if err == nil && lines(s) == want {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("got\n%s(error %v), want\n%s", lines(s), err, want)
		}
	}
}

const user7 = `last "user-07" 0  {"User":"user-07","Page":"page-2","At":587000}
list "user-07" 0  ["page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2","page-1","page-0","page-2"]
pages "user-07" 0 "page-0" 10
pages "user-07" 0 "page-1" 10
pages "user-07" 0 "page-2" 10
`

// TestStateOfARunningJobIsRead reads one key and ranges of keys of a job over
// two taskmanagers, while it runs, and again after one of them was killed.
func TestStateOfARunningJobIsRead(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 2, Slots: 2})
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: c.AddProgram("visits", visits), Parallelism: 3})
	if err != nil {
		t.Fatal(err)
	}
	point := jobview.StateQuery{Operator: "profiles", Key: "user-07"}
	awaitState(t, c, id, point, user7)
	awaitState(t, c, id, jobview.StateQuery{Operator: "profiles", Key: `"user-07"`, Table: "last"}, strings.SplitAfter(user7, "\n")[0])
	awaitState(t, c, id, jobview.StateQuery{Operator: "profiles", Key: "nobody"}, "")

	var want strings.Builder
	for i := 5; i <= 9; i++ {
		fmt.Fprintf(&want, "pages \"user-%02d\" 0 \"page-1\" 10\n", i)
	}
	s, err := readState(t, c, id, jobview.StateQuery{Operator: "profiles", Table: "pages", Scan: true, KeyFrom: "user-05", KeyTo: "user-09"})
	got := ""
	for _, l := range strings.SplitAfter(lines(s), "\n") {
		if strings.Contains(l, "page-1") {
			got += l
		}
	}
	if err != nil || got != want.String() || len(s.Entries) != 15 || s.More {
		t.Errorf("range: %d entries, more %t, error %v\n%swant\n%s", len(s.Entries), s.More, err, got, want.String())
	}
	s, err = readState(t, c, id, jobview.StateQuery{Operator: "profiles", Table: "last", Scan: true, Limit: 3})
	if err != nil || len(s.Entries) != 3 || !s.More || string(s.Entries[2].Key) != `"user-02"` {
		t.Errorf("first three: %s more %t, error %v", lines(s), s.More, err)
	}
	from := int64(0)
	awaitState(t, c, id, jobview.StateQuery{Operator: "counts", Key: "user-03", From: &from, To: &from}, "window-aggregates \"user-03\" 0  30\n")

	s, err = readState(t, c, id, jobview.StateQuery{List: true})
	var tables []string
	for _, o := range s.Operators {
		for _, st := range o.Tables {
			tables = append(tables, fmt.Sprint(o.UID, " ", st.Name, " ", st.Kind, " ", st.Entries))
		}
	}
	if list := strings.Join(tables, ", "); err != nil || list != "profiles last value 20, profiles list list 20, profiles pages map 60, counts window-aggregates window 20" {
		t.Errorf("tables: %s, error %v", list, err)
	}

	if err := c.KillTaskManager("tm-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AddTaskManager(); err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, id, point, user7)
}

// TestStateQueriesAreRefused: each refusal says what is wrong.
func TestStateQueriesAreRefused(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 1, Slots: 1})
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: c.AddProgram("visits", visits), Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, id, jobview.StateQuery{Operator: "profiles", Key: "user-07"}, user7)
	for _, r := range []struct {
		q          jobview.StateQuery
		code, want string
	}{
		{jobview.StateQuery{Operator: "nope", Key: "x"}, "LEAT2007", `no operator of the job has UID, name or id "nope"`},
		{jobview.StateQuery{Operator: "visits", Key: "x"}, "LEAT2007", `operator "visits" has no keyed state`},
		{jobview.StateQuery{Operator: "profiles", Key: "x", Table: "lasst"}, "LEAT2008", `operator "profiles" has no state "lasst"`},
		{jobview.StateQuery{Operator: "profiles", Key: `"x" 1`}, "LEAT2008", `more than one JSON value`},
		{jobview.StateQuery{Operator: "profiles", Key: "x", Limit: 1e6}, "LEAT2008", "limit 1000000 is more than 10000"},
	} {
		_, err := readState(t, c, id, r.q)
		var e *jobview.Error
		if !errors.As(err, &e) || e.Code != r.code || !strings.Contains(e.Why, r.want) {
			t.Errorf("%+v: %v, want %s %s", r.q, err, r.code, r.want)
		}
	}
	if err := control.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	await(t, c, id, func(j jobview.Job) bool { return j.State == jobview.JobCanceled })
	_, err = readState(t, c, id, jobview.StateQuery{Operator: "profiles", Key: "user-07"})
	var e *jobview.Error
	if !errors.As(err, &e) || e.Code != "LEAT4106" {
		t.Errorf("state of a cancelled job: %v", err)
	}
}
