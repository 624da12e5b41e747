package jobmaster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

// poolPerSubtask is the number of transactional ids for each subtask of a
// sink: up to four sealed transactions, the open one, and one in reserve.
const poolPerSubtask = 6

// GrowPools returns the pools that the plan needs: for each transactional
// operator the larger of what is recorded and poolPerSubtask × parallelism.
// Pools never shrink: an id that was ever used must be found again, to end
// what is open under it.
func GrowPools(recorded map[dataflow.OperatorID]int, plan *graph.Plan) map[dataflow.OperatorID]int {
	out := maps.Clone(recorded)
	for _, v := range plan.Vertices {
		for _, n := range v.Nodes {
			if !n.Transactional {
				continue
			}
			if out == nil {
				out = make(map[dataflow.OperatorID]int)
			}
			out[n.ID] = max(out[n.ID], poolPerSubtask*v.Parallelism)
		}
	}
	return out
}

// RestoreRules say what a start from a savepoint may leave behind. The zero
// value is that of a recovery from the job's own checkpoint.
type RestoreRules struct {
	// Foreign says that the manifest is not this job's own.
	Foreign      bool
	AllowDrained bool
	// DropState names operators (by UID, name or id) whose state is left.
	DropState []string
	// Where names the savepoint to people.
	Where string
}

// PlanRestore computes what all subtasks of the graph restore from a
// manifest. Keyed state and operator state are handed to every subtask, which
// pick what they own at the new parallelism; so the plan depends on the graph
// and not on the parallelism. The manifest is not changed.
func PlanRestore(g *graph.JobGraph, m *checkpointv1.Manifest, rules RestoreRules) (*controlv1.Restore, *jobview.Error) {
	if err := checkManifest(g, m, rules); err != nil {
		return nil, err
	}
	dropped, err := droppedOperators(m, rules)
	if err != nil {
		return nil, err
	}
	if err := checkOperators(g, m, dropped, rules); err != nil {
		return nil, err
	}
	r := &controlv1.Restore{
		CheckpointId: m.GetCheckpointId(), FromSavepoint: rules.Foreign, MaxParallelism: m.GetMaxParallelism(),
	}
	kept := func(id string) bool { return !dropped[id] && g.Node(dataflow.OperatorID(id)) != nil }
	for _, h := range m.GetHandles() {
		// The task's own state names the head of its vertex.
		if kept(h.GetOperatorId()) {
			r.Handles = append(r.Handles, h)
		}
	}
	for _, c := range m.GetCoordinators() {
		if kept(c.GetOperatorId()) {
			r.Coordinators = append(r.Coordinators, c)
		}
	}
	for _, o := range m.GetOperators() {
		if o.GetFinished() && kept(o.GetId()) {
			r.FinishedOperators = append(r.FinishedOperators, o.GetId())
		}
	}
	return r, nil
}

func checkManifest(g *graph.JobGraph, m *checkpointv1.Manifest, rules RestoreRules) *jobview.Error {
	if got, want := int(m.GetMaxParallelism()), g.MaxParallelism; got != want {
		return &jobview.Error{
			Code: "LEAT4204", Kind: jobview.KindInvalid, Where: rules.Where,
			What: fmt.Sprintf("the savepoint has maximum parallelism %d, the job %d", got, want),
			Why:  "keyed state is divided into that many key groups and cannot be divided anew",
			Fix:  []string{fmt.Sprintf("set the job's maximum parallelism to %d", got)},
		}
	}
	return checkDrained(m, rules)
}

func checkDrained(m *checkpointv1.Manifest, rules RestoreRules) *jobview.Error {
	if rules.Foreign && (m.GetDrained() || m.GetFinal()) && !rules.AllowDrained {
		return &jobview.Error{
			Code: "LEAT4203", Kind: jobview.KindInvalid, Where: rules.Where,
			What: "the savepoint was taken after the job had been drained",
			Why:  "windows that were open then have been closed early, and their later records would be late",
			Fix:  []string{"start from a savepoint that was not drained", "or accept it: --allow-drained"},
		}
	}
	return nil
}

// droppedOperators resolves --drop-state to operator ids of the manifest.
func droppedOperators(m *checkpointv1.Manifest, rules RestoreRules) (map[string]bool, *jobview.Error) {
	out := make(map[string]bool)
	for _, name := range rules.DropState {
		found := false
		for _, o := range m.GetOperators() {
			if name == o.GetUid() || name == o.GetName() || name == o.GetId() {
				out[o.GetId()], found = true, true
			}
		}
		if !found {
			return nil, &jobview.Error{
				Code: "LEAT4206", Kind: jobview.KindInvalid, Where: rules.Where,
				What: fmt.Sprintf("--drop-state %s names no operator of the savepoint", name),
				Why:  "it has: " + strings.Join(operatorNames(m), ", "),
			}
		}
	}
	return out, nil
}

func operatorNames(m *checkpointv1.Manifest) []string {
	var out []string
	for _, o := range m.GetOperators() {
		out = append(out, cmp.Or(o.GetUid(), o.GetName(), o.GetId()))
	}
	return out
}

// checkOperators refuses to lose the state of operators that the graph lacks.
func checkOperators(g *graph.JobGraph, m *checkpointv1.Manifest, dropped map[string]bool, rules RestoreRules) *jobview.Error {
	bytes := StateBytes(m)
	var lost []string
	var fixes []string
	for _, id := range slices.Sorted(maps.Keys(bytes)) {
		if dropped[id] || g.Node(dataflow.OperatorID(id)) != nil {
			continue
		}
		name := nameOf(m, id)
		lost = append(lost, fmt.Sprintf("operator %q (%s)", name, byteSize(bytes[id])))
		fixes = append(fixes, "or lose it: --drop-state "+name)
	}
	if len(lost) == 0 {
		return nil
	}
	return &jobview.Error{
		Code: "LEAT4202", Kind: jobview.KindInvalid, Where: strings.Join(lost, ", "),
		What: fmt.Sprintf("savepoint %s holds state for an operator that the new graph lacks", rules.Where),
		Why:  "no operator of the job has its UID",
		Fix:  append([]string{"give the operator that continues it the same UID in the program"}, fixes...),
	}
}

// StateBytes returns the size of each operator's state. The watermarks that a
// task keeps for itself do not count: they are lost with their vertex.
func StateBytes(m *checkpointv1.Manifest) map[string]int64 {
	out := make(map[string]int64)
	for _, h := range m.GetHandles() {
		if h.GetKind() != controlv1.StateKind_STATE_KIND_TASK {
			out[h.GetOperatorId()] += max(h.GetLength(), int64(len(h.GetInline())))
		}
	}
	for _, c := range m.GetCoordinators() {
		out[c.GetOperatorId()] += int64(len(c.GetState()))
	}
	return out
}

func nameOf(m *checkpointv1.Manifest, id string) string {
	for _, o := range m.GetOperators() {
		if o.GetId() == id {
			return cmp.Or(o.GetUid(), o.GetName(), id)
		}
	}
	return id
}

// byteSize writes a size in binary units.
func byteSize(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, exp := float64(n)/unit, 0
	for f >= unit && exp < 4 {
		f, exp = f/unit, exp+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[exp])
}

// CheckSavepoint checks what can be checked of a savepoint before the graph
// is known.
func CheckSavepoint(m *checkpointv1.Manifest, rules RestoreRules) error {
	if err := checkDrained(m, rules); err != nil {
		return err
	}
	if _, err := droppedOperators(m, rules); err != nil {
		return err
	}
	return nil
}
