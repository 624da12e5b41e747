package task_test

import (
	"testing"

	"github.com/leatstream/leat/columnar"
)

// A window that fires into a sink of its own chain stops while the sink takes
// no rows: else all of its results would wait in the sink's memory.
func TestChainedSinkHoldsUpWhatFires(t *testing.T) {
	t.Parallel()
	const results, room = 100, 10
	left, held := results, 0
	window := &op{}
	window.watermark = func(int64) (bool, error) {
		for ; left > 0; left-- {
			if !window.ctx.Out.Ready() {
				return false, nil
			}
			emit(window.ctx, int64(left))
		}
		return true, nil
	}
	sink := &op{ready: func() bool { return held < room }}
	sink.process = func(int, *columnar.Batch) error { held++; return nil }
	r := chain(t, 1, window, sink).begin()
	r.wm(0, 1000)
	r.run()
	got := 0
	for got < results {
		if held > room || held == 0 {
			t.Fatalf("the sink holds %d batches of which it has room for %d; %d came before", held, room, got)
		}
		got, held = got+held, 0 // written
		r.run()
	}
	if got != results || left != 0 {
		t.Fatalf("%d results came, %d are left", got, left)
	}
}
