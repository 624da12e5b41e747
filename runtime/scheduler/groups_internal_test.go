package scheduler

import (
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/slots"
)

// Subtasks of different slot-sharing groups are in different slots: with one
// slot on each taskmanager no worker runs both groups.
func TestSlotSharingGroupsShareNoSlot(t *testing.T) {
	t.Parallel()
	g := &graph.JobGraph{Version: graph.FormatVersion, Name: "j", MaxParallelism: 8}
	for i, uid := range []string{"src", "light", "heavy"} {
		n := &graph.Node{ID: dataflow.OperatorIDOf(uid), UID: uid, Name: uid, Kind: graph.KindOperator}
		if i == 0 {
			n.Kind = graph.KindSource
		} else {
			g.Edges = append(g.Edges, &graph.Edge{From: g.Nodes[0].ID, To: n.ID, Partitioning: graph.Rebalance})
		}
		g.Nodes = append(g.Nodes, n)
	}
	g.Nodes[2].SlotGroup, g.Nodes[2].Parallelism = "heavy", 3
	p, err := graph.Build(g, 2)
	if err != nil {
		t.Fatal(err)
	}
	var shares []slots.Share
	for i := range p.Slots() {
		shares = append(shares, slots.Share{TaskManager: string(rune('a' + i)), Slots: 1})
	}
	a := newAttempt("j", 1, p, shares)
	groups := make(map[int]string)
	for _, v := range p.Vertices {
		for _, s := range a.subtasks[v.Index] {
			if was, ok := groups[s.Worker]; ok && was != v.SlotGroup {
				t.Errorf("worker %d runs group %q and group %q", s.Worker, was, v.SlotGroup)
			}
			groups[s.Worker] = v.SlotGroup
		}
	}
	if len(groups) != 5 {
		t.Errorf("%d slots are used, want 5", len(groups))
	}
}
