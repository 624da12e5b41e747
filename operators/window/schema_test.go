package window

import (
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow/codec"
)

// TestSchemaOfSessions: queries of state (runtime/dispatcher) know sessions by
// how their schema begins, and their fields are in the guide.
func TestSchemaOfSessions(t *testing.T) {
	t.Parallel()
	c, err := codec.Of[session[struct{ N int64 }]]()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Schema(), "{Start:int64,End:int64,Timer:int64,More:int64,Acc:{N:int64}}"; got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
}

// TestSchemaOfRecords: the same of what is kept of a window beside its rows.
func TestSchemaOfRecords(t *testing.T) {
	t.Parallel()
	c, err := codec.Of[record]()
	if err != nil {
		t.Fatal(err)
	}
	if tableCounts != "window-counts" {
		t.Errorf("queries do not know %s", tableCounts)
	}
	if got, want := c.Schema(), "{HomeStart:int64,HomeEnd:int64,Next:"; !strings.HasPrefix(got, want) {
		t.Errorf("schema %s does not begin with %s", got, want)
	}
}
