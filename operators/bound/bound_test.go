package bound_test

import (
	"bytes"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/bound"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

const (
	name   = "reached"
	groups = 128
)

func backend(subtask, parallelism int) state.Backend {
	return memstate.New(dataflow.KeyGroupsOf(subtask, groups, parallelism), groups)
}

func open(t *testing.T, b state.Backend, fromSavepoint bool) *bound.Bounds {
	t.Helper()
	x, err := bound.Open(&operators.Context{State: b, FromSavepoint: fromSavepoint}, name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// carry restores what some subtasks hold into one of another parallelism.
func carry(t *testing.T, to state.Backend, from ...state.Backend) state.Backend {
	t.Helper()
	for _, b := range from {
		s, err := b.Snapshot(1)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if _, err := s.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		s.Release()
		if err := to.Restore(&file, state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestBoundsGoWithTheKeys: two subtasks that came to different times are one
// after a rescale, and each group keeps its own.
func TestBoundsGoWithTheKeys(t *testing.T) {
	t.Parallel()
	a, b := backend(0, 2), backend(1, 2)
	open(t, a, false).Raise(10)
	open(t, b, false).Raise(30)
	all := carry(t, backend(0, 1), a, b)
	x := open(t, all, false)
	for hash := range uint64(groups) {
		want := int64(10)
		if b.KeyGroups().Contains(dataflow.KeyGroupOf(hash, groups)) {
			want = 30
		}
		if got := x.Of(hash); got != want {
			t.Fatalf("hash %d: %d, want %d", hash, got, want)
		}
	}
	if x.Most() != 30 || x.Least() != 10 || x.Written() != dataflow.TimeMin {
		t.Errorf("most %d, least %d, written %d", x.Most(), x.Least(), x.Written())
	}
	x.Raise(20)
	if x.Of(0) != 20 || x.Of(groups-1) != 30 || x.Most() != 30 || x.Least() != 20 || x.Written() != 20 {
		t.Errorf("raised: %d to %d, most %d, least %d, written %d", x.Of(0), x.Of(groups-1), x.Most(), x.Least(), x.Written())
	}
	if y := open(t, carry(t, backend(0, 1), all), true); y.Of(0) != 20 || y.Of(groups-1) != 30 {
		t.Errorf("from a savepoint: %d to %d", y.Of(0), y.Of(groups-1))
	}
}

// TestTimeStartsAnewAfterADrain: the end of a drained job is no bound of the
// one that starts from it, nor of that one's restores; it is one of a restore
// of the job itself.
func TestTimeStartsAnewAfterADrain(t *testing.T) {
	t.Parallel()
	drained := backend(0, 1)
	open(t, drained, false).Raise(dataflow.TimeMax)
	if x := open(t, carry(t, backend(0, 1), drained), false); x.Of(7) != dataflow.TimeMax {
		t.Errorf("a restore begins at %d", x.Of(7))
	}
	next := carry(t, backend(0, 1), drained)
	if x := open(t, next, true); x.Of(7) != dataflow.TimeMin || x.Most() != dataflow.TimeMin || x.Least() != dataflow.TimeMin {
		t.Errorf("a start from the savepoint begins at %d", x.Of(7))
	}
	if x := open(t, carry(t, backend(0, 1), next), false); x.Of(7) != dataflow.TimeMin {
		t.Errorf("its first restore begins at %d", x.Of(7))
	}
}

func TestDamagedBoundsAreNamed(t *testing.T) {
	t.Parallel()
	b := backend(0, 1)
	b.SetGroupValue(name, 5, []byte("abc"))
	_, err := bound.Open(&operators.Context{State: b}, name)
	if err == nil || err.Error() != `state "reached" of key group 5 has 3 bytes, want 8` {
		t.Errorf("error %v", err)
	}
}
