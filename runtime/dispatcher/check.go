package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/savepointview"
	"github.com/leatstream/leat/runtime/stateplan"
)

const (
	// heldStateMax bounds the operator state that a program is shown while it is
	// planned, of one operator; its tables come without entries.
	heldStateMax = 256 << 10
	// heldMax bounds all that it is shown: it goes through a message to a
	// taskmanager.
	heldMax = 3 << 20
)

// CheckSavepoint implements jobview.Control. The bundle is planned as for a
// start, and its operators are opened where it is planned on what the savepoint
// says of its tables: so what the start would report is known before it.
func (d *Dispatcher) CheckSavepoint(ctx context.Context, s jobview.Submission) (jobview.SavepointCheck, error) {
	out := jobview.SavepointCheck{Path: s.FromSavepoint}
	s, err := d.like(s)
	if err != nil {
		return out, err
	}
	m, _, err := d.readSavepoint(ctx, s.FromSavepoint)
	if err != nil {
		return out, err
	}
	held, err := d.heldBy(ctx, m, s.FromSavepoint)
	if err != nil {
		return out, err
	}
	text, err := held.Encode()
	if err != nil || len(text) > heldMax {
		return out, invalid("LEAT4216", "the savepoint at "+s.FromSavepoint+" cannot be checked", fmt.Sprintf("what there is to say of its state has %d bytes, more than %d", len(text), heldMax),
			"start from it: a start that does not fit is refused, and changes nothing of the savepoint")
	}
	s.Properties = maps.Clone(s.Properties)
	if s.Properties == nil {
		s.Properties = make(map[string]string)
	}
	s.Properties[stateplan.Property] = text
	b, err := d.planOnce(ctx, s)
	if err != nil {
		return out, err
	}
	plan, err := buildPlan(b, s.Parallelism)
	if err != nil {
		return out, err
	}
	answer, known, err := stateplan.Detach(b)
	if err != nil {
		return out, invalid("LEAT1209", "the program's graph cannot be used", err.Error())
	}
	c := checking{m: m, graph: plan.Graph, answer: answer, known: known, sub: s}
	c.check(&out)
	return out, nil
}

// heldBy is what the program is told of the savepoint.
func (d *Dispatcher) heldBy(ctx context.Context, m *checkpointv1.Manifest, where string) (stateplan.Held, error) {
	var held stateplan.Held
	ops, err := savepoint.New(m, d.cfg.Store).Operators(ctx)
	if err != nil {
		if fault := savepointview.Fault(err, where); fault != nil {
			return held, fault
		}
		return held, errUnavailable(err.Error())
	}
	tables := make(map[dataflow.OperatorID][]stateplan.Table)
	for _, o := range ops {
		tables[o.ID] = stateplan.TablesOf(o.Tables)
	}
	for _, o := range m.GetOperators() {
		h := stateplan.HeldOperator{ID: dataflow.OperatorID(o.GetId())}
		h.Tables = tables[h.ID]
		if h.State, h.Large, err = d.operatorState(ctx, m, o.GetId()); err != nil {
			return held, errUnavailable(err.Error())
		}
		held.Operators = append(held.Operators, h)
	}
	return held, nil
}

// operatorState reads what an operator keeps beside keyed state.
func (d *Dispatcher) operatorState(ctx context.Context, m *checkpointv1.Manifest, op string) (out [][]byte, large bool, err error) {
	var sum int64
	var found []*controlv1.StateHandle
	for _, h := range m.GetHandles() {
		if h.GetKind() == controlv1.StateKind_STATE_KIND_OPERATOR && h.GetOperatorId() == op {
			found = append(found, h)
			sum += max(h.GetLength(), int64(len(h.GetInline())))
		}
	}
	if sum > heldStateMax {
		return nil, true, nil
	}
	slices.SortStableFunc(found, func(a, b *controlv1.StateHandle) int { return cmp.Compare(a.GetSubtask(), b.GetSubtask()) })
	for _, h := range found {
		b := h.GetInline()
		if h.GetObject() != "" {
			if b, err = d.readRange(ctx, h); err != nil {
				return nil, false, err
			}
		}
		out = append(out, b)
	}
	return out, false, nil
}

func (d *Dispatcher) readRange(ctx context.Context, h *controlv1.StateHandle) (b []byte, err error) {
	r, err := d.cfg.Store.Get(ctx, h.GetObject(), h.GetOffset(), h.GetLength())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(r)
}

// checking compares a savepoint with a plan.
type checking struct {
	m      *checkpointv1.Manifest
	graph  *graph.JobGraph
	answer stateplan.Answer
	known  bool // there is an answer
	sub    jobview.Submission
}

