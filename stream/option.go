package stream

import (
	"time"

	"github.com/leatstream/leat/dataflow/graph"
)

// Option sets an option of one operator, of any kind.
type Option interface {
	SourceOption
	TableAggregateOption
	CoGroupOption
	RequestOption
	applyNode(*graph.Node)
}

// SourceOption sets an option of a source.
type SourceOption interface {
	applySource(*sourceConfig)
}

type nodeOption func(*graph.Node)

func (o nodeOption) applyNode(n *graph.Node)     { o(n) }
func (o nodeOption) applySource(c *sourceConfig) { o(c.node) }

// UID names an operator for good: its state is found by it, after an update
// of the program as well. Operators with state need one.
func UID(uid string) Option { return nodeOption(func(n *graph.Node) { n.UID = uid }) }

// Name names an operator for people.
func Name(name string) Option { return nodeOption(func(n *graph.Node) { n.Name = name }) }

// Parallelism fixes the parallelism of one operator.
func Parallelism(n int) Option {
	return nodeOption(func(node *graph.Node) {
		if n < 1 {
			n = -1 // reported where the node is added
		}
		node.Parallelism = n
	})
}

// NoChaining runs an operator in a task of its own: records reach it, and
// those after it, through a queue.
func NoChaining() Option {
	return nodeOption(func(n *graph.Node) { n.Unchained, n.Alone = true, true })
}

// StartChain begins a new task with an operator; those after it may be
// chained to it.
func StartChain() Option { return nodeOption(func(n *graph.Node) { n.Unchained = true }) }

// SlotSharingGroup puts an operator into a named group of operators that share
// slots. Operators of different groups never share a slot and are never
// chained, so the job needs the sum of what its groups need. Without it an
// operator is in the group of its inputs if they agree, else in "default".
func SlotSharingGroup(name string) Option {
	return nodeOption(func(n *graph.Node) { n.SlotGroup = name })
}

// WindowOption sets an option of a windowed stream.
type WindowOption func(*windowConfig)

type windowConfig struct {
	lateness time.Duration
	triggers []TriggerSpec
	evictors []EvictorSpec
	faults   []string
}

// AllowedLateness is how long after its end a window still takes records:
// each of them makes the window's result come again, with all records so far.
// Records that are later than that go to Late, or are dropped and counted.
func AllowedLateness(d time.Duration) WindowOption {
	return func(c *windowConfig) { c.lateness = d }
}
