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
	steps := 6000
	if testing.Short() {
		steps = 2000
	}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			statetest.Compare(t, factory, statetest.NewReference, seed, steps)
		})
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	statetest.Run(t, factory)
}

func TestChains(t *testing.T) {
	t.Parallel()
	statetest.RunChains(t, factory, factory, statetest.NewReference)
}

func TestTTL(t *testing.T) {
	t.Parallel()
	statetest.RunTTL(t, factory)
}

func TestMigration(t *testing.T) {
	t.Parallel()
	statetest.RunMigration(t, factory)
}
