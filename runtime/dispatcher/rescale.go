package dispatcher

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/jobmaster"
	"github.com/leatstream/leat/runtime/jobview"
)

// Rescale implements jobview.Control.
func (d *Dispatcher) Rescale(_ context.Context, id dataflow.JobID, r jobview.RescaleRequest) (string, error) {
	driver, err := d.running(id)
	if err != nil {
		return "", err
	}
	job := driver.View()
	if r.Auto {
		op := newToken()
		driver.Rescale(jobmaster.RescaleJob{Operation: op, Auto: true})
		return op, nil
	}
	if job.Plan == nil {
		return "", &jobview.Error{Code: "LEAT4107", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q is not planned yet", job.Name), Why: job.StateReason}
	}
	if most := job.Plan.Graph.MaxParallelism; r.Parallelism > most {
		return "", &jobview.Error{Code: "LEAT4302", Kind: jobview.KindInvalid, What: fmt.Sprintf("job %q cannot be rescaled to %d", job.Name, r.Parallelism),
			Why: fmt.Sprintf("its maximum parallelism is %d, and its state is cut into as many parts", most),
			Fix: []string{fmt.Sprintf("ask for 1 to %d", most)}}
	}
	rec := driver.Record()
	target := jobmaster.Parallelism{Default: r.Parallelism}
	if r.Parallelism == 0 {
		target = jobmaster.Parallelism{Default: job.Parallelism, Operators: maps.Clone(rec.Operators)}
	}
	vertices, err := verticesOf(job, r.Vertices)
	if err != nil {
		return "", err
	}
	target, err = d.fit(job, target, vertices)
	if err != nil {
		return "", err
	}
	op := newToken()
	driver.Rescale(jobmaster.RescaleJob{Operation: op, Target: target})
	return op, nil
}

// wish is what was asked for one vertex.
type wish struct {
	vertex *graph.Vertex
	jobview.Bounds
}

// verticesOf finds the vertices that are named by their id, or by the UID,
// name or id of an operator in them.
func verticesOf(job jobview.Job, wanted map[string]jobview.Bounds) ([]wish, error) {
	var out []wish
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		b := wanted[name]
		if b.Upper < 1 || b.Lower < 0 || b.Lower > b.Upper || b.Upper > job.Plan.Graph.MaxParallelism {
			return nil, &jobview.Error{Code: "LEAT4302", Kind: jobview.KindInvalid,
				What: fmt.Sprintf("vertex %q cannot have a parallelism from %d to %d", name, b.Lower, b.Upper),
				Fix:  []string{fmt.Sprintf("ask for 1 to %d", job.Plan.Graph.MaxParallelism)}}
		}
		i := slices.IndexFunc(job.Plan.Vertices, func(v *graph.Vertex) bool {
			return string(v.ID) == name || slices.ContainsFunc(v.Nodes, func(n *graph.Node) bool { return named(n, name) })
		})
		if i < 0 {
			return nil, &jobview.Error{Code: "LEAT4305", Kind: jobview.KindNotFound, What: fmt.Sprintf("job %q has no vertex or operator %q", job.Name, name),
				Fix: []string{"flinkctl job graph " + job.Name}}
		}
		out = append(out, wish{job.Plan.Vertices[i], b})
	}
	return out, nil
}

// fit chooses for each vertex the most of what was asked for: the upper bound,
// or when there are too few slots as much as they allow, no less than the
// lower bound.
func (d *Dispatcher) fit(job jobview.Job, target jobmaster.Parallelism, wishes []wish) (jobmaster.Parallelism, error) {
	if len(wishes) == 0 {
		return target, nil
	}
	top := 1
	for _, w := range wishes {
		top = max(top, w.Upper)
	}
	room := d.room(job.ID)
	for limit := top; ; limit-- {
		t := jobmaster.Parallelism{Default: target.Default, Operators: maps.Clone(target.Operators)}
		if t.Operators == nil {
			t.Operators = make(map[dataflow.OperatorID]int)
		}
		least := true
		for _, w := range wishes {
			p := max(cmp.Or(w.Lower, w.Upper), min(w.Upper, limit))
			least = least && p == cmp.Or(w.Lower, w.Upper)
			for _, n := range w.vertex.Nodes {
				t.Operators[n.ID] = p
			}
		}
		plan, err := graph.Build(job.Plan.Graph.WithParallelism(t.Operators), t.Default)
		if err != nil {
			return t, &jobview.Error{Code: "LEAT4302", Kind: jobview.KindInvalid, What: fmt.Sprintf("job %q cannot run so", job.Name), Why: err.Error()}
		}
		if least || plan.Slots() <= room {
			return t, nil
		}
	}
}

// room is the number of slots that a job holds or could have now.
func (d *Dispatcher) room(id dataflow.JobID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pool.Room(id)
}
