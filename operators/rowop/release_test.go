//go:build invariants

package rowop_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/rowop"
)

// keeper holds on to what is emitted, and looks at the mapper's input then.
type keeper struct {
	operators.Output
	in    *columnar.Batch
	first string // row of the input at the time
	got   *columnar.Batch
}

func (o *keeper) Emit(b *columnar.Batch) {
	o.first, o.got = columnar.Rows[string](o.in)[0], b
}

// A mapper to another type gives its input up, but not before what follows in
// the chain has returned: a failure there has its place from the input. What
// it emitted is not affected.
func TestMapReleasesItsInputAfterEmit(t *testing.T) {
	t.Parallel()
	var pool columnar.Pool[string]
	in := pool.Take(2, columnar.Untimed)
	copy(columnar.Rows[string](in), []string{"a", "bcd"})
	out := &keeper{in: in}
	op := rowop.Map(func(s string) int { return len(s) }).New()
	if err := op.Open(&operators.Context{Out: out, Metrics: operatortest.NewMetrics()}); err != nil {
		t.Fatal(err)
	}
	if err := op.Process(0, in); err != nil {
		t.Fatal(err)
	}
	if rows := columnar.Rows[int](out.got); out.first != "a" || rows[0] != 1 || rows[1] != 3 {
		t.Errorf("the input began with %q when %v came out", out.first, rows)
	}
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "released twice") {
			t.Errorf("the input was not released by Process: %s", r)
		}
	}()
	in.Release()
}
