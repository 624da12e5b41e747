package dispatcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

const (
	// plansWanted is how often a program is run to plan it: two plans that
	// differ show that the graph is not a function of its inputs.
	plansWanted = 2
	// planSlack is how long a taskmanager may take on top of the program's
	// time: fetching the bundle, waiting for its turn.
	planSlack = 30 * time.Second
	// plansMax bounds the plans asked for by people at a time; jobs are
	// bounded by JobsMax.
	plansMax = 64
	// planTriesMax bounds the taskmanagers that may be lost over one plan.
	planTriesMax = 8
)

// planning is one program being planned.
type planning struct {
	name   string
	bundle *controlv1.BundleRef
	inputs *controlv1.ProgramInputs
	asks   map[string]*ask // by request id
	graphs [][]byte
	tries  int
	waits  func(reason string)
	done   func(g []byte, err *jobview.Error) // called once, under the lock
}

type ask struct {
	tm       string
	deadline time.Time
}

// planLocked begins a planning; done is called with Dispatcher.mu held.
func (d *Dispatcher) planLocked(p *planning) {
	p.asks = make(map[string]*ask)
	d.plans = append(d.plans, p)
	d.askPlansLocked()
}

// askPlansLocked asks taskmanagers for the plans that nobody works on.
func (d *Dispatcher) askPlansLocked() {
	ids := slices.Sorted(maps.Keys(d.tms))
	for _, p := range slices.Clone(d.plans) {
		if len(ids) == 0 {
			p.waits(fmt.Sprintf("LEAT2101: job %q waits for a taskmanager: none is registered, and its program is planned on one", p.name))
			continue
		}
		for len(p.asks)+len(p.graphs) < plansWanted && p.tries < planTriesMax {
			p.tries++
			d.askLocked(p, ids[d.leastAskedLocked(ids)])
		}
	}
}

// leastAskedLocked returns the taskmanager with the fewest plans to make.
func (d *Dispatcher) leastAskedLocked(ids []string) int {
	load := make(map[string]int)
	for _, p := range d.plans {
		for _, a := range p.asks {
			load[a.tm]++
		}
	}
	best := 0
	for i, id := range ids {
		if load[id] < load[ids[best]] {
			best = i
		}
	}
	return best
}

func (d *Dispatcher) askLocked(p *planning, tm string) {
	id := d.nextIDLocked("plan")
	p.asks[id] = &ask{tm: tm, deadline: d.cfg.Clock.Now().Add(d.cfg.PlanTimeout + planSlack)}
	p.waits(fmt.Sprintf("job %q is being planned on %s", p.name, tm))
	m := &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Plan{Plan: &controlv1.PlanRequest{
		RequestId: id, Bundle: p.bundle, Inputs: p.inputs, TimeoutMillis: d.cfg.PlanTimeout.Milliseconds(),
	}}}
	_ = d.tms[tm].session.Send(m) // Session.Send does not block; its end is reported by Disconnect
}

// planResultLocked takes a taskmanager's answer.
func (d *Dispatcher) planResultLocked(tm string, r *controlv1.PlanResult) {
	for _, p := range d.plans {
		a := p.asks[r.GetRequestId()]
		if a == nil || a.tm != tm {
			continue
		}
		delete(p.asks, r.GetRequestId())
		if e := r.GetError(); e != nil {
			d.planDoneLocked(p, nil, &jobview.Error{Code: e.GetCode(), Kind: jobview.KindInvalid, What: e.GetWhat(), Where: e.GetWhere(), Why: e.GetWhy(), Fix: e.GetFix()})
			return
		}
		p.graphs = append(p.graphs, r.GetGraph())
		if len(p.graphs) == plansWanted {
			g, err := comparePlans(p.graphs)
			d.planDoneLocked(p, g, err)
		}
		return
	}
}

func (d *Dispatcher) planDoneLocked(p *planning, g []byte, err *jobview.Error) {
	d.plans = slices.DeleteFunc(d.plans, func(o *planning) bool { return o == p })
	p.done(g, err)
}

// comparePlans checks that all graphs are the same one.
func comparePlans(graphs [][]byte) ([]byte, *jobview.Error) {
	var first *graph.JobGraph
	for _, b := range graphs {
		g, err := graph.Unmarshal(b)
		if err != nil {
			return nil, invalid("LEAT1209", "the program's graph cannot be used", err.Error())
		}
		if first == nil {
			first = g
			continue
		}
		if a, b := first.Fingerprint(), g.Fingerprint(); a != b {
			return nil, &jobview.Error{
				Code: "LEAT1207", Kind: jobview.KindInvalid,
				What:  fmt.Sprintf("the graph differs on each build of this bundle: %d plans, 2 fingerprints (%.4s, %.4s)", len(graphs), a, b),
				Where: difference(first, g),
				Why:   "likely a range over a map, the time, a random number or the environment while building",
				Fix:   []string{"build the graph from arguments and properties alone; sort the keys of maps first"},
			}
		}
	}
	return graphs[0], nil
}

