package columnar

import "github.com/leatstream/leat/dataflow"

// KeyTargets maps hashes of keys to the subtasks that own them. It is
// immutable.
type KeyTargets struct {
	subtask []int32 // by key group
	mask    uint64  // len(subtask)-1 when that is a power of two, else 0
}

// NewKeyTargets makes the map for a job of the given maximum parallelism and
// a receiver of the given parallelism.
func NewKeyTargets(maxParallelism, parallelism int) *KeyTargets {
	k := &KeyTargets{subtask: make([]int32, maxParallelism)}
	for g := range k.subtask {
		k.subtask[g] = int32(dataflow.SubtaskOf(dataflow.KeyGroup(g), maxParallelism, parallelism))
	}
	if maxParallelism&(maxParallelism-1) == 0 {
		k.mask = uint64(maxParallelism - 1)
	}
	return k
}

// Append appends the subtask of each hash to dst.
func (k *KeyTargets) Append(dst []int32, hashes []uint64) []int32 {
	if k.mask == 0 {
		for _, h := range hashes {
			dst = append(dst, k.subtask[dataflow.KeyGroupOf(h, len(k.subtask))])
		}
		return dst
	}
	for _, h := range hashes {
		dst = append(dst, k.subtask[h&k.mask])
	}
	return dst
}

// Partitioner splits batches by target. It keeps its working memory from call
// to call and serves one goroutine. The zero value is ready.
type Partitioner struct {
	ends []int32 // by target: where its rows end in order
	rows []int32 // row numbers, grouped by target
}

// Split emits the rows of b by target: targets[i], at least 0 and less than
// n, is that of row i. Rows keep their order, targets come in ascending
// order, and targets without rows get nothing. b is handed over, and what is
// emitted as well; when all rows have one target it is b itself. The origin
// does not travel otherwise.
func (p *Partitioner) Split(b *Batch, t RowType, targets []int32, n int, emit func(target int, b *Batch)) {
	if len(targets) == 0 {
		return
	}
	if single(targets) {
		emit(int(targets[0]), b)
		return
	}
	p.group(targets, n)
	from := int32(0)
	for target, end := range p.ends {
		if end > from {
			emit(target, gather(b, t, p.rows[from:end]))
		}
		from = end
	}
}

func single(targets []int32) bool {
	for _, t := range targets[1:] {
		if t != targets[0] {
			return false
		}
	}
	return true
}

// group sorts the row numbers by target, keeping their order, by counting.
func (p *Partitioner) group(targets []int32, n int) {
	p.ends = append(p.ends[:0], make([]int32, n)...)
	for _, t := range targets {
		p.ends[t]++
	}
	at := int32(0)
	for t, count := range p.ends {
		p.ends[t] = at
		at += count
	}
	if cap(p.rows) < len(targets) {
		p.rows = make([]int32, len(targets))
	}
	p.rows = p.rows[:len(targets)]
	for i, t := range targets {
		p.rows[p.ends[t]] = int32(i)
		p.ends[t]++
	}
}

func gather(b *Batch, t RowType, rows []int32) *Batch {
	out := &Batch{Rows: t.Gather(nil, b.Rows, rows)}
	if b.Times != nil {
		out.Times = make([]int64, len(rows))
		for i, at := range rows {
			out.Times[i] = b.Times[at]
		}
	}
	return out
}
