package dispatcher

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/state/stateform"
)

const (
	// stateReadsMax bounds the reads of subtasks' state under way.
	stateReadsMax = 1024
	// stateTimeout bounds one read: a range is read out of all state.
	stateTimeout = 30 * time.Second
	// stateLimit and stateLimitMax bound the entries of an answer.
	stateLimit    = 100
	stateLimitMax = 10_000
)

// State implements jobview.Control. Entries are live: of the running attempt,
// not committed, each subtask read at a moment of its own.
func (d *Dispatcher) State(ctx context.Context, id dataflow.JobID, q jobview.StateQuery) (jobview.StateResult, error) {
	job, err := d.Job(id)
	if err != nil {
		return jobview.StateResult{}, err
	}
	if job.State.Terminal() {
		return jobview.StateResult{}, errEnded(job)
	}
	if job.State != jobview.JobRunning || job.Plan == nil {
		return jobview.StateResult{}, errStateUnavailable(job, "the job is "+string(job.State), job.StateReason)
	}
	if q.List {
		return d.stateTables(ctx, job, q)
	}
	node, err := keyedNode(job.Plan, q.Operator)
	if err != nil {
		return jobview.StateResult{}, err
	}
	read, err := newStateRead(job, node, q)
	if err != nil {
		return jobview.StateResult{}, err
	}
	answers, err := d.askSubtasks(ctx, job, read.asks)
	if err != nil {
		return jobview.StateResult{}, err
	}
	return read.result(answers)
}

// stateTables lists the tables of one operator, or of all that have any.
func (d *Dispatcher) stateTables(ctx context.Context, job jobview.Job, q jobview.StateQuery) (jobview.StateResult, error) {
	out := jobview.StateResult{Attempt: job.Attempt}
	for _, n := range job.Plan.Graph.Nodes {
		if !n.Keyed || q.Operator != "" && !named(n, q.Operator) {
			continue
		}
		v := job.Plan.VertexOf(n.ID)
		var asks []stateAsk
		for s := range v.Parallelism {
			asks = append(asks, stateAsk{v.Index, s, &controlv1.StateQuery{OperatorId: string(n.ID), List: true}})
		}
		answers, err := d.askSubtasks(ctx, job, asks)
		if err != nil {
			return out, err
		}
		op := jobview.StateOperator{ID: n.ID, UID: n.UID, Name: n.Name, KeySchema: n.KeySchema}
		for _, a := range answers {
			for _, t := range a.GetTables() {
				op.Tables = addTable(op.Tables, t)
			}
		}
		out.Operators = append(out.Operators, op)
	}
	if len(out.Operators) == 0 && q.Operator != "" {
		_, err := keyedNode(job.Plan, q.Operator)
		return out, err
	}
	return out, nil
}

func addTable(ts []jobview.StateTable, t *controlv1.StateTable) []jobview.StateTable {
	for i := range ts {
		if ts[i].Name == t.GetName() {
			ts[i].Entries += t.GetEntries()
			return ts
		}
	}
	form, ok := stateform.Of(t.GetName(), t.GetSchema())
	if !ok {
		return ts // the engine's own: timers
	}
	return append(ts, jobview.StateTable{Name: t.GetName(), Kind: form.Kind(), Schema: form.Shown(t.GetSchema()), Entries: t.GetEntries()})
}

func named(n *graph.Node, name string) bool {
	return n.UID == name || n.Name == name || string(n.ID) == name
}

// keyedNode finds an operator with keyed state by UID, name or id.
func keyedNode(p *graph.Plan, name string) (*graph.Node, error) {
	var have []string
	var found []*graph.Node
	for _, n := range p.Graph.Nodes {
		if named(n, name) {
			found = append(found, n)
		}
		if n.Keyed {
			have = append(have, n.UID)
		}
	}
	if i := slices.IndexFunc(found, func(n *graph.Node) bool { return n.Keyed }); i >= 0 {
		return found[i], nil
	}
	why := fmt.Sprintf("no operator of the job has UID, name or id %q", name)
	if len(found) > 0 {
		why = fmt.Sprintf("operator %q has no keyed state", name)
	}
	fix := "none of the job's operators has keyed state"
	if len(have) > 0 {
		fix = "use one of: " + strings.Join(have, ", ")
	}
	return nil, &jobview.Error{Code: "LEAT2007", Kind: jobview.KindNotFound, What: "there is no such state", Why: why, Fix: []string{fix}}
}

func errStateUnavailable(job jobview.Job, why, more string) *jobview.Error {
	if more != "" {
		why += " (" + more + ")"
	}
	return &jobview.Error{Code: "LEAT2009", Kind: jobview.KindUnavailable, What: fmt.Sprintf("the state of job %q cannot be read now", job.Name), Why: why,
		Fix: []string{"try again once the job runs; what a savepoint or checkpoint holds does not change meanwhile"}}
}

func errStateQuery(why string, fix ...string) *jobview.Error {
	return &jobview.Error{Code: "LEAT2008", Kind: jobview.KindInvalid, What: "the state query does not fit", Why: why, Fix: fix}
}

