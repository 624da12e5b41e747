package timer

import (
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/leatstream/leat/state"
)

const (
	// bucketMillis is the span of time whose timers share a namespace of the
	// table. A namespace for each millisecond would be a table for each timer.
	bucketMillis = 1024
	// frontMax bounds the timers that are held in order outside the table.
	frontMax = 1 << 18
	// frontSmall is what costs less to load again than to grow by timers
	// of an earlier bucket.
	frontSmall = 64
	pairBytes  = 16

	schema = "timers 1: per key and 1024 ms, ascending pairs of time and namespace, int64 each"
)

// queue is the timers of one kind. The table is the truth: its namespace is
// a bucket of time, its value the pairs (time, namespace) of a key. To fire in
// order, the timers of the earliest bucket are also in front.
//
// Invariant: front holds every timer of the table in a bucket before bucket,
// and of those in bucket every one whose (time, hash) is at or before bound.
// It may hold others, deleted since: whoever takes one looks it up. Each
// non-empty bucket after bucket is in later, which may hold others, too.
type queue struct {
	table state.Table
	front front

	loaded bool
	bucket int64
	bound  rank
	later  int64Heap
	limit  int // of later, before it is made anew
	live   int // timers in front that exist

	closed   bool // nothing is registered any more
	frontMax int
	val      []byte
	key      []byte

	early  state.Prefetcher       // the table; nil: it is none
	ahead  func(keys []state.Key) // the operator's; may be nil
	coming []state.Key
}

// rank is what timers are ordered by, before their keys.
type rank struct {
	time int64
	hash uint64
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.time, o.time), cmp.Compare(r.hash, o.hash))
}

func bucketOf(time int64) int64 { return time &^ (bucketMillis - 1) }

func (q *queue) open(b state.Backend, name string) (err error) {
	q.frontMax = frontMax
	q.table, err = b.Table(state.Descriptor{Name: name, Schema: schema})
	if err == nil {
		q.early, _ = q.table.(state.Prefetcher)
		q.reset()
	}
	return err
}

// reset forgets front: all timers are in the table.
func (q *queue) reset() {
	q.front.clear()
	q.loaded, q.live = false, 0
	q.later = append(q.later[:0:0], q.table.Namespaces()...) // ascending is a heap
	q.limit = 2*len(q.later) + 2*frontSmall
}

func (q *queue) register(k state.Key, ns, time int64) {
	bucket := bucketOf(time)
	if !q.insert(bucket, k, ns, time) {
		return
	}
	if !q.loaded || bucket > q.bucket {
		return
	}
	if bucket < q.bucket && q.front.len() <= frontSmall {
		q.demote(bucket)
		return
	}
	if r := (rank{time, k.Hash}); bucket < q.bucket || r.compare(q.bound) <= 0 {
		q.front.push(r, ns, k.Bytes)
		q.live++
		q.trim()
	}
}

// insert adds the timer to the table; it reports whether it is new.
func (q *queue) insert(bucket int64, k state.Key, ns, time int64) bool {
	if (!q.loaded || bucket > q.bucket) && q.table.LenNamespace(bucket) == 0 {
		q.schedule(bucket)
	}
	val, _ := q.table.Get(bucket, k)
	i, found := findPair(val, time, ns)
	if found {
		return false
	}
	q.val = append(q.val[:0], val[:i]...)
	q.val = binary.LittleEndian.AppendUint64(q.val, uint64(time))
	q.val = binary.LittleEndian.AppendUint64(q.val, uint64(ns))
	q.val = append(q.val, val[i:]...)
	q.table.Put(bucket, k, q.val)
	return true
}

// schedule adds a bucket to later; first it sheds what became empty there.
func (q *queue) schedule(bucket int64) {
	if len(q.later) >= q.limit {
		q.later = q.later[:0]
		for _, b := range q.table.Namespaces() {
			if !q.loaded || b > q.bucket {
				q.later = append(q.later, b)
			}
		}
		q.limit = 2*len(q.later) + 2*frontSmall
	}
	heap.Push(&q.later, bucket)
}

// demote gives front's buckets back to later, because bucket is earlier.
func (q *queue) demote(bucket int64) {
	q.loaded, q.live = false, 0
	q.front.each(func(it *item) { q.schedule(bucketOf(it.time)) })
	q.schedule(q.bucket)
	q.schedule(bucket)
	q.front.clear()
}

// trim begins anew when front is mostly deleted timers, or too large.
func (q *queue) trim() {
	if n := q.front.len(); n > 2*q.live+frontSmall || n > 4*q.frontMax {
		q.reset()
	}
}

func (q *queue) remove(k state.Key, ns, time int64) {
	if q.take(k, ns, time) && q.inFront(rank{time, k.Hash}) {
		q.live--
		q.trim()
	}
}

func (q *queue) inFront(r rank) bool {
	b := bucketOf(r.time)
	return q.loaded && (b < q.bucket || b == q.bucket && r.compare(q.bound) <= 0)
}

