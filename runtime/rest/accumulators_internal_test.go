package rest

import (
	"slices"
	"testing"

	"github.com/leatstream/leat/runtime/jobview"
)

func TestAccumulatorsAreMergedOverSubtasks(t *testing.T) {
	t.Parallel()
	got := accumulated([]jobview.Subtask{
		{Operators: map[string]float64{"op1.accumulator.LongCounter.hits": 3, "op1.accumulator.DoubleMaximum.most": 7, "op1.accumulator.DoubleMinimum.least": 2, "op1.numRecordsOut": 9}},
		{Operators: map[string]float64{"op1.accumulator.LongCounter.hits": 4, "op1.accumulator.DoubleMaximum.most": 5, "op1.accumulator.DoubleMinimum.least": 1, "op2.accumulator.LongCounter.hits": 10}},
		{},
	})
	want := []userAccumulator{{"hits", "LongCounter", "17"}, {"least", "DoubleMinimum", "1"}, {"most", "DoubleMaximum", "7"}}
	if !slices.Equal(got, want) {
		t.Errorf("accumulators %v, want %v", got, want)
	}
	if none := accumulated(nil); none == nil || len(none) > 0 {
		t.Errorf("without accumulators: %#v", none)
	}
}
