//go:build invariants

package columnar_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leatstream/leat/columnar"
)

// panicOf returns what fn panics with, "" when it does not.
func panicOf(fn func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	fn()
	return ""
}

// In builds that check themselves a released batch has no rows any more, for
// whoever has kept them and for whoever asks.
func TestReleasedBatchesAreDead(t *testing.T) {
	t.Parallel()
	var pool columnar.Pool[string]
	b := pool.Take(3, columnar.Timed)
	rows, times := columnar.Rows[string](b), b.Times
	for i := range rows {
		rows[i], times[i] = "here", 1
	}
	b.Release()
	if rows[0] != "" || times[0] == 1 {
		t.Errorf("a row of a released batch is %q at %d", rows[0], times[0])
	}
	if got := panicOf(func() { columnar.Rows[string](b) }); !strings.Contains(got, "after its release") {
		t.Errorf("reading it panics with %q", got)
	}
	if got := panicOf(b.Release); !strings.Contains(got, "released twice") {
		t.Errorf("releasing it again panics with %q", got)
	}
	if next := pool.Take(3, columnar.Timed); next == b {
		t.Error("it is used again")
	}
}