// difference names the first operator in which two graphs differ.
func difference(a, b *graph.JobGraph) string {
	for i := range a.Nodes {
		if i >= len(b.Nodes) {
			break
		}
		x, y := *a.Nodes[i], *b.Nodes[i]
		where := x.Where
		x.Where, y.Where = "", ""
		if x != y {
			return fmt.Sprintf("operator %d: %q or %q, at %s", i, x.Name, y.Name, where)
		}
	}
	return fmt.Sprintf("%d operators and %d edges, or %d and %d", len(a.Nodes), len(a.Edges), len(b.Nodes), len(b.Edges))
}

// planTaskManagerLostLocked asks elsewhere.
func (d *Dispatcher) planTaskManagerLostLocked(tm string) {
	for _, p := range slices.Clone(d.plans) {
		maps.DeleteFunc(p.asks, func(_ string, a *ask) bool { return a.tm == tm })
		if p.tries >= planTriesMax && len(p.asks)+len(p.graphs) < plansWanted {
			d.planDoneLocked(p, nil, &jobview.Error{
				Code: "LEAT1214", What: fmt.Sprintf("planning %q failed: %d taskmanagers were lost over it", p.name, p.tries),
				Why: "likely the program ends or starves the taskmanager", Fix: []string{"run it by hand first: go run ."},
			})
		}
	}
	d.askPlansLocked()
}

// latePlansLocked fails plans whose taskmanager does not answer.
func (d *Dispatcher) latePlansLocked() {
	now := d.cfg.Clock.Now()
	for _, p := range slices.Clone(d.plans) {
		for _, id := range slices.Sorted(maps.Keys(p.asks)) {
			if a := p.asks[id]; !now.Before(a.deadline) {
				d.planDoneLocked(p, nil, &jobview.Error{
					Code: "LEAT1211", Kind: jobview.KindInvalid, What: fmt.Sprintf("main of %q did not finish planning within %s", p.name, d.cfg.PlanTimeout),
					Where: "taskmanager " + a.tm, Why: "likely it blocks, or does work that belongs into an operator, while building the graph",
				})
				break
			}
		}
	}
}

func (d *Dispatcher) failPlansLocked(why string) {
	for _, p := range slices.Clone(d.plans) {
		d.planDoneLocked(p, nil, errUnavailable(why))
	}
}

// PlanBundle implements jobview.Control.
func (d *Dispatcher) PlanBundle(ctx context.Context, s jobview.Submission) (*graph.Plan, error) {
	g, err := d.planOnce(ctx, s)
	if err != nil {
		return nil, err
	}
	return buildPlan(g, s.Parallelism)
}

// planOnce has the bundle planned without a job, and returns the graph.
func (d *Dispatcher) planOnce(ctx context.Context, s jobview.Submission) ([]byte, error) {
	if err := d.awaitReady(ctx); err != nil {
		return nil, err
	}
	ref, err := d.cfg.Bundles.Ref(ctx, s.BundleSHA)
	if err != nil {
		return nil, coded(err, "LEAT1213", "the bundle cannot be read")
	}
	type answer struct {
		g   []byte
		err *jobview.Error
	}
	ch := make(chan answer, 1)
	p := &planning{
		name: s.Name, bundle: ref, waits: func(string) {},
		inputs: &controlv1.ProgramInputs{Args: s.Args, Properties: s.Properties, Environment: s.Environment},
		done:   func(g []byte, err *jobview.Error) { ch <- answer{g, err} },
	}
	d.mu.Lock()
	switch {
	case d.over:
		err = errUnavailable("the leadership is just changing")
	case len(d.plans) >= plansMax:
		err = errUnavailable(fmt.Sprintf("%d programs are being planned already", len(d.plans)))
	case len(d.tms) == 0:
		err = errUnavailable("no taskmanager is registered, and programs are planned on one")
	default:
		d.planLocked(p)
	}
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-ch:
		if a.err != nil {
			return nil, a.err
		}
		return a.g, nil
	case <-ctx.Done():
		d.mu.Lock()
		d.plans = slices.DeleteFunc(d.plans, func(o *planning) bool { return o == p })
		d.mu.Unlock()
		return nil, errUnavailable(ctx.Err().Error())
	}
}

func buildPlan(b []byte, parallelism int) (*graph.Plan, error) {
	g, err := graph.Unmarshal(b)
	if err != nil {
		return nil, invalid("LEAT1209", "the program's graph cannot be used", err.Error())
	}
	g.Config.EnsureDefaults()
	if parallelism <= 0 {
		parallelism = max(1, g.Config.Parallelism)
	}
	plan, err := graph.Build(g, parallelism)
	if err != nil {
		return nil, invalid("LEAT1209", "the program's graph cannot be used", err.Error())
	}
	return plan, nil
}
