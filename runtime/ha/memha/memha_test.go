package memha_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/hatest"
	"github.com/leatstream/leat/runtime/ha/memha"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type cluster struct{ *memha.Service }

func (c cluster) Contender() ha.Coordination { return c.Service.Contender() }
func (c cluster) Depose() error              { c.Service.Depose(); return nil }

func TestConformance(t *testing.T) {
	t.Parallel()
	hatest.Run(t, func(*testing.T) hatest.Cluster { return cluster{memha.NewService()} })
}

func TestFaultsOfACommit(t *testing.T) {
	t.Parallel()
	s := memha.NewService()
	c := s.Contender()
	defer c.Close()
	l, err := c.Campaign(t.Context(), ha.Leader{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	write := []ha.Write{{Key: "k", Value: []byte("v")}}
	for _, x := range []struct {
		fault   memha.Fault
		want    error
		written bool
	}{
		{memha.FaultRefused, nil, false}, {memha.FaultLost, ha.ErrUnknown, false},
		{memha.FaultUnanswered, ha.ErrUnknown, true},
	} {
		s.SetFaults(func(dataflow.Epoch, []ha.Write) memha.Fault { return x.fault })
		err := l.Commit(t.Context(), write)
		if err == nil || x.want != nil && !errors.Is(err, x.want) {
			t.Errorf("fault %d: %v", x.fault, err)
		}
		found, err := l.Load(t.Context(), "k")
		if err != nil || (len(found) == 1) != x.written {
			t.Errorf("fault %d: %v %v", x.fault, found, err)
		}
	}
	s.SetFaults(func(dataflow.Epoch, []ha.Write) memha.Fault { return memha.FaultDeposed })
	if err := l.Commit(t.Context(), write); !errors.Is(err, ha.ErrFenced) {
		t.Error(err)
	}
	<-l.Done()
}
