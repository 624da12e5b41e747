package graph

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/leatstream/leat/dataflow"
)

// Marshal returns the JSON form of g. It is deterministic: equal graphs give
// equal bytes.
func (g *JobGraph) Marshal() ([]byte, error) { return json.Marshal(g) }

// Unmarshal reads what Marshal wrote and checks its shape.
func Unmarshal(b []byte) (*JobGraph, error) {
	g := &JobGraph{}
	if err := json.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("job graph: %w", err)
	}
	if g.Version != FormatVersion {
		return nil, fmt.Errorf("job graph: version %d, want %d: build the bundle with this release", g.Version, FormatVersion)
	}
	return g, g.Validate()
}

// Fingerprint identifies the graph: SHA-256 of its JSON form without source
// positions, in hexadecimal. Two runs of one main must agree on it.
func (g *JobGraph) Fingerprint() string {
	c := *g
	c.Nodes = make([]*Node, len(g.Nodes))
	for i, n := range g.Nodes {
		m := *n
		m.Where = ""
		c.Nodes[i] = &m
	}
	b, err := json.Marshal(&c)
	if err != nil {
		panic(fmt.Sprintf("graph: marshalling plain data: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Node returns the node with the given id, or nil.
func (g *JobGraph) Node(id dataflow.OperatorID) *Node {
	for _, n := range g.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// Validate checks what every consumer relies on: unique ids, edges that lead
// forward, parallelism within bounds, sources without inputs.
func (g *JobGraph) Validate() error {
	if _, err := ParseStateBackend(string(g.Config.StateBackend)); err != nil {
		return err
	}
	if g.Config.StateMemory < 0 {
		return fmt.Errorf("memory of the state backend is %d bytes: give a positive number, or 0 for the default", g.Config.StateMemory)
	}
	if g.MaxParallelism < 1 || g.MaxParallelism > dataflow.MaxParallelismLimit {
		return fmt.Errorf("maximum parallelism %d is not between 1 and %d", g.MaxParallelism, dataflow.MaxParallelismLimit)
	}
	if len(g.Nodes) == 0 {
		return fmt.Errorf("job %q has no operators: add a source and a sink", g.Name)
	}
	at := make(map[dataflow.OperatorID]int, len(g.Nodes))
	for i, n := range g.Nodes {
		if j, dup := at[n.ID]; dup {
			return fmt.Errorf("two operators have UID %q (%s, %s)", n.UID, g.Nodes[j].Where, n.Where)
		}
		at[n.ID] = i
		if n.Parallelism < 0 || n.Parallelism > g.MaxParallelism {
			return fmt.Errorf("operator %q: parallelism %d is not between 1 and the maximum parallelism %d", n.Name, n.Parallelism, g.MaxParallelism)
		}
	}
	inputs := make(map[dataflow.OperatorID]int)
	for _, e := range g.Edges {
		from, ok := at[e.From]
		to, ok2 := at[e.To]
		if !ok || !ok2 || from >= to {
			return fmt.Errorf("edge %s to %s does not lead forward between known operators", e.From, e.To)
		}
		inputs[e.To]++
	}
	for _, n := range g.Nodes {
		if (n.Kind == KindSource) != (inputs[n.ID] == 0) {
			return fmt.Errorf("operator %q (%s) of kind %s has %d inputs", n.Name, n.Where, n.Kind, inputs[n.ID])
		}
	}
	return nil
}

// WithParallelism returns a copy of g in which the operators of the map have
// that parallelism of their own. Operators that g lacks are ignored.
func (g *JobGraph) WithParallelism(of map[dataflow.OperatorID]int) *JobGraph {
	if len(of) == 0 {
		return g
	}
	c := *g
	c.Nodes = make([]*Node, len(g.Nodes))
	for i, n := range g.Nodes {
		if p, ok := of[n.ID]; ok {
			m := *n
			m.Parallelism = p
			n = &m
		}
		c.Nodes[i] = n
	}
	return &c
}

// Build plans g at the given default parallelism (at least 1): nodes without
// one of their own take it, and nodes are chained where the records need not
// be partitioned.
func Build(g *JobGraph, parallelism int) (*Plan, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	if parallelism < 1 || parallelism > g.MaxParallelism {
		return nil, fmt.Errorf("parallelism %d is not between 1 and the maximum parallelism %d of job %q", parallelism, g.MaxParallelism, g.Name)
	}
	b := &planner{plan: &Plan{Graph: g}, parallelism: parallelism, vertex: make(map[dataflow.OperatorID]*Vertex)}
	for _, n := range g.Nodes {
		b.place(n)
	}
	for _, e := range g.Edges {
		if err := b.connect(e); err != nil {
			return nil, err
		}
	}
	for _, v := range b.plan.Vertices {
		v.Name = vertexName(v)
	}
	return b.plan, nil
}

type planner struct {
	plan        *Plan
	parallelism int
	vertex      map[dataflow.OperatorID]*Vertex
}

// place puts n into the vertex of the node before it, or into a new one.
func (b *planner) place(n *Node) {
	if v := b.chainTarget(n); v != nil {
		v.Nodes = append(v.Nodes, n)
		b.vertex[n.ID] = v
		return
	}
	v := &Vertex{Index: len(b.plan.Vertices), ID: n.ID, Parallelism: b.parallelismOf(n), SlotGroup: b.slotGroupOf(n), Nodes: []*Node{n}}
	b.plan.Vertices = append(b.plan.Vertices, v)
	b.vertex[n.ID] = v
}

// chainTarget returns the vertex that n joins: it has exactly one input, by a
// forward edge from a node of the same parallelism.
func (b *planner) chainTarget(n *Node) *Vertex {
	var in *Edge
	for _, e := range b.plan.Graph.Edges {
		if e.To != n.ID {
			continue
		}
		if in != nil {
			return nil
		}
		in = e
	}
	if in == nil || in.Partitioning != Forward || n.Unchained || b.plan.Graph.Config.NoChaining {
		return nil
	}
	v := b.vertex[in.From]
	if v == nil || v.Parallelism != b.parallelismOf(n) || v.SlotGroup != b.slotGroupOf(n) || b.plan.Graph.Node(in.From).Alone {
		return nil
	}
	return v
}

// slotGroupOf returns the node's own group, or the one of all its inputs.
func (b *planner) slotGroupOf(n *Node) string {
	if n.SlotGroup != "" {
		return n.SlotGroup
	}
	group := ""
	for _, e := range b.plan.Graph.Edges {
		if e.To != n.ID {
			continue
		}
		switch g := b.vertex[e.From].SlotGroup; group {
		case "", g:
			group = g
		default:
			return SlotGroupDefault
		}
	}
	if group == "" {
		return SlotGroupDefault
	}
	return group
}

func (b *planner) parallelismOf(n *Node) int {
	if n.Parallelism > 0 {
		return n.Parallelism
	}
	return b.parallelism
}

func (b *planner) connect(e *Edge) error {
	from, to := b.vertex[e.From], b.vertex[e.To]
	if from == to {
		from.Chained = append(from.Chained, e)
		return nil
	}
	if e.Partitioning == Forward && from.Parallelism != to.Parallelism {
		// A forward edge between different parallelisms means "spread
		// evenly", as a user who only set a parallelism expects.
		c := *e
		c.Partitioning = Rebalance
		e = &c
	}
	s := &Stream{Index: len(b.plan.Streams), From: from.Index, To: to.Index, Edge: e}
	b.plan.Streams = append(b.plan.Streams, s)
	from.Outputs = append(from.Outputs, s.Index)
	to.Inputs = append(to.Inputs, s.Index)
	return nil
}

func vertexName(v *Vertex) string {
	names := make([]string, len(v.Nodes))
	for i, n := range v.Nodes {
		names[i] = n.Name
	}
	return strings.Join(names, " -> ")
}

// Slots returns the number of slots the plan needs. In a slot-sharing group
// one subtask of each vertex runs in a slot, so a group needs as many as its
// largest parallelism, and groups add up.
func (p *Plan) Slots() int {
	n := 0
	for _, r := range p.SlotRanges() {
		n += r.Slots
	}
	return n
}

// SlotRange is the run of slots that a slot-sharing group has.
type SlotRange struct {
	Group        string
	First, Slots int
}

// SlotRanges returns the slots of each group, in the order in which the groups
// occur in the plan; they follow on each other.
func (p *Plan) SlotRanges() []SlotRange {
	var out []SlotRange
	for _, v := range p.Vertices {
		i := slices.IndexFunc(out, func(r SlotRange) bool { return r.Group == v.SlotGroup })
		if i < 0 {
			i = len(out)
			out = append(out, SlotRange{Group: v.SlotGroup})
		}
		out[i].Slots = max(out[i].Slots, v.Parallelism)
	}
	for i := 1; i < len(out); i++ {
		out[i].First = out[i-1].First + out[i-1].Slots
	}
	return out
}

// VertexOf returns the vertex that holds a node, or nil.
func (p *Plan) VertexOf(id dataflow.OperatorID) *Vertex {
	for _, v := range p.Vertices {
		if slices.ContainsFunc(v.Nodes, func(n *Node) bool { return n.ID == id }) {
			return v
		}
	}
	return nil
}

// ChannelTargets returns the subtasks of the receiving vertex that subtask
// `from` of the sending one has a channel to, ascending.
func ChannelTargets(p Partitioning, from, fromParallelism, toParallelism int) []int {
	switch p {
	case Forward:
		return []int{from}
	case Rescale:
		return rescaleTargets(from, fromParallelism, toParallelism)
	default:
		all := make([]int, toParallelism)
		for i := range all {
			all[i] = i
		}
		return all
	}
}

// rescaleTargets spreads locally: with more receivers than senders each
// sender owns a run of receivers, else several senders share one.
func rescaleTargets(from, fromParallelism, toParallelism int) []int {
	if fromParallelism >= toParallelism {
		return []int{from * toParallelism / fromParallelism}
	}
	var out []int
	for t := range toParallelism {
		if t*fromParallelism/toParallelism == from {
			out = append(out, t)
		}
	}
	return out
}
