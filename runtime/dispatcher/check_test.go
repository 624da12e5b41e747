package dispatcher

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/stateplan"
)

// checkedManifest has three operators with state and one without.
func checkedManifest() *checkpointv1.Manifest {
	m := &checkpointv1.Manifest{CheckpointId: 1, Kind: checkpointv1.Kind_KIND_SAVEPOINT, MaxParallelism: 16, JobName: "job"}
	for _, id := range []string{"a", "b", "c", "d"} {
		m.Operators = append(m.Operators, &checkpointv1.Operator{Id: id, Uid: "uid-" + id, Name: "name-" + id, Parallelism: 1})
		if id != "d" {
			m.Handles = append(m.Handles, &controlv1.StateHandle{OperatorId: id, Kind: controlv1.StateKind_STATE_KIND_KEYED, Inline: []byte("state"), KeyGroupLast: 15})
		}
	}
	return m
}

// What becomes of each operator's state is told, and what a start would refuse
// is refused with the same code.
func TestCheckingOfOperators(t *testing.T) {
	t.Parallel()
	node := func(id, name string) *graph.Node {
		return &graph.Node{ID: dataflow.OperatorID(id), UID: "uid-" + id, Name: name, Kind: graph.KindOperator, Keyed: true, Stateful: true}
	}
	refused := &stateplan.Error{Code: "LEAT4201", What: "it does not fit", Why: "int64 is no text"}
	for name, c := range map[string]struct {
		nodes   []*graph.Node
		answer  []stateplan.Operator
		unknown bool
		drop    []string
		want    []string
		codes   []string
	}{
		"all": {
			nodes: []*graph.Node{node("a", "name-a"), node("b", "name-b"), node("c", "other")},
			answer: []stateplan.Operator{
				{ID: "a"}, {ID: "b", States: []stateplan.State{{Name: "x", Fate: stateplan.Migrated}}}, {ID: "c"},
			},
			want: []string{"a restored ", "b migrated ", "c mapped name-c", "d gone "},
		},
		"lost": {
			nodes: []*graph.Node{node("a", "name-a"), node("b", "name-b"), node("e", "name-c")},
			want:  []string{"a restored ", "b restored ", "c lost ", "d gone ", "e new "}, codes: []string{"LEAT4202"},
		},
		"dropped": {
			nodes: []*graph.Node{node("a", "name-a"), node("b", "name-b")}, drop: []string{"name-c", "uid-a"},
			want: []string{"a dropped ", "b restored ", "c dropped ", "d gone "},
		},
		"refused": {
			nodes:  []*graph.Node{node("a", "name-a"), node("b", "name-b"), node("c", "name-c")},
			answer: []stateplan.Operator{{ID: "b", Error: refused}, {ID: "c", Unknown: "no database"}},
			want:   []string{"a restored ", "b refused ", "c unknown ", "d gone "}, codes: []string{"LEAT4201"},
		},
		"an older engine": {
			nodes: []*graph.Node{node("a", "name-a"), node("b", "name-b"), node("c", "name-c")}, unknown: true,
			want: []string{"a unknown ", "b unknown ", "c unknown ", "d gone "},
		},
	} {
		out := jobview.SavepointCheck{}
		check := checking{
			m: checkedManifest(), graph: &graph.JobGraph{Version: graph.FormatVersion, MaxParallelism: 16, Nodes: c.nodes},
			answer: stateplan.Answer{Operators: c.answer}, known: !c.unknown, sub: jobview.Submission{FromSavepoint: "sp", DropState: c.drop},
		}
		if name == "all" {
			check.m.Handles = append(check.m.Handles, &controlv1.StateHandle{OperatorId: "a", Kind: controlv1.StateKind_STATE_KIND_CHANNEL, Inline: []byte("rows")})
		}
		check.check(&out)
		if name == "all" && !strings.Contains(out.Operators[0].Why, "LEAT4215") {
			t.Errorf("rows on their way: %q", out.Operators[0].Why)
		}
		var got, codes []string
		for _, o := range out.Operators {
			got = append(got, fmt.Sprintf("%s %s %s", o.ID, o.Fate, o.Was))
		}
		for _, e := range out.Errors {
			codes = append(codes, e.Code)
		}
		if !slices.Equal(got, c.want) || !slices.Equal(codes, c.codes) {
			t.Errorf("%s: %q %q\nwant %q %q", name, got, codes, c.want, c.codes)
		}
		if name == "lost" && !strings.Contains(out.Operators[2].Why, `"uid-e" has its name: give it the UID "uid-c"`) {
			t.Errorf("the way out is %q", out.Operators[2].Why)
		}
	}
}
