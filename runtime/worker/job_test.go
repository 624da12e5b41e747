package worker_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
)

// The job of these tests: numbers in splits, counted by key with keyed state,
// and a sink whose output is visible once it is committed.

type number struct {
	Key   string
	Value int64
}

type count struct {
	Key   string
	Value int64
}

const (
	splits = 6
	keysN  = 97
)

// outside is the world of a test's job: what was committed, and how the
// sources behave.
type outside struct {
	rows    int64        // of each split
	pace    atomic.Int64 // rows that sources may read; they wait beyond
	failAt  atomic.Int64 // the counter panics at this value; 0: never
	mu      sync.Mutex
	commits map[string][]count // by transaction; guarded by mu
}

func newOutside(rows int64) *outside {
	o := &outside{rows: rows, commits: make(map[string][]count)}
	o.pace.Store(1 << 62)
	return o
}

func (o *outside) commit(txn string, rows []count) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commits[txn] = rows
}

// results returns the committed counts of each key, in ascending order.
func (o *outside) results() map[string][]int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make(map[string][]int64)
	for _, rows := range o.commits {
		for _, r := range rows {
			out[r.Key] = append(out[r.Key], r.Value)
		}
	}
	for _, v := range out {
		slices.Sort(v)
	}
	return out
}

// want is what a run without failures commits: for each key 1, 2, 3, ...
func (o *outside) want() map[string]int64 {
	out := make(map[string]int64)
	for s := range int64(splits) {
		for p := range o.rows {
			out[keyOf(s, p)]++
		}
	}
	return out
}

func keyOf(split, pos int64) string { return fmt.Sprintf("key-%d", (split*31+pos)%keysN) }

// check compares what was committed with want: each update of each count once.
func (o *outside) check(t *testing.T) {
	t.Helper()
	got := o.results()
	want := o.want()
	if len(got) != len(want) {
		t.Errorf("%d keys were committed, want %d", len(got), len(want))
	}
	for k, n := range want {
		if int64(len(got[k])) != n {
			t.Errorf("key %s: %d updates were committed, want %d", k, len(got[k]), n)
			continue
		}
		for i, v := range got[k] {
			if v != int64(i)+1 {
				t.Errorf("key %s: update %d is %d", k, i, v)
				break
			}
		}
	}
}

// jobGraph builds the job: source -> (hash) -> counter -> sink, the last two
// chained.
func jobGraph(t testing.TB, o *outside) *graph.JobGraph {
	t.Helper()
	numbers, err := columnar.TypeOf[number]()
	counts, err2 := columnar.TypeOf[count]()
	key, err3 := columnar.HasherOf(func(n number) string { return n.Key })
	if err != nil || err2 != nil || err3 != nil {
		t.Fatal(err, err2, err3)
	}
	id := dataflow.OperatorIDOf
	g := &graph.JobGraph{
		Version: graph.FormatVersion, Name: "counts", MaxParallelism: 64,
		Nodes: []*graph.Node{
			{ID: id("numbers"), UID: "numbers", Name: "numbers", Kind: graph.KindSource, Factory: sourceFactory{o}},
			{ID: id("counter"), UID: "counter", Name: "counter", Kind: graph.KindOperator, Keyed: true, Stateful: true, Factory: operators.FactoryFunc(func() operators.Operator { return &counter{world: o} })},
			{ID: id("sink"), UID: "sink", Name: "sink", Kind: graph.KindSink, Factory: operators.FactoryFunc(func() operators.Operator { return &sink{world: o} })},
		},
		Edges: []*graph.Edge{
			{From: id("numbers"), To: id("counter"), Partitioning: graph.Hash, Type: numbers, Key: key},
			{From: id("counter"), To: id("sink"), Partitioning: graph.Forward, Type: counts},
		},
	}
	g.Config.EnsureDefaults()
	return g
}

// sourceFactory makes readers, and a coordinator that tells each reader when
// it may start: without its event nothing is read.
type sourceFactory struct{ world *outside }

func (f sourceFactory) New() operators.Operator { return &reader{world: f.world} }

func (f sourceFactory) NewCoordinator(ctx *operators.CoordinatorContext) (operators.Coordinator, error) {
	return &coordinator{ctx: ctx}, nil
}

type coordinator struct {
	ctx     *operators.CoordinatorContext
	started bool
}

func (c *coordinator) Start() error                  { c.started = true; return nil }
func (c *coordinator) SubtaskRestored(int, []string) {}
func (c *coordinator) Close() error                  { return nil }

func (c *coordinator) HandleEvent(subtask int, payload []byte) error {
	if !c.started || string(payload) != "hello" {
		return fmt.Errorf("event %q of subtask %d, started %v", payload, subtask, c.started)
	}
	c.ctx.Send(subtask, []byte("go"))
	return nil
}

func (c *coordinator) Snapshot(dataflow.CheckpointID) ([]byte, error) { return []byte{1}, nil }

type reader struct {
	world *outside
	ctx   *operators.Context
	pos   map[int64]int64 // of the splits that it owns
	order []int64
	next  int
	ready bool
	said  bool
}

func (r *reader) Open(ctx *operators.Context) error {
	r.ctx, r.pos = ctx, make(map[int64]int64)
	old := make(map[int64]int64)
	for _, b := range ctx.Restored {
		part := make(map[int64]int64)
		if err := json.Unmarshal(b, &part); err != nil {
			return err
		}
		for s, p := range part {
			old[s] = p
		}
	}
	for s := range int64(splits) {
		if int(s)%ctx.Info.Parallelism == ctx.Info.Subtask {
			r.pos[s] = old[s]
			r.order = append(r.order, s)
		}
	}
	return nil
}

