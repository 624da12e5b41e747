package window_test

import (
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators/operatortest"
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
