package hybrid_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/connectors/hybrid"
)

// TestSourceConforms reads three collections in turn.
func TestSourceConforms(t *testing.T) {
	t.Parallel()
	parts := [][]int{{1, 2, 3, 4, 5, 6, 7}, {}, {10}}
	for name, endless := range map[string]bool{"bounded": false, "endless": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connectortest.TestSource(t, connectortest.SourceCase[int]{
				New: func() connectors.SourceOf[int] {
					last := collection.Slice(8, 9).BatchRows(1)
					if endless {
						last = last.Endless()
					}
					return hybrid.New(collection.Partitions(parts...).BatchRows(2), collection.Partitions([]int{}, []int{11, 12}), last)
				},
				Rows: map[string][]int{
					"0/part-0": parts[0], "0/part-1": nil, "0/part-2": parts[2], "1/part-0": nil, "1/part-1": {11, 12}, "2/part-0": {8, 9},
				},
				Endless: endless,
			})
		})
	}
}

// step reads the first of two sources and makes the step to the second one.
func step(t *testing.T) (src *hybrid.Source[int], e connectors.StagedEnumerator) {
	t.Helper()
	src = hybrid.New(collection.Slice(1, 2), collection.Slice(3))
	made, err := src.NewEnumerator(&connectors.EnumeratorContext{})
	if err != nil {
		t.Fatal(err)
	}
	e, ok := made.(connectors.StagedEnumerator)
	if !ok {
		t.Fatalf("%T has no stages", made)
	}
	return src, e
}

// TestForms pins the bytes of docs/formats/hybrid.md.
func TestForms(t *testing.T) {
	t.Parallel()
	src, e := step(t)
	splits, err := e.Discover(t.Context())
	if err != nil || len(splits) != 1 || splits[0].ID != "0/part-0" || hex.EncodeToString(splits[0].Position) != "01000100" {
		t.Fatalf("splits %v, %v", splits, err)
	}
	r, err := src.NewReader(&connectors.ReaderContext{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.AddSplits(splits); err != nil {
		t.Fatal(err)
	}
	if f, ok, err := r.Next(); !ok || err != nil || !f.SplitEnd || f.Split != "0/part-0" {
		t.Fatalf("fetched %+v, %v, %v", f, ok, err)
	}
	at := r.Snapshot()
	if len(at) != 1 || hex.EncodeToString(at[0].Position) != "01010102" {
		t.Fatalf("snapshot %v", at)
	}
	e.Advance([]connectors.EndedSplit{{Split: at[0]}})
	if splits, err = e.Discover(t.Context()); err != nil || len(splits) != 1 || splits[0].ID != "1/part-0" {
		t.Fatalf("splits %v, %v", splits, err)
	}
	state, err := e.Snapshot()
	if err != nil || hex.EncodeToString(state) != "01010101" || e.More() {
		t.Fatalf("state %x, %v, more %v", state, err, e.More())
	}
	if err := r.AddSplits(splits); err != nil {
		t.Fatal(err)
	}
	if at = r.Snapshot(); len(at) != 1 || at[0].ID != "1/part-0" {
		t.Fatalf("snapshot %v still holds what is over", at)
	}
	if err := r.AddSplits([]connectors.Split{{ID: "0/part-0", Position: []byte{1, 0, 1, 0}}}); err == nil || !strings.Contains(err.Error(), "has not ended") {
		t.Fatalf("a split of a source that is over was taken: %v", err)
	}
}

// TestDamagedState wants an error for each state that was never written.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	src, _ := step(t)
	for _, c := range []struct{ state, want string }{
		{"", "version"}, {"02000101", "version"}, {"01", "damaged"}, {"010005", "damaged"}, {"0100010100", "damaged"}, {"01020101", "reads source 3 of a hybrid source that has 2"},
	} {
		b, err := hex.DecodeString(c.state)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := src.NewEnumerator(&connectors.EnumeratorContext{Restored: b}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("state %q: error %v, want %q", c.state, err, c.want)
		}
	}
	for _, s := range []connectors.Split{
		{ID: "part-0", Position: []byte{1, 0, 1, 0}}, {ID: "2/part-0", Position: []byte{1, 0, 1, 0}}, {ID: "-1/x", Position: []byte{1, 0, 1, 0}},
		{ID: "0/part-0"}, {ID: "0/part-0", Position: []byte{2, 0, 1, 0}}, {ID: "0/part-0", Position: []byte{1, 2, 1, 0}},
	} {
		r, err := src.NewReader(&connectors.ReaderContext{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AddSplits([]connectors.Split{s}); err == nil {
			t.Errorf("split %q at %x was taken", s.ID, s.Position)
		}
	}
}
