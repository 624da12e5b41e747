package stream

import (
	"github.com/leatstream/leat/dataflow/graph"
	sizes "github.com/leatstream/leat/internal/config" // config is a name of this package
)

// StateKind says where the keyed state of a job lies while it runs. What a
// checkpoint holds is the same for all kinds: a job may go on with another.
type StateKind = graph.StateBackend

// Kinds of state.
const (
	// MemoryState keeps keys and values in the worker's memory: the fastest,
	// for state that fits. It is the default, unless the cluster has another.
	MemoryState = graph.StateInMemory
	// Pebble keeps them on the worker's local disk, with a bounded cache in
	// memory: for state larger than memory.
	Pebble = graph.StatePebble
)

// Properties that go before the options of the program, for who submits a job.
const (
	propertyStateBackend = "state.backend"
	propertyStateMemory  = "state.memory"
)

// StateBackend sets where keyed state lies. Submitting the job with
// -D state.backend=pebble or memory goes before it.
func StateBackend(kind StateKind) EnvOption {
	where := callSite() // not inside: what is inlined into the program counts as the program
	return func(e *Env) {
		if _, err := graph.ParseStateBackend(string(kind)); err != nil || kind == "" {
			e.fail(where, "state backend %q is neither stream.MemoryState nor stream.Pebble", kind)
			return
		}
		e.graph.Config.StateBackend = kind
	}
}

// StateMemory is the memory in bytes that keyed state may use in each worker
// process. For Pebble it bounds blocks and unwritten tables, and the default is
// a quarter of the worker's memory. For MemoryState it bounds the state itself,
// with what snapshots hold of it, and the default is two thirds, less 16 MiB: a job that
// outgrows it fails with an error that names the operator and its keys, before
// the worker runs out of memory. Submitting the job with -D state.memory=512MiB
// goes before it.
func StateMemory(bytes int64) EnvOption {
	where := callSite()
	return func(e *Env) {
		if bytes <= 0 {
			e.fail(where, "memory of the state backend is %d bytes: give a positive number, or leave the option out", bytes)
			return
		}
		e.graph.Config.StateMemory = bytes
	}
}

// stateProperties applies what the job was submitted with.
func (e *Env) stateProperties() {
	if text := e.Property(propertyStateBackend); text != "" {
		kind, err := graph.ParseStateBackend(text)
		if err != nil {
			e.fail("-D "+propertyStateBackend, "%w: give one of them", err)
		}
		e.graph.Config.StateBackend = kind
	}
	if e.Property("state.pebble.memory") != "" {
		e.fail("-D state.pebble.memory", "the property is called %s, for all backends", propertyStateMemory)
	}
	if text := e.Property(propertyStateMemory); text != "" {
		size, err := sizes.ParseSize(text)
		if err == nil && size <= 0 {
			e.fail("-D "+propertyStateMemory, "%q is not a positive size: write it like 512MiB", text)
		}
		if err != nil {
			e.fail("-D "+propertyStateMemory, "%w: write it like 512MiB", err)
		}
		e.graph.Config.StateMemory = int64(size)
	}
}