// stateAsk is a question to one subtask.
type stateAsk struct {
	vertex, subtask int
	query           *controlv1.StateQuery
}

// stateRead is a query on its way to the subtasks and back.
type stateRead struct {
	job   jobview.Job
	node  *graph.Node
	query jobview.StateQuery
	keys  *codec.Dynamic
	asks  []stateAsk
}

func newStateRead(job jobview.Job, n *graph.Node, q jobview.StateQuery) (*stateRead, error) {
	r := &stateRead{job: job, node: n, query: q}
	if q.Limit <= 0 {
		r.query.Limit = stateLimit
	}
	if r.query.Limit > stateLimitMax {
		return nil, errStateQuery(fmt.Sprintf("limit %d is more than %d", q.Limit, stateLimitMax), "ask for less, or for a smaller range of keys")
	}
	var err error
	if r.keys, err = codec.DynamicOf(n.KeySchema); err != nil {
		return nil, errStateQuery(fmt.Sprintf("the keys of operator %q cannot be written as text: %v", n.UID, err))
	}
	base := &controlv1.StateQuery{OperatorId: string(n.ID), Table: q.Table, From: math.MinInt64, To: math.MaxInt64, Limit: int32(r.query.Limit)}
	if q.From != nil {
		base.From = *q.From
	}
	if q.To != nil {
		base.To = *q.To
	}
	v := job.Plan.VertexOf(n.ID)
	if !q.Scan {
		if base.Key, err = r.encodeKey(q.Key); err != nil {
			return nil, err
		}
		group := dataflow.KeyGroupOf(codec.HashKey(base.Key), job.Plan.Graph.MaxParallelism)
		subtask := dataflow.SubtaskOf(group, job.Plan.Graph.MaxParallelism, v.Parallelism)
		r.asks = []stateAsk{{v.Index, subtask, base}}
		return r, nil
	}
	base.Scan = true
	if base.KeyFrom, err = r.encodeBound(q.KeyFrom); err != nil {
		return nil, err
	}
	if base.KeyTo, err = r.encodeBound(q.KeyTo); err != nil {
		return nil, err
	}
	for s := range v.Parallelism {
		r.asks = append(r.asks, stateAsk{v.Index, s, base})
	}
	return r, nil
}

func (r *stateRead) encodeBound(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	return r.encodeKey(text)
}

// encodeKey reads a key given as JSON; texts and times may come without
// quotes.
func (r *stateRead) encodeKey(text string) ([]byte, error) {
	k := r.keys.Type().Kind
	quotable := k == codec.KindString || k == codec.KindTime || k == codec.KindDuration || k == codec.KindBytes
	if quotable && !strings.HasPrefix(text, `"`) {
		text = string(quoteJSON(text))
	}
	key, err := r.keys.AppendKey(nil, []byte(text))
	if err != nil {
		return nil, errStateQuery(fmt.Sprintf("key of operator %q: %v", r.node.UID, err), "give the key as JSON of type "+r.node.KeySchema)
	}
	return key, nil
}

// result puts the answers of the subtasks together.
func (r *stateRead) result(answers []*controlv1.StateAnswer) (jobview.StateResult, error) {
	out := jobview.StateResult{Attempt: r.job.Attempt}
	op := jobview.StateOperator{ID: r.node.ID, UID: r.node.UID, Name: r.node.Name, KeySchema: r.node.KeySchema}
	type found struct {
		table string
		*controlv1.StateEntry
	}
	var all []found
	schemas := make(map[string]string)
	for _, a := range answers {
		out.More = out.More || a.GetMore()
		for _, t := range a.GetTables() {
			schemas[t.GetName()] = t.GetSchema()
			op.Tables = addTable(op.Tables, t)
		}
		for _, e := range a.GetEntries() {
			if i := int(e.GetTable()); i >= 0 && i < len(a.GetTables()) {
				all = append(all, found{a.GetTables()[i].GetName(), e})
			}
		}
	}
	if r.query.Table != "" && len(schemas) == 0 {
		return out, errStateQuery(fmt.Sprintf("operator %q has no state %q", r.node.UID, r.query.Table), "flinkctl state list "+string(r.job.ID))
	}
	for _, t := range op.Tables {
		if t.Kind == stateform.KindSession && (r.query.From != nil || r.query.To != nil) {
			return out, errStateQuery(fmt.Sprintf("state %q of operator %q holds sessions, which cannot be looked for by their time", t.Name, r.node.UID),
				"leave out from and to: each session is shown with its start and end")
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.table, b.table), bytes.Compare(a.GetKey(), b.GetKey()), cmp.Compare(a.GetNamespace(), b.GetNamespace()), bytes.Compare(a.GetSub(), b.GetSub()))
	})
	where := make(stateform.Homes)
	for _, f := range all {
		if err := where.Add(schemas[f.table], f.GetKey(), f.GetSub(), f.GetValue()); err != nil {
			return out, coded(err, "LEAT2008", fmt.Sprintf("state %q of operator %q cannot be read", f.table, r.node.UID))
		}
	}
	for _, f := range all {
		form, ok := stateform.Of(f.table, schemas[f.table])
		if !ok {
			continue
		}
		if len(out.Entries) == r.query.Limit {
			out.More = true
			break
		}
		e := jobview.StateEntry{State: f.table, Namespace: f.GetNamespace()}
		var err error
		if e.Key, err = r.keys.AppendKeyJSON(nil, f.GetKey()); err == nil {
			e.MapKey, e.Value, err = form.Texts(f.GetSub(), f.GetValue())
		}
		open := true
		if err == nil && form.Kind() == stateform.KindSession {
			open, err = showSession(&e)
		}
		if start, end, ok := where.Window(f.GetKey(), f.GetSub()); ok && form.Kind() == stateform.KindWindow {
			e.Namespace, e.WindowEnd = start, &end
		}
		if err != nil {
			return out, coded(err, "LEAT2008", fmt.Sprintf("state %q of operator %q cannot be shown", f.table, r.node.UID))
		}
		if open {
			out.Entries = append(out.Entries, e)
		}
	}
	out.Operators = []jobview.StateOperator{op}
	return out, nil
}

