// Package graph is the one value in which front ends and runtime meet: a
// JobGraph says what a job does, independent of machines; Plan turns it into
// vertices (chains of operators that run in one task) and the streams between
// them. It holds no executable code of its own: operators are carried as
// opaque values, filled by the front end and used by the runtime.
package graph

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow"
)

// FormatVersion is the version of the JSON form of a JobGraph.
const FormatVersion = 1

// JobGraph is a directed acyclic graph of operators. Nodes are in
// topological order. It is built deterministically and, once built, read-only.
type JobGraph struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
	// MaxParallelism is the number of key groups, 1 to
	// dataflow.MaxParallelismLimit.
	MaxParallelism int     `json:"maxParallelism"`
	Config         Config  `json:"config"`
	Nodes          []*Node `json:"nodes"`
	Edges          []*Edge `json:"edges"`
}

// Config holds the options of a job. The zero value is filled by
// EnsureDefaults.
type Config struct {
	// Parallelism is the default parallelism written in the program; the
	// submitter's wish goes before it. 0: as many as the submitter says, else 1.
	Parallelism        int           `json:"parallelism,omitempty"`
	CheckpointInterval time.Duration `json:"checkpointInterval"` // 0: default 1 s; negative: off
	CheckpointTimeout  time.Duration `json:"checkpointTimeout"`  // default 10 min
	// AlignedTimeout is how long the barrier of a checkpoint waits for the rows
	// before it; then it overtakes them. Default 500 ms; negative: for ever.
	AlignedTimeout       time.Duration `json:"alignedTimeout,omitempty"`
	CheckpointsRetained  int           `json:"checkpointsRetained"` // default 2
	BufferTimeout        time.Duration `json:"bufferTimeout"`       // default 10 ms
	Restart              Restart       `json:"restart"`
	CheckpointFailureMax int           `json:"checkpointFailureMax"` // 0: checkpoints never fail the job
	NoChaining           bool          `json:"noChaining,omitempty"` // each operator in a task of its own
	// StateBackend says where keyed state lies; empty: as the cluster says,
	// else in memory.
	StateBackend StateBackend `json:"stateBackend,omitempty"`
	// StateMemory is, in bytes and for each worker process, the budget of a
	// backend on disk, and the limit of state in memory; 0: a quarter, and
	// two thirds less 16 MiB, of the worker's memory.
	StateMemory int64 `json:"stateMemory,omitempty"`
}

// StateBackend names a state backend.
type StateBackend string

// State backends.
const (
	StateInMemory StateBackend = "memory"
	StatePebble   StateBackend = "pebble"
)

// ParseStateBackend reads the name of a state backend, or nothing.
func ParseStateBackend(text string) (StateBackend, error) {
	switch b := StateBackend(text); b {
	case "", StateInMemory, StatePebble:
		return b, nil
	}
	return "", fmt.Errorf("state backend %q is neither %q nor %q", text, StateInMemory, StatePebble)
}

// RestartKind names a restart strategy.
type RestartKind string

// Restart strategies.
const (
	RestartExponential RestartKind = "exponential-delay" // default
	RestartFixed       RestartKind = "fixed-delay"
	RestartFailureRate RestartKind = "failure-rate"
	RestartNone        RestartKind = "none"
)

// Restart says what happens after a failure.
type Restart struct {
	Kind RestartKind `json:"kind"`
	// Delay is the first (exponential) or constant delay.
	Delay    time.Duration `json:"delay,omitempty"`    // default 200 ms exponential, 1 s otherwise
	DelayMax time.Duration `json:"delayMax,omitempty"` // exponential; default 30 s
	// AttemptsMax bounds restarts: fixed delay in all, failure rate within
	// Interval. 0: no bound for exponential delay, 3 otherwise.
	AttemptsMax int           `json:"attemptsMax,omitempty"`
	Interval    time.Duration `json:"interval,omitempty"` // failure rate; default 1 min
	// ResetAfter of undisturbed running forgets earlier failures; default 1 min.
	ResetAfter time.Duration `json:"resetAfter,omitempty"`
}

// EnsureDefaults fills what is not set.
func (c *Config) EnsureDefaults() {
	setDuration(&c.CheckpointInterval, time.Second)
	setDuration(&c.CheckpointTimeout, 10*time.Minute)
	setDuration(&c.BufferTimeout, 10*time.Millisecond)
	setDuration(&c.AlignedTimeout, 500*time.Millisecond)
	if c.CheckpointsRetained == 0 {
		c.CheckpointsRetained = 2
	}
	c.Restart.ensureDefaults()
}

func (r *Restart) ensureDefaults() {
	if r.Kind == "" {
		r.Kind = RestartExponential
	}
	if r.Kind == RestartExponential {
		setDuration(&r.Delay, 200*time.Millisecond)
	}
	setDuration(&r.Delay, time.Second)
	setDuration(&r.DelayMax, 30*time.Second)
	setDuration(&r.Interval, time.Minute)
	setDuration(&r.ResetAfter, time.Minute)
	if r.AttemptsMax == 0 && r.Kind != RestartExponential {
		r.AttemptsMax = 3
	}
}