func (r *reader) Process(int, *columnar.Batch) error { return nil }
func (r *reader) Close() error                       { return nil }

func (r *reader) HandleEvent(payload []byte) error {
	r.ready = string(payload) == "go"
	return nil
}

func (r *reader) Snapshot(operators.Checkpoint) ([]byte, error) { return json.Marshal(r.pos) }

func (r *reader) Poll() (operators.PollStatus, error) {
	if !r.said {
		r.said = true
		r.ctx.SendEvent([]byte("hello"))
	}
	if !r.ready {
		return operators.PollWait, nil
	}
	for range r.order {
		s := r.order[r.next]
		r.next = (r.next + 1) % len(r.order)
		if n := min(int64(100), r.world.rows-r.pos[s]); n > 0 {
			if r.world.pace.Add(-n) < 0 {
				r.world.pace.Add(n)
				r.ctx.At(r.ctx.Clock.Now().UnixMilli(), func() error { r.ctx.Wake(); return nil })
				return operators.PollWait, nil
			}
			r.emit(s, n)
			return operators.PollMore, nil
		}
	}
	return operators.PollFinished, nil
}

func (r *reader) emit(split, n int64) {
	rows := make([]number, n)
	times := make([]int64, n)
	for i := range rows {
		p := r.pos[split] + int64(i)
		rows[i], times[i] = number{Key: keyOf(split, p), Value: 1}, p
	}
	r.pos[split] += n
	r.ctx.Out.Emit(columnar.NewBatch(rows, times))
	low := r.world.rows
	for _, p := range r.pos {
		low = min(low, p)
	}
	r.ctx.Out.EmitWatermark(low - 1)
}

// counter counts by key in keyed state and emits each new count. It checks
// that no row is behind the watermark.
type counter struct {
	world *outside
	ctx   *operators.Context
	table state.Table
	wm    int64
}

func (c *counter) Open(ctx *operators.Context) (err error) {
	c.ctx, c.wm = ctx, dataflow.TimeMin
	c.table, err = ctx.State.Table(state.Descriptor{Name: "count", Schema: "int64", Fixed: 8})
	return err
}

func (c *counter) Process(_ int, b *columnar.Batch) error {
	in := columnar.Rows[number](b)
	out := make([]count, len(in))
	hasher, err := columnar.HasherOf(func(n number) string { return n.Key })
	if err != nil {
		return err
	}
	hashes := hasher.HashRows(nil, b.Rows)
	for i, n := range in {
		if b.Time(i) <= c.wm {
			return fmt.Errorf("row at %d came after the watermark %d", b.Time(i), c.wm)
		}
		if g := dataflow.KeyGroupOf(hashes[i], c.ctx.Info.MaxParallelism); !c.ctx.KeyGroups.Contains(g) {
			return fmt.Errorf("key %q of group %d came to subtask %d", n.Key, g, c.ctx.Info.Subtask)
		}
		val, _ := c.table.Upsert(0, state.Key{Bytes: []byte(n.Key), Hash: hashes[i]})
		total := int64(binary.LittleEndian.Uint64(val)) + n.Value
		binary.LittleEndian.PutUint64(val, uint64(total))
		if at := c.world.failAt.Load(); at > 0 && total == at && c.world.failAt.CompareAndSwap(at, 0) {
			panic("the counter has had enough")
		}
		out[i] = count{Key: n.Key, Value: total}
	}
	c.ctx.Out.Emit(columnar.NewBatch(out, b.Times))
	return nil
}

func (c *counter) Watermark(wm int64) (bool, error) {
	if wm < c.wm {
		return false, fmt.Errorf("watermark went back from %d to %d", c.wm, wm)
	}
	c.wm = wm
	return true, nil
}

func (c *counter) Close() error { return nil }

// sink seals rows at each checkpoint and shows them when it is committed.
type sink struct {
	world  *outside
	ctx    *operators.Context
	open   []count
	sealed []sealedRows
}

type sealedRows struct {
	Txn  string
	ID   dataflow.CheckpointID
	Rows []count
}

func (s *sink) Open(ctx *operators.Context) error {
	s.ctx = ctx
	for i, b := range ctx.Restored {
		if i%ctx.Info.Parallelism != ctx.Info.Subtask {
			continue
		}
		var old []sealedRows
		if err := json.Unmarshal(b, &old); err != nil {
			return err
		}
		for _, x := range old {
			s.world.commit(x.Txn, x.Rows)
		}
	}
	return nil
}

func (s *sink) Process(_ int, b *columnar.Batch) error {
	s.open = append(s.open, columnar.Rows[count](b)...)
	return nil
}

func (s *sink) Snapshot(cp operators.Checkpoint) ([]byte, error) {
	if len(s.open) > 0 {
		txn := fmt.Sprintf("%d/%d/%d", s.ctx.Info.Attempt, cp.ID, s.ctx.Info.Subtask)
		s.sealed = append(s.sealed, sealedRows{Txn: txn, ID: cp.ID, Rows: s.open})
		s.open = nil
	}
	return json.Marshal(s.sealed)
}

func (s *sink) CheckpointCommitted(id dataflow.CheckpointID) error {
	for len(s.sealed) > 0 && s.sealed[0].ID <= id {
		s.world.commit(s.sealed[0].Txn, s.sealed[0].Rows)
		s.sealed = s.sealed[1:]
	}
	return nil
}

func (s *sink) Uncommitted() int { return len(s.sealed) }
func (s *sink) Close() error     { return nil }
