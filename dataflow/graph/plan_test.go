package graph_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
)

var rewrite = flag.Bool("rewrite", false, "write the golden plans anew")

func node(uid string, kind graph.Kind) *graph.Node {
	return &graph.Node{ID: dataflow.OperatorIDOf(uid), UID: uid, Name: uid, Kind: kind, Op: "test", Where: "main.go:1"}
}

func edge(from, to string, p graph.Partitioning) *graph.Edge {
	return &graph.Edge{From: dataflow.OperatorIDOf(from), To: dataflow.OperatorIDOf(to), Partitioning: p, Schema: "int64"}
}

// sample has a chain, a side output, a keyed edge, a union and a sink of
// another parallelism.
func sample() *graph.JobGraph {
	g := &graph.JobGraph{Version: graph.FormatVersion, Name: "sample", MaxParallelism: 128}
	for _, uid := range []string{"orders", "clicks"} {
		g.Nodes = append(g.Nodes, node(uid, graph.KindSource))
	}
	for _, uid := range []string{"valid", "count", "alone"} {
		g.Nodes = append(g.Nodes, node(uid, graph.KindOperator))
	}
	for _, uid := range []string{"late", "out"} {
		g.Nodes = append(g.Nodes, node(uid, graph.KindSink))
	}
	g.Nodes[3].Stateful, g.Nodes[3].Keyed = true, true
	g.Nodes[4].Unchained = true
	g.Nodes[6].Parallelism = 1
	late := edge("count", "late", graph.Forward)
	late.Output = "late"
	g.Edges = []*graph.Edge{
		edge("orders", "valid", graph.Forward), edge("valid", "count", graph.Hash), edge("clicks", "count", graph.Hash),
		edge("count", "alone", graph.Forward), late, edge("alone", "out", graph.Forward),
	}
	return g
}

func print(p *graph.Plan) string {
	var b strings.Builder
	for _, v := range p.Vertices {
		fmt.Fprintf(&b, "vertex %d ×%d: %s\n", v.Index, v.Parallelism, v.Name)
	}
	for _, s := range p.Streams {
		fmt.Fprintf(&b, "stream %d: %d -%s-> %d\n", s.Index, s.From, s.Edge.Partitioning, s.To)
	}
	fmt.Fprintf(&b, "slots %d\n", p.Slots())
	return b.String()
}

// expect-not: "alone" in the vertex of "count": it asked not to be chained.
// expect: "late" in it, and the edge to "out" rebalanced, since parallelisms differ.
func TestPlan(t *testing.T) {
	t.Parallel()
	p, err := graph.Build(sample(), 3)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/sample.plan.txt", print(p))
}

// The JSON form and the fingerprint are formats: a recovery after an upgrade
// reads graphs that the release before wrote.
func TestFormIsStable(t *testing.T) {
	t.Parallel()
	g := sample()
	b, err := g.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/sample.v1.txt", string(b)+"\n"+g.Fingerprint()+"\n")
	again, err := graph.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if again.Fingerprint() != g.Fingerprint() {
		t.Error("a graph that was written and read has another fingerprint")
	}
	moved := sample()
	moved.Nodes[0].Where = "other.go:9"
	if moved.Fingerprint() != g.Fingerprint() {
		t.Error("the fingerprint depends on where in the source an operator stands")
	}
	moved.Nodes[0].Detail = "another topic"
	if moved.Fingerprint() == g.Fingerprint() {
		t.Error("the fingerprint does not depend on an operator's parameters")
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

func TestFaultyGraphsAreRefused(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*graph.JobGraph){
		"two operators have UID":     func(g *graph.JobGraph) { g.Nodes[3] = node("valid", graph.KindOperator) },
		"does not lead forward":      func(g *graph.JobGraph) { g.Edges[0] = edge("valid", "orders", graph.Forward) },
		"has 0 inputs":               func(g *graph.JobGraph) { g.Edges = g.Edges[1:] },
		"is not between 1 and 32768": func(g *graph.JobGraph) { g.MaxParallelism = 40_000 },
		"parallelism 200 is not":     func(g *graph.JobGraph) { g.Nodes[2].Parallelism = 200 },
		"has no operators":           func(g *graph.JobGraph) { g.Nodes, g.Edges = nil, nil },
	} {
		g := sample()
		spoil(g)
		if err := g.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := graph.Build(sample(), 129); err == nil {
		t.Error("a parallelism above the maximum was planned")
	}
}

// Every receiver of a rescaled edge has exactly one sender or, with more
// senders than receivers, every sender exactly one receiver.
func TestRescaleCoversAll(t *testing.T) {
	t.Parallel()
	for from := 1; from <= 9; from++ {
		for to := 1; to <= 9; to++ {
			senders := make([]int, to)
			for s := range from {
				targets := graph.ChannelTargets(graph.Rescale, s, from, to)
				if len(targets) == 0 || from >= to && len(targets) != 1 {
					t.Fatalf("sender %d of %d has receivers %v of %d", s, from, targets, to)
				}
				for _, r := range targets {
					senders[r]++
				}
			}
			for r, n := range senders {
				if n == 0 || from <= to && n != 1 {
					t.Fatalf("receiver %d of %d has %d senders of %d", r, to, n, from)
				}
			}
		}
	}
}