func (c *checking) check(out *jobview.SavepointCheck) {
	out.JobName = c.m.GetJobName()
	rules := jobmaster.RestoreRules{Foreign: true, AllowDrained: c.sub.AllowDrained, DropState: c.sub.DropState, Where: c.sub.FromSavepoint}
	if _, err := jobmaster.PlanRestore(c.graph, c.m, rules); err != nil {
		out.Errors = append(out.Errors, err)
	}
	bytes := jobmaster.StateBytes(c.m)
	seen := make(map[dataflow.OperatorID]bool)
	for _, o := range c.m.GetOperators() {
		id := dataflow.OperatorID(o.GetId())
		seen[id] = true
		oc := jobview.OperatorCheck{ID: id, UID: o.GetUid(), Name: o.GetName(), Bytes: bytes[o.GetId()]}
		node := c.graph.Node(id)
		switch dropped := c.dropped(o); {
		case dropped:
			oc.Fate = jobview.FateDropped
		case node == nil && oc.Bytes > 0:
			oc.Fate, oc.Why = jobview.FateLost, c.nearest(o)
		case node == nil:
			oc.Fate = jobview.FateGone
		default:
			c.restored(&oc, node, out)
			if oc.Why == "" && c.rowsTo(o.GetId()) {
				oc.Why = "the checkpoint holds rows on their way to it: a start is refused (LEAT4215) if what sends them is gone; a savepoint holds none"
			}
		}
		out.Operators = append(out.Operators, oc)
	}
	for _, n := range c.graph.Nodes {
		if !seen[n.ID] {
			oc := jobview.OperatorCheck{ID: n.ID, UID: n.UID, Name: n.Name, Fate: stateplan.New}
			if a := c.answered(n.ID); a != nil {
				oc.States = a.States
			}
			out.Operators = append(out.Operators, oc)
		}
	}
}

// restored fills what becomes of an operator that is in both.
func (c *checking) restored(oc *jobview.OperatorCheck, n *graph.Node, out *jobview.SavepointCheck) {
	oc.Fate = stateplan.Restored
	if n.Name != oc.Name {
		oc.Fate, oc.Was, oc.Name = jobview.FateMapped, oc.Name, n.Name
	}
	a := c.answered(n.ID)
	switch {
	case a == nil && !c.known && n.Keyed && oc.Bytes > 0:
		oc.Fate, oc.Why = stateplan.Unknown, "the bundle's engine does not say what it makes of state: build it with this release, or see at the start"
	case a == nil:
	case a.Error != nil:
		oc.Fate, oc.States = stateplan.Refused, a.States
		oc.Why = a.Error.Why
		out.Errors = append(out.Errors, &jobview.Error{
			Code: a.Error.Code, Kind: jobview.KindInvalid, What: a.Error.What, Where: fmt.Sprintf("operator %q", n.UID), Why: a.Error.Why, Fix: a.Error.Fix,
		})
	case a.Unknown != "":
		oc.Fate, oc.Why, oc.States = stateplan.Unknown, a.Unknown, a.States
	default:
		oc.States = a.States
		if slices.ContainsFunc(a.States, func(s stateplan.State) bool { return s.Fate == stateplan.Migrated }) {
			oc.Fate = stateplan.Migrated
		}
	}
}

// rowsTo reports whether a checkpoint holds rows that barriers overtook. From
// which operator they came is not known before they are read.
func (c *checking) rowsTo(op string) bool {
	return slices.ContainsFunc(c.m.GetHandles(), func(h *controlv1.StateHandle) bool {
		return h.GetKind() == controlv1.StateKind_STATE_KIND_CHANNEL && h.GetOperatorId() == op
	})
}

func (c *checking) answered(id dataflow.OperatorID) *stateplan.Operator {
	for i := range c.answer.Operators {
		if c.answer.Operators[i].ID == id {
			return &c.answer.Operators[i]
		}
	}
	return nil
}

func (c *checking) dropped(o *checkpointv1.Operator) bool {
	return slices.ContainsFunc(c.sub.DropState, func(name string) bool {
		return name != "" && (name == o.GetUid() || name == o.GetName() || name == o.GetId())
	})
}

// nearest names a new operator that may be the one whose state would be lost:
// of the same name, or the only new one with state.
func (c *checking) nearest(o *checkpointv1.Operator) string {
	var fresh []*graph.Node
	for _, n := range c.graph.Nodes {
		was := slices.ContainsFunc(c.m.GetOperators(), func(o *checkpointv1.Operator) bool { return o.GetId() == string(n.ID) })
		if n.Name == o.GetName() && !was {
			return fmt.Sprintf("the new operator %q has its name: give it the UID %q to go on with the state", n.UID, o.GetUid())
		}
		if n.Stateful && !was {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) == 1 {
		return fmt.Sprintf("if %q continues it, give that the UID %q", fresh[0].UID, o.GetUid())
	}
	return "no operator has its UID"
}
