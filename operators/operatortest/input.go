package operatortest

import "github.com/leatstream/leat/columnar"

// Input describes one input of an operator that has several.
type Input struct {
	Rows columnar.RowType
	// Key partitions the input.
	Key columnar.KeyHasher
}

// FeedInput gives rows of one of several inputs to the subtasks, cut as
// configured. Config.Rows and Config.Key are those of input 0.
func (h *Harness) FeedInput(input int, in Input, b *columnar.Batch) {
	h.tb.Helper()
	n := in.Rows.Len(b.Rows)
	size := h.cfg.BatchRows
	if size <= 0 {
		size = max(n, 1)
	}
	for from := 0; from < n; from += size {
		to := min(from+size, n)
		c := &columnar.Batch{Rows: in.Rows.Gather(nil, b.Rows, indexes(from, to)), Shared: b.Shared}
		if b.Times != nil {
			c.Times = append([]int64(nil), b.Times[from:to]...)
		}
		targets := columnar.NewKeyTargets(h.cfg.MaxParallelism, h.cfg.Parallelism).
			Append(nil, in.Key.HashRows(make([]uint64, 0, to-from), c.Rows))
		h.part.Split(c, in.Rows, targets, h.cfg.Parallelism, func(to int, b *columnar.Batch) {
			h.check(h.Subs[to].Operator.Process(input, b))
		})
	}
}
