// Package stateprobe finds out what a program's operators would make of the
// state of a savepoint: it opens them as a task does, in a process that plans,
// on the tables of the savepoint without their entries. So the rules are those
// of the start, and what the start would report is known before. Nothing runs:
// operators are opened and closed, sources and sinks are not even that.
package stateprobe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/runtime/stateplan"
	"github.com/leatstream/leat/runtime/task"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statefile"
	"github.com/leatstream/leat/state/stateform"
)

// Probe opens the operators of g that have state, each with what is held of it.
func Probe(ctx context.Context, g *graph.JobGraph, held stateplan.Held) stateplan.Answer {
	var out stateplan.Answer
	for _, n := range g.Nodes {
		i := slices.IndexFunc(held.Operators, func(h stateplan.HeldOperator) bool { return h.ID == n.ID })
		var h stateplan.HeldOperator
		if i >= 0 {
			h = held.Operators[i]
		}
		if n.Kind != graph.KindOperator || !n.Keyed && len(h.State) == 0 && !h.Large {
			continue
		}
		p := probe{g: g, node: n, held: h}
		out.Operators = append(out.Operators, p.run(ctx))
	}
	return out
}

// probe is that of one operator.
type probe struct {
	g       *graph.JobGraph
	node    *graph.Node
	held    stateplan.HeldOperator
	backend *backend
}

func (p *probe) run(ctx context.Context) stateplan.Operator {
	out := stateplan.Operator{ID: p.node.ID}
	factory, ok := p.node.Factory.(operators.Factory)
	if !ok {
		out.Unknown = "the operator has no factory"
		return out
	}
	err := p.open(ctx, factory)
	var mismatch *state.MismatchError
	switch {
	case errors.As(err, &mismatch):
		e := task.ErrorInfo(state.NameOperator(err, p.node.UID))
		out.Error = &stateplan.Error{Code: e.GetCode(), What: e.GetWhat(), Why: e.GetWhy(), Fix: e.GetFix()}
	case err != nil:
		out.Unknown = "its Open failed where programs are planned: " + err.Error()
	case p.held.Large:
		out.Unknown = "its operator state is too large to be looked at before the start"
	}
	out.States = p.states(mismatch)
	return out
}

// open does what a task does before the first row. A panic is an error.
func (p *probe) open(ctx context.Context, factory operators.Factory) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it panicked: %v", r)
		}
	}()
	c := p.context(ctx)
	if p.node.Keyed {
		if p.backend, err = restore(p.held.Tables, c.KeyGroups, p.g.MaxParallelism); err != nil {
			return err
		}
		c.State = p.backend
		if p.node.KeySchema != "" {
			if err := state.BindKey(p.backend, p.node.KeySchema); err != nil {
				return err
			}
		}
	}
	op := factory.New()
	defer func() { err = cmp.Or(err, op.Close()) }()
	return op.Open(c)
}

func (p *probe) context(ctx context.Context) *operators.Context {
	return &operators.Context{
		Info: dataflow.TaskInfo{
			Job: "plan", JobName: p.g.Name, Operator: p.node.ID, UID: p.node.UID, Name: p.node.Name,
			Parallelism: 1, MaxParallelism: p.g.MaxParallelism, Attempt: 1,
		},
		KeyGroups: dataflow.KeyGroupsOf(0, p.g.MaxParallelism, 1),
		Restored:  p.held.State,
		Out:       nowhere{}, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler), Attempt: ctx,
		Mail: func(func() error) {}, At: func(int64, func() error) func() { return func() {} }, Wake: func() {}, SendEvent: func([]byte) {},
		FromSavepoint: true, Incarnation: "plan", OnError: operators.ErrorPolicy(p.node.OnError), Metrics: noMetrics{},
	}
}

// states says what became of each table that people know.
func (p *probe) states(refused *state.MismatchError) []stateplan.State {
	var out []stateplan.State
	add := func(s stateplan.State, schema string) {
		_, users := stateform.Of(s.Name, schema)
		if users || s.Name == state.KeyTable && s.Fate == stateplan.Refused {
			out = append(out, s)
		}
	}
	for _, t := range p.held.Tables {
		s := stateplan.State{Name: t.Name, Fate: stateplan.Unused, Was: t.Schema}
		if refused != nil && refused.Table == t.Name {
			s.Fate, s.Changes = stateplan.Refused, []string{refused.Why}
		} else if p.backend != nil {
			p.backend.fate(&s)
		}
		add(s, t.Schema)
	}
	if p.backend == nil {
		return out
	}
	for _, d := range p.backend.Tables() {
		if !slices.ContainsFunc(p.held.Tables, func(t stateplan.Table) bool { return t.Name == d.Name }) {
			add(stateplan.State{Name: d.Name, Fate: stateplan.New, Now: d.Schema}, d.Schema)
		}
	}
	slices.SortFunc(out, func(a, b stateplan.State) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// backend is an empty one with tables that were restored; it notes which are
// opened, and how they are migrated.
type backend struct {
	*memstate.Backend
	opened   map[string]bool
	migrated map[string]stateplan.State
}

var _ state.Migrator = (*backend)(nil)

func restore(tables []stateplan.Table, groups dataflow.KeyGroupRange, maxParallelism int) (*backend, error) {
	b := &backend{Backend: memstate.New(groups, maxParallelism), opened: make(map[string]bool), migrated: make(map[string]stateplan.State)}
	h := statefile.Header{Checkpoint: 1, MaxParallelism: maxParallelism, Groups: groups}
	for _, t := range tables {
		h.Tables = append(h.Tables, t.Descriptor())
	}
	var file bytes.Buffer
	w, err := statefile.NewWriter(&file, h)
	if err == nil {
		err = w.Finish(0)
	}
	if err == nil {
		err = b.Restore(&file, state.RestorePart{})
	}
	return b, err
}

// Table implements state.Backend.
func (b *backend) Table(d state.Descriptor) (state.Table, error) {
	t, err := b.Backend.Table(d)
	b.opened[d.Name] = b.opened[d.Name] || err == nil
	return t, err
}

// Migrate implements state.Migrator.
func (b *backend) Migrate(d state.Descriptor, rewrite state.Rewrite) error {
	old, _ := b.Restored(d.Name)
	b.migrated[d.Name] = stateplan.State{Name: d.Name, Fate: stateplan.Migrated, Was: old.Schema, Now: d.Schema, Changes: changes(old, d, rewrite)}
	return b.Backend.Migrate(d, rewrite)
}

func (b *backend) fate(s *stateplan.State) {
	if m, ok := b.migrated[s.Name]; ok {
		*s = m
	} else if b.opened[s.Name] {
		s.Fate, s.Now = stateplan.Restored, s.Was
	}
}

// nowhere is an operators.Output that drops everything.
type nowhere struct{}

var _ operators.Output = nowhere{}

func (nowhere) Emit(b *columnar.Batch)               { b.Release() }
func (nowhere) EmitSide(_ string, b *columnar.Batch) { b.Release() }
func (nowhere) EmitWatermark(int64)                  {}
func (nowhere) EmitIdle(bool)                        {}
func (nowhere) Ready() bool                          { return true }
func (nowhere) HasSide(string) bool                  { return false }

// noMetrics is an operators.Metrics that nobody reads.
type noMetrics struct{}

var _ operators.Metrics = noMetrics{}

func (noMetrics) Counter(string) operators.Counter { return new(counter) }
func (noMetrics) Gauge(string, func() float64)     {}

type counter struct{ n atomic.Int64 }

func (c *counter) Add(n int64)  { c.n.Add(n) }
func (c *counter) Value() int64 { return c.n.Load() }
