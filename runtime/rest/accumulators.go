package rest

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/leatstream/leat/operators/measure"
	"github.com/leatstream/leat/runtime/jobview"
)

// userAccumulator is an accumulator in the form of Flink's REST API.
type userAccumulator struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}

// accumulated merges the accumulators of subtasks: those of one name and kind
// are one, whichever operator they are of, as in Flink.
func accumulated(subtasks []jobview.Subtask) []userAccumulator {
	type id struct{ kind, name string }
	values := make(map[id]float64)
	for _, s := range subtasks {
		for metric, v := range s.Operators {
			_, name, _ := strings.Cut(metric, ".") // the operator's id
			rest, ok := strings.CutPrefix(name, measure.AccumulatorPrefix)
			if !ok {
				continue
			}
			kind, name, _ := strings.Cut(rest, ".")
			if have, ok := values[id{kind, name}]; ok {
				v = merge(kind, have, v)
			}
			values[id{kind, name}] = v
		}
	}
	out := make([]userAccumulator, 0, len(values))
	for k, v := range values {
		out = append(out, userAccumulator{k.name, k.kind, strconv.FormatFloat(v, 'f', -1, 64)})
	}
	slices.SortFunc(out, func(a, b userAccumulator) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Type, b.Type))
	})
	return out
}

func merge(kind string, a, b float64) float64 {
	switch kind {
	case measure.KindMaximum:
		return math.Max(a, b)
	case measure.KindMinimum:
		return math.Min(a, b)
	default:
		return a + b
	}
}
