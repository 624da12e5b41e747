package worker

import (
	"fmt"

	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/task"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/lookup"
)

// readsMax bounds the reads of state under way in a worker.
const readsMax = 16

// readState answers a query for the state of a subtask. One key is read on
// the task's goroutine; a range of keys out of a snapshot, beside the task.
func (w *driver) readState(q *controlv1.StateQuery) {
	answer := func(a lookup.Answer, err error) { w.answerState(q.GetRequestId(), a, err) }
	ref := place{int(q.GetSubtask().GetVertex()), int(q.GetSubtask().GetSubtask())}
	if w.core.phase != phaseRunning {
		answer(lookup.Answer{}, fmt.Errorf("the subtask is not running"))
		return
	}
	l := w.deployment.at[ref]
	if l == nil || l.task == nil {
		answer(lookup.Answer{}, fmt.Errorf("subtask %d of vertex %d does not run here", ref.subtask, ref.vertex))
		return
	}
	if w.reads.Add(1) > readsMax {
		w.reads.Add(-1)
		answer(lookup.Answer{}, fmt.Errorf("more than %d reads of state are under way", readsMax))
		return
	}
	done := func(a lookup.Answer, err error) {
		w.reads.Add(-1)
		answer(a, err)
	}
	if !l.task.WithState(dataflow.OperatorID(q.GetOperatorId()), func(b state.Backend, err error) { w.readFrom(b, err, q, done) }) {
		done(lookup.Answer{}, task.ErrOver)
	}
}

// readFrom runs on the task's goroutine.
func (w *driver) readFrom(b state.Backend, err error, q *controlv1.StateQuery, done func(lookup.Answer, error)) {
	if err != nil {
		done(lookup.Answer{}, err)
		return
	}
	query := lookup.Query{
		Table: q.GetTable(), Key: q.GetKey(), KeyFrom: bound(q.GetKeyFrom()), KeyTo: bound(q.GetKeyTo()),
		From: q.GetFrom(), To: q.GetTo(), Limit: int(q.GetLimit()),
	}
	switch {
	case q.GetList():
		done(lookup.Tables(b))
	case !q.GetScan():
		done(lookup.Key(b, query))
	default:
		s, err := b.Snapshot(0)
		if err != nil {
			done(lookup.Answer{}, fmt.Errorf("freezing the state: %w", err))
			return
		}
		w.goDo(func() {
			defer s.Release()
			done(lookup.Range(s, query))
		})
	}
}

// bound makes the empty bytes of the wire no bound.
func bound(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func (w *driver) answerState(id string, a lookup.Answer, err error) {
	m := &controlv1.StateAnswer{RequestId: id, More: a.More}
	if err != nil {
		m.Error = err.Error()
	}
	for _, t := range a.Tables {
		m.Tables = append(m.Tables, &controlv1.StateTable{Name: t.Name, Schema: t.Schema})
	}
	for i, n := range a.Sizes {
		m.Tables[i].Entries = int64(n)
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		m.Entries = append(m.Entries, &controlv1.StateEntry{Table: int32(e.Table), Namespace: e.Namespace, Key: e.Key, Sub: e.Sub, Value: e.Value})
	}
	// A link that is gone is seen by the receiver.
	_ = w.cfg.Link.Send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_StateAnswer{StateAnswer: m}})
}