// showSession gives a session its window and what it holds.
func showSession(e *jobview.StateEntry) (open bool, err error) {
	start, end, acc, open, err := stateform.Session(e.Value)
	if err == nil {
		e.Namespace, e.WindowEnd, e.Value = start, &end, acc
	}
	return open, err
}

// askSubtasks asks all and awaits all answers. Any that fails ends it.
func (d *Dispatcher) askSubtasks(ctx context.Context, job jobview.Job, asks []stateAsk) ([]*controlv1.StateAnswer, error) {
	type waiting struct {
		id string
		ch chan *controlv1.StateAnswer
	}
	var waits []waiting
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, w := range waits {
			delete(d.stateReads, w.id)
		}
	}()
	for _, a := range asks {
		w := waiting{ch: make(chan *controlv1.StateAnswer, 1)}
		d.mu.Lock()
		if d.over || len(d.stateReads) >= stateReadsMax {
			d.mu.Unlock()
			return nil, errUnavailable("too many reads of state are under way")
		}
		w.id = d.nextIDLocked("state")
		d.stateReads[w.id] = w.ch
		d.mu.Unlock()
		waits = append(waits, w)
		if err := d.askSubtask(job, a, w.id); err != nil {
			return nil, err
		}
	}
	timer := d.cfg.Clock.NewTimer(stateTimeout)
	defer timer.Stop()
	var out []*controlv1.StateAnswer
	for i, w := range waits {
		select {
		case a := <-w.ch:
			if a.GetError() != "" {
				return nil, errStateUnavailable(job, fmt.Sprintf("subtask %d: %s", asks[i].subtask, a.GetError()), "")
			}
			out = append(out, a)
		case <-timer.C():
			return nil, errStateUnavailable(job, fmt.Sprintf("subtask %d did not answer within %s", asks[i].subtask, stateTimeout), "")
		case <-ctx.Done():
			return nil, errUnavailable(ctx.Err().Error())
		}
	}
	return out, nil
}

func (d *Dispatcher) askSubtask(job jobview.Job, a stateAsk, id string) error {
	if a.vertex >= len(job.Vertices) || a.subtask >= len(job.Vertices[a.vertex].Subtasks) {
		return errStateUnavailable(job, "its subtasks are not deployed", "")
	}
	s := job.Vertices[a.vertex].Subtasks[a.subtask]
	q := &controlv1.StateQuery{
		RequestId: id, Subtask: &controlv1.SubtaskRef{Vertex: int32(a.vertex), Subtask: int32(a.subtask)},
		OperatorId: a.query.GetOperatorId(), Table: a.query.GetTable(), List: a.query.GetList(), Key: a.query.GetKey(), Scan: a.query.GetScan(),
		KeyFrom: a.query.GetKeyFrom(), KeyTo: a.query.GetKeyTo(), From: a.query.GetFrom(), To: a.query.GetTo(), Limit: a.query.GetLimit(),
	}
	d.mu.Lock()
	tm := d.tms[s.TaskManager]
	d.mu.Unlock()
	if tm == nil || s.Worker == "" {
		return errStateUnavailable(job, fmt.Sprintf("subtask %d runs on no registered taskmanager", a.subtask), "")
	}
	m := &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_WorkerCommand{WorkerCommand: &controlv1.WorkerCommandEnvelope{
		JobId: string(job.ID), Attempt: int64(s.Attempt), WorkerId: s.Worker,
		Command: &controlv1.WorkerCommand{Body: &controlv1.WorkerCommand_StateQuery{StateQuery: q}},
	}}}
	if err := tm.session.Send(m); err != nil {
		return errUnavailable(err.Error())
	}
	return nil
}

// stateAnswerLocked takes an answer; one that nobody waits for is dropped.
func (d *Dispatcher) stateAnswerLocked(a *controlv1.StateAnswer) {
	if ch := d.stateReads[a.GetRequestId()]; ch != nil {
		delete(d.stateReads, a.GetRequestId())
		ch <- a
	}
}

func quoteJSON(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return []byte(`""`)
	}
	return bytes.TrimSpace(b.Bytes())
}
