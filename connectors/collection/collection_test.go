package collection_test

import (
	"strconv"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/connectortest"
)

func TestSourceConforms(t *testing.T) {
	t.Parallel()
	parts := [][]int{{1, 2, 3, 4, 5, 6, 7}, {}, {10}}
	connectortest.TestSource(t, connectortest.SourceCase[int]{
		New:  func() connectors.SourceOf[int] { return collection.Partitions(parts...).BatchRows(2) },
		Rows: map[string][]int{"part-0": parts[0], "part-1": nil, "part-2": parts[2]},
	})
}

func TestCollectorConforms(t *testing.T) {
	t.Parallel()
	c := collection.NewCollector(0)
	connectortest.TestSink(t, connectortest.SinkCase[int]{
		New: func() connectors.SinkOf[int] { return c }, Row: func(i int) int { return i },
		Visible: c.Rows, Key: strconv.Itoa,
	})
}

// TestEndless: after its last row a source without an end waits, and says
// that it has caught up; one with an end says that.
func TestEndless(t *testing.T) {
	t.Parallel()
	for _, endless := range []bool{false, true} {
		src := collection.Slice(1, 2, 3).BatchRows(2)
		if endless {
			src = src.Endless()
		}
		if src.Bounded() == endless {
			t.Errorf("endless %v: bounded is %v", endless, src.Bounded())
		}
		r, err := src.NewReader(&connectors.ReaderContext{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AddSplits([]connectors.Split{{ID: "part-0", Position: []byte{1, 0}}}); err != nil {
			t.Fatal(err)
		}
		rows, ended, caughtUp := 0, false, false
		for range 10 {
			f, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if ok && f.Batch != nil {
				rows += len(f.Batch.Rows.([]int))
			}
			ended, caughtUp = ended || f.SplitEnd, caughtUp || f.CaughtUp
		}
		if rows != 3 || ended == endless || endless && !caughtUp {
			t.Errorf("endless %v: %d rows, ended %v, caught up %v", endless, rows, ended, caughtUp)
		}
	}
}

// TestBatchesAreCopies checks that a consumer that changes its batch does not
// change the program's rows.
func TestBatchesAreCopies(t *testing.T) {
	t.Parallel()
	rows := []int{1, 2, 3}
	r, err := collection.Slice(rows...).NewReader(&connectors.ReaderContext{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddSplits([]connectors.Split{{ID: "part-0", Position: []byte{1, 0}}}); err != nil {
		t.Fatal(err)
	}
	f, ok, err := r.Next()
	if !ok || err != nil {
		t.Fatalf("ok %v, error %v", ok, err)
	}
	f.Batch.Rows.([]int)[0] = 99
	if rows[0] != 1 {
		t.Fatal("the program's rows were changed")
	}
}