// take removes the timer from the table; it reports whether it was there.
func (q *queue) take(k state.Key, ns, time int64) bool {
	bucket := bucketOf(time)
	val, _ := q.table.Get(bucket, k)
	i, found := findPair(val, time, ns)
	switch {
	case !found:
		return false
	case len(val) == pairBytes:
		q.table.Delete(bucket, k)
		return true
	}
	q.val = append(append(q.val[:0], val[:i]...), val[i+pairBytes:]...)
	q.table.Put(bucket, k, q.val)
	return true
}

// findPair returns the offset at which the pair is, or belongs.
func findPair(val []byte, time, ns int64) (offset int, found bool) {
	i, found := sort.Find(len(val)/pairBytes, func(i int) int {
		t, n := pairAt(val[i*pairBytes:])
		return cmp.Or(cmp.Compare(time, t), cmp.Compare(ns, n))
	})
	return i * pairBytes, found
}

func pairAt(b []byte) (time, ns int64) {
	return int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))
}

// peek returns the earliest timer, which stays where it is. Its key is valid
// until front changes.
func (q *queue) peek() (it item, k state.Key, ok bool) {
	for {
		if q.front.len() == 0 {
			if !q.load() {
				return it, k, false
			}
			continue
		}
		it = *q.front.first()
		k = state.Key{Bytes: q.front.key(&it), Hash: it.hash}
		val, _ := q.table.Get(bucketOf(it.time), k)
		if _, found := findPair(val, it.time, it.ns); found {
			return it, k, true
		}
		q.front.pop() // deleted since
	}
}

func (q *queue) next() (time int64, ok bool) {
	it, _, ok := q.peek()
	return it.time, ok
}

func (q *queue) advance(limit int64, fire Fire, ready func() bool) (done bool, err error) {
	for {
		it, k, ok := q.peek()
		if !ok || it.time > limit {
			return true, nil
		}
		if ready != nil && !ready() {
			return false, nil
		}
		if q.look(limit) { // what k refers to is still there
			k.Bytes = q.front.key(&it)
		}
		q.key = append(q.key[:0], k.Bytes...) // the callback may clear front
		k.Bytes = q.key
		q.front.pop()
		q.live--
		q.take(k, it.ns, it.time)
		if err := fire(k, it.ns, it.time); err != nil {
			return false, err
		}
	}
}

// load fills front, which is empty, with the earliest timers of the table.
func (q *queue) load() bool {
	q.front.clear()
	q.live = 0
	if !q.loaded || q.table.LenNamespace(q.bucket) == 0 {
		if !q.nextBucket() {
			return false
		}
	}
	q.bound = rank{math.MaxInt64, math.MaxUint64}
	if !q.fill(2 * q.frontMax) {
		q.bound = q.chooseBound()
		q.fill(math.MaxInt)
	}
	q.front.order()
	q.live = q.front.len()
	return true
}

// aheadTimers is how many timers' keys state is told of before the first of
// them fires: many enough for the misses of their reads to overlap, few enough
// for what was read to be in the processor's cache still.
const aheadTimers = 128

// look tells state of the keys whose timers are the next to fire.
func (q *queue) look(limit int64) bool {
	f := &q.front
	if f.at < f.looked || f.at == len(f.run) || f.run[f.at].time > limit {
		return false
	}
	q.coming = q.coming[:0]
	for i := f.at; i < len(f.run) && f.run[i].time <= limit && i < f.at+aheadTimers; i++ {
		q.coming = append(q.coming, state.Key{Bytes: f.key(&f.run[i]), Hash: f.run[i].hash})
	}
	f.looked = f.at + len(q.coming)
	if q.early != nil {
		q.early.Prefetch(bucketOf(f.run[f.at].time), q.coming)
	}
	if q.ahead != nil {
		q.ahead(q.coming)
	}
	return true
}

// fill adds the bucket's timers up to bound to front; when there are more
// than limit it gives up.
func (q *queue) fill(limit int) bool {
	q.front.empty()
	q.table.Scan(q.bucket, func(key, val []byte) bool {
		hash := state.KeyOf(key).Hash
		for ; len(val) > 0; val = val[pairBytes:] {
			time, ns := pairAt(val)
			if r := (rank{time, hash}); r.compare(q.bound) <= 0 {
				q.front.add(r, ns, key)
			}
		}
		return q.front.len() <= limit
	})
	return q.front.len() <= limit
}

// nextBucket moves to the earliest bucket that is not empty.
func (q *queue) nextBucket() bool {
	for len(q.later) > 0 {
		b := heap.Pop(&q.later).(int64)
		if q.table.LenNamespace(b) > 0 {
			q.bucket, q.loaded = b, true
			return true
		}
	}
	q.loaded = false
	return false
}

