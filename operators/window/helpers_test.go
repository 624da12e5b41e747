package window_test

import (
	"testing"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/window"
	"github.com/leatstream/leat/state"
)

// entries returns the number of entries of a table of the operator.
func entries(s *operatortest.Subtask, table string) int {
	d := state.Descriptor{Name: table, Schema: must(codec.Of[total]()).Schema(), Fixed: 16}
	if table == "window-counts" {
		d = state.Descriptor{Name: table, Schema: "uint64", Fixed: 8}
	}
	return must(s.State.Table(d)).Len()
}

// noState fails unless all tables are empty.
func noState(t *testing.T, s *operatortest.Subtask) {
	t.Helper()
	empty(t, s, window.TablesOf[total, sale]())
}

// empty fails unless tables are.
func empty(t *testing.T, s *operatortest.Subtask, tables []state.Descriptor) {
	t.Helper()
	for _, d := range tables {
		if n := must(s.State.Table(d)).Len(); n != 0 {
			t.Fatalf("subtask %d still has %d entries in %s after the end", s.Index, n, d.Name)
		}
	}
}
