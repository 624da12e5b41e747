package memstate

import (
	"fmt"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statetest"
)

func factory(groups dataflow.KeyGroupRange, maxParallelism int) state.Backend {
	return New(groups, maxParallelism)
}

func TestAgainstReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			statetest.Compare(t, factory, statetest.NewReference, seed, 6000)
		})
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	statetest.Run(t, factory)
}
