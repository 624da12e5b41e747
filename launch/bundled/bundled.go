// Package bundled is the only list of the concrete parts that programs are
// linked with: state backends and data planes. It decides nothing; what a
// bundle must not carry (the etcd server, the broker) is not named here.
package bundled

import (
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/exchange/exchangegrpc"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// NewBackend makes the keyed state of one operator's subtask.
func NewBackend(groups dataflow.KeyGroupRange, maxParallelism int) (state.Backend, error) {
	return memstate.New(groups, maxParallelism), nil
}

// NewNetwork makes the data plane between worker processes.
func NewNetwork() exchange.Network { return &exchangegrpc.Network{} }
