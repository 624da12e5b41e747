package window

import (
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
