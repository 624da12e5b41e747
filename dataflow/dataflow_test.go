package dataflow_test

import (
	"math"
	"testing"

	"github.com/leatstream/leat/dataflow"
)

// KeyGroupsOf is the inverse of SubtaskOf: the ranges tile all groups, and
// each group lies in the range of the subtask that owns it.
func TestKeyGroupsOfIsTheInverseOfSubtaskOf(t *testing.T) {
	t.Parallel()
	for _, maxParallelism := range []int{1, 2, 3, 7, 64, 100, 1024} {
		for parallelism := 1; parallelism <= maxParallelism; parallelism++ {
			next := 0
			for subtask := range parallelism {
				r := dataflow.KeyGroupsOf(subtask, maxParallelism, parallelism)
				if int(r.First) != next || r.Len() < 1 {
					t.Fatalf("subtask %d of %d owns %v of %d groups, the one before ended at %d", subtask, parallelism, r, maxParallelism, next-1)
				}
				for g := int(r.First); g <= int(r.Last); g++ {
					if got := dataflow.SubtaskOf(dataflow.KeyGroup(g), maxParallelism, parallelism); got != subtask {
						t.Fatalf("group %d of %d belongs to subtask %d of %d, but lies in the range of %d", g, maxParallelism, got, parallelism, subtask)
					}
				}
				next = int(r.Last) + 1
			}
			if next != maxParallelism {
				t.Fatalf("%d subtasks own %d of %d groups", parallelism, next, maxParallelism)
			}
		}
	}
}

func TestAddTimeSaturates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ at, add, want int64 }{
		{5, 7, 12}, {5, -7, -2}, {dataflow.TimeMax, 1, dataflow.TimeMax}, {dataflow.TimeMin, -1, dataflow.TimeMin},
		{dataflow.TimeMax - 1, math.MaxInt64, dataflow.TimeMax}, {dataflow.TimeMin + 1, math.MinInt64, dataflow.TimeMin},
	} {
		if got := dataflow.AddTime(c.at, c.add); got != c.want {
			t.Errorf("%d + %d = %d, want %d", c.at, c.add, got, c.want)
		}
	}
}

// The id of an operator is a format: state is found by it.
func TestOperatorIDIsAFormat(t *testing.T) {
	t.Parallel()
	if got := dataflow.OperatorIDOf("revenue-per-region"); got != "f8b7fc862a6312cb9cbc1549f055e8aa" {
		t.Errorf("the id is %s", got)
	}
}