func setDuration(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Kind tells how a node takes part in the data flow.
type Kind string

// Kinds of nodes.
const (
	KindSource   Kind = "source"
	KindOperator Kind = "operator"
	KindSink     Kind = "sink"
)

// Node is one operator.
type Node struct {
	ID   dataflow.OperatorID `json:"id"`
	UID  string              `json:"uid"`
	Name string              `json:"name"`
	Kind Kind                `json:"kind"`
	// Op names what the operator does ("map", "window"), for people.
	Op string `json:"op"`
	// Detail is the deterministic description of its parameters; it is part
	// of the fingerprint.
	Detail string `json:"detail,omitempty"`
	// Parallelism fixes the node's parallelism; 0 follows the job's.
	Parallelism int `json:"parallelism,omitempty"`
	// Stateful nodes need a UID given by the user and take part in
	// checkpoints by it.
	Stateful bool `json:"stateful,omitempty"`
	// Keyed nodes have keyed state and one hash-partitioned input at least.
	Keyed bool `json:"keyed,omitempty"`
	// KeySchema is the schema of a keyed node's keys, for people who look at
	// its state.
	KeySchema string `json:"keySchema,omitempty"`
	// Bounded is set on sources that end by themselves.
	Bounded bool `json:"bounded,omitempty"`
	// Transactional sinks need a pool of transactional ids.
	Transactional bool `json:"transactional,omitempty"`
	// Unchained forbids chaining with the node before it.
	Unchained bool `json:"unchained,omitempty"`
	// Alone forbids chaining with the nodes after it.
	Alone bool `json:"alone,omitempty"`
	// SlotGroup names the slot-sharing group; "" takes that of the inputs if
	// they agree, else SlotGroupDefault. Groups share no slots.
	SlotGroup string `json:"slotGroup,omitempty"`
	// OnError is the error policy (operators.ErrorPolicy), "" to fail.
	OnError string `json:"onError,omitempty"`
	// OutSchema is the schema of the main output, part of the fingerprint.
	OutSchema string `json:"outSchema,omitempty"`
	// Where is the file:line of the user's call that made the node.
	Where string `json:"where,omitempty"`

	// Factory makes the node's operator (operators.Factory); not serialised.
	Factory any `json:"-"`
}

// Partitioning says how the records of an edge are spread over the receiving
// subtasks.
type Partitioning string

// Partitionings.
const (
	Forward   Partitioning = "forward"   // subtask i to subtask i
	Hash      Partitioning = "hash"      // by key group
	Rebalance Partitioning = "rebalance" // round robin over all
	Rescale   Partitioning = "rescale"   // round robin over a local group
	Broadcast Partitioning = "broadcast" // to each
	Global    Partitioning = "global"    // all to subtask 0
	Custom    Partitioning = "custom"    // by a user's function
)

// Edge carries one output of a node to one input of another.
type Edge struct {
	From dataflow.OperatorID `json:"from"`
	To   dataflow.OperatorID `json:"to"`
	// Output is "" for the main output, else the tag of a side output.
	Output       string       `json:"output,omitempty"`
	Input        int          `json:"input,omitempty"`
	Partitioning Partitioning `json:"partitioning"`
	// Schema is that of the rows on the edge.
	Schema string `json:"schema,omitempty"`

	// Type handles the rows (columnar.RowType); not serialised.
	Type any `json:"-"`
	// Key hashes them (columnar.KeyHasher), for Hash; not serialised.
	Key any `json:"-"`
	// Custom is a func(rows any, i, parallelism int) int, for Custom.
	Custom any `json:"-"`
}

// Plan is a JobGraph at an actual parallelism: what is deployed.
type Plan struct {
	Graph    *JobGraph
	Vertices []*Vertex
	Streams  []*Stream
}

// SlotGroupDefault is the slot-sharing group of nodes that ask for none.
const SlotGroupDefault = "default"

// Vertex is a tree of chained nodes that run in one task.
type Vertex struct {
	// Index is the vertex's place in Plan.Vertices (topological order).
	Index int
	// ID is that of its head node.
	ID          dataflow.OperatorID
	Name        string
	Parallelism int
	// SlotGroup names the vertices that it shares slots with.
	SlotGroup string
	// Nodes are in topological order; the first is the head.
	Nodes []*Node
	// Chained are the edges between nodes of this vertex.
	Chained []*Edge
	// Inputs and Outputs are indexes into Plan.Streams.
	Inputs, Outputs []int
}

// Stream is an edge between two vertices.
type Stream struct {
	Index    int
	From, To int // indexes into Plan.Vertices
	Edge     *Edge
}
