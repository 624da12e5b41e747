// Package bundled is the only list of the concrete parts that programs are
// linked with: state backends and data planes. It decides nothing; what a
// bundle must not carry (the etcd server, the broker) is not named here.
package bundled

import (
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/exchange/exchangegrpc"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/pebblestate"
)

// NewBackend makes the keyed state of one operator's subtask, in memory.
func NewBackend(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error) {
	return memstate.New(groups, maxParallelism), nil
}

// OpenState opens what keeps the keyed state of a job's worker, as the job's
// options say. dir is the worker's own folder for it: it is made, and what is
// in it is removed.
func OpenState(cfg graph.Config, dir string, log *slog.Logger) (state.Backends, error) {
	switch cfg.StateBackend {
	case "", graph.StateInMemory:
		limit := cfg.StateMemory
		if limit == 0 {
			limit = max(processShare(2, 3, 0)-beside, processShare(1, 4, 0))
		}
		return memstate.Open(limit), nil
	case graph.StatePebble:
		memory := cfg.StateMemory
		if memory == 0 {
			memory = processShare(1, 4, pebblestate.MemoryDefault)
		}
		return pebblestate.Open(pebblestate.Config{Dir: dir, MemoryBytes: memory, Log: log})
	}
	return nil, fmt.Errorf("this program has no state backend %q", cfg.StateBackend)
}

// beside is what a worker needs that holds nothing: of a small one it is much.
const beside = 16 << 20

// processShare is a part of the process's memory limit, or otherwise when it
// has none.
func processShare(part, of, otherwise int64) int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit <= 0 || limit == math.MaxInt64 {
		return otherwise
	}
	return limit / of * part
}

// NewNetwork makes the data plane between worker processes.
func NewNetwork() exchange.Network { return &exchangegrpc.Network{} }