// chooseBound returns the rank up to which frontMax timers of the bucket lie,
// and those of equal rank.
func (q *queue) chooseBound() rank {
	var ranks []rank
	prune := func() {
		slices.SortFunc(ranks, rank.compare)
		ranks = ranks[:min(len(ranks), q.frontMax)]
	}
	q.table.Scan(q.bucket, func(key, val []byte) bool {
		hash := state.KeyOf(key).Hash
		for ; len(val) > 0; val = val[pairBytes:] {
			time, _ := pairAt(val)
			ranks = append(ranks, rank{time, hash})
		}
		if len(ranks) >= 2*q.frontMax {
			prune()
		}
		return true
	})
	prune()
	return ranks[len(ranks)-1]
}

// front is timers without pointers: keys lie in one arena. Those of a bucket
// that was loaded are in a run, in order; those that came since are in a heap.
type front struct {
	run    []item // from at on
	at     int
	looked int // state was told of the keys of run up to here
	items  []item
	arena  []byte
	used   int     // timers that it is expected to hold, of those it held
	ends   []int32 // of order
}

type item struct {
	rank
	ns  int64
	off int
	len int
}

func (f *front) key(it *item) []byte { return f.arena[it.off : it.off+it.len] }

func (f *front) len() int { return len(f.run) - f.at + len(f.items) }

func (f *front) each(fn func(*item)) {
	for i := f.at; i < len(f.run); i++ {
		fn(&f.run[i])
	}
	for i := range f.items {
		fn(&f.items[i])
	}
}

// first returns the earliest timer; there is one.
func (f *front) first() *item {
	if f.fromRun() {
		return &f.run[f.at]
	}
	return &f.items[0]
}

// fromRun reports whether the earliest timer is in the run.
func (f *front) fromRun() bool {
	return f.at < len(f.run) && (len(f.items) == 0 || f.compare(f.run[f.at], f.items[0]) <= 0)
}

// clear empties front. What a large bucket took is given back when some of
// those after it were much smaller.
func (f *front) clear() {
	f.used = max(len(f.run), len(f.items), f.used/2)
	if n := max(cap(f.items), cap(f.run), cap(f.arena)/64); n > 1024 && n > 8*f.used {
		*f = front{used: f.used}
	}
	f.empty()
}

func (f *front) empty() {
	f.run, f.at, f.looked = f.run[:0], 0, 0
	f.items, f.arena = f.items[:0], f.arena[:0]
}

func (f *front) add(r rank, ns int64, key []byte) {
	f.items = append(f.items, item{rank: r, ns: ns, off: len(f.arena), len: len(key)})
	f.arena = append(f.arena, key...)
}

// order makes a run of what was added, which is all of one bucket: dealt out
// by millisecond, each of which is sorted.
func (f *front) order() {
	// to is where the next timer of a millisecond goes; in the end it is where
	// those of the millisecond end.
	if f.ends == nil {
		f.ends = make([]int32, bucketMillis+1)
	}
	to := f.ends
	clear(to)
	at := func(it *item) int64 { return it.time & (bucketMillis - 1) }
	for i := range f.items {
		to[at(&f.items[i])+1]++
	}
	for i := range bucketMillis {
		to[i+1] += to[i]
	}
	f.run = slices.Grow(f.run[:0], len(f.items))[:len(f.items)]
	for i := range f.items {
		ms := at(&f.items[i])
		f.run[to[ms]] = f.items[i]
		to[ms]++
	}
	from := int32(0)
	for _, end := range to[:bucketMillis] {
		slices.SortFunc(f.run[from:end], f.compare)
		from = end
	}
	f.items, f.at, f.looked = f.items[:0], 0, 0
}

func (f *front) compare(a, b item) int {
	if c := a.rank.compare(b.rank); c != 0 {
		return c
	}
	return cmp.Or(bytes.Compare(f.key(&a), f.key(&b)), cmp.Compare(a.ns, b.ns))
}

func (f *front) less(i, j int) bool { return f.compare(f.items[i], f.items[j]) < 0 }

func (f *front) push(r rank, ns int64, key []byte) {
	f.add(r, ns, key)
	for i := len(f.items) - 1; i > 0; {
		parent := (i - 1) / 2
		if !f.less(i, parent) {
			return
		}
		f.items[i], f.items[parent] = f.items[parent], f.items[i]
		i = parent
	}
}

// pop removes the earliest timer.
func (f *front) pop() {
	if f.fromRun() {
		f.at++
		return
	}
	n := len(f.items) - 1
	f.items[0] = f.items[n]
	f.items = f.items[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			return
		}
		if child+1 < n && f.less(child+1, child) {
			child++
		}
		if !f.less(child, i) {
			return
		}
		f.items[i], f.items[child] = f.items[child], f.items[i]
		i = child
	}
}

// int64Heap is a heap for container/heap, which the rare moves between
// buckets go through.
type int64Heap []int64

func (h int64Heap) Len() int           { return len(h) }
func (h int64Heap) Less(i, j int) bool { return h[i] < h[j] }
func (h int64Heap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *int64Heap) Push(x any) { *h = append(*h, x.(int64)) }

// Pop implements heap.Interface.
func (h *int64Heap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
