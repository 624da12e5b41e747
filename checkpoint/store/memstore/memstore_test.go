package memstore_test

import (
	"testing"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/checkpoint/store/storetest"
	"github.com/leatstream/leat/internal/clock"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return memstore.New(clock.Real{}) })
}
