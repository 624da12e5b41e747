package exchange

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/graph"
)

// directRows is the number of rows from which a piece is sent at once instead
// of being merged with others: what a batch costs by itself is then less than
// a few nanoseconds for each row, and to gather it exactly saves a copy.
const directRows = columnar.BatchRowsMax / 8

// OutputConfig describes what one subtask sends on one stream.
type OutputConfig struct {
	Edge *graph.Edge
	// MaxParallelism is the number of key groups, ToParallelism that of the
	// receiving subtasks.
	MaxParallelism, ToParallelism int
	// From is the sending subtask: round robin starts at another channel in
	// each.
	From int
	// Targets are the channels, in the order of graph.ChannelTargets.
	Targets []Sender
}

// Output spreads the batches of one stream over its channels. Small pieces
// are merged per channel and sent when they are full or flushed. It belongs
// to the task's goroutine. Emitting never blocks: see Ready.
type Output struct {
	rowType  columnar.RowType
	targets  []Sender
	builders []builder
	route    router
	copies   bool // broadcast: the first builder serves all channels
	next     int  // round robin
	rotates  bool
	buffered int    // rows in all builders
	expect   int    // rows that a builder will hold when it is sent, about
	encodes  []bool // the channel is done with a batch when it was sent
	scatter  scatter
	pool     columnar.BatchPool
	parts    []*columnar.Batch // of divide
	bytes    int64
}

// router gives each row of a batch the place of its channel in targets.
type router interface {
	route(dst []int32, b *columnar.Batch, n int) ([]int32, error)
}

// NewOutput makes an output. An edge whose type or key is missing, or of
// another kind than its partitioning needs, is an error.
func NewOutput(cfg OutputConfig) (*Output, error) {
	rt, ok := cfg.Edge.Type.(columnar.RowType)
	if !ok {
		return nil, fmt.Errorf("edge %s to %s has no row type (%T)", cfg.Edge.From, cfg.Edge.To, cfg.Edge.Type)
	}
	pooler, ok := rt.(columnar.RowPooler)
	if !ok {
		return nil, fmt.Errorf("edge %s to %s: the row type %s makes no batches (%T)", cfg.Edge.From, cfg.Edge.To, rt.Name(), rt)
	}
	o := &Output{
		rowType: rt, targets: cfg.Targets, builders: make([]builder, len(cfg.Targets)),
		pool: pooler.NewPool(), parts: make([]*columnar.Batch, len(cfg.Targets)),
	}
	o.encodes = make([]bool, len(cfg.Targets))
	for i, t := range cfg.Targets {
		e, ok := t.(Encoder)
		o.encodes[i] = ok && e.Encodes()
	}
	if len(cfg.Targets) == 0 {
		return nil, fmt.Errorf("edge %s to %s: subtask %d has no channel", cfg.Edge.From, cfg.Edge.To, cfg.From)
	}
	switch cfg.Edge.Partitioning {
	case graph.Forward, graph.Global:
	case graph.Rebalance, graph.Rescale:
		o.rotates, o.next = true, cfg.From%len(cfg.Targets)
	case graph.Broadcast:
		o.copies = true
	case graph.Hash:
		key, ok := cfg.Edge.Key.(columnar.KeyHasher)
		if !ok {
			return nil, fmt.Errorf("edge %s to %s is partitioned by key but has no key (%T)", cfg.Edge.From, cfg.Edge.To, cfg.Edge.Key)
		}
		if len(cfg.Targets) > 1 {
			o.route = &hashRouter{key: key, owners: columnar.NewKeyTargets(cfg.MaxParallelism, cfg.ToParallelism)}
		}
	case graph.Custom:
		fn, ok := cfg.Edge.Custom.(func(rows any, i, parallelism int) int)
		if !ok {
			return nil, fmt.Errorf("edge %s to %s has no partitioning function (%T)", cfg.Edge.From, cfg.Edge.To, cfg.Edge.Custom)
		}
		o.route = customRouter{fn: fn, parallelism: cfg.ToParallelism}
	default:
		return nil, fmt.Errorf("edge %s to %s: unknown partitioning %q", cfg.Edge.From, cfg.Edge.To, cfg.Edge.Partitioning)
	}
	return o, nil
}

// Write takes a batch; it is handed over (a shared one is only read). An
// error comes from the user's partitioning function alone.
func (o *Output) Write(b *columnar.Batch) error {
	n := o.rowType.Len(b.Rows)
	switch {
	case n == 0:
	case o.rotates:
		o.whole(o.next, b, n)
		if o.builders[o.next].rows == 0 || n >= directRows {
			o.rotate()
		}
	case o.route == nil:
		o.whole(0, b, n)
	default:
		return o.spread(b, n)
	}
	return nil
}

// Control sends an element other than a batch to every channel, after what
// was written before it.
func (o *Output) Control(el Element) {
	o.Flush()
	for _, t := range o.targets {
		t.Send(el)
	}
}

// Flush sends what the builders hold.
func (o *Output) Flush() {
	if o.buffered == 0 {
		return
	}
	for i := range o.builders {
		o.flush(i)
	}
	if o.rotates {
		o.rotate()
	}
}

// Buffered reports whether rows wait for a flush.
func (o *Output) Buffered() bool { return o.buffered > 0 }

// Ready reports whether every channel has room. When one has none, the
// task's wake follows.
func (o *Output) Ready() bool {
	ready := true
	for _, t := range o.targets {
		if !t.Ready() {
			ready = false
		}
	}
	return ready
}

// WireBytes returns the bytes sent to other processes so far.
func (o *Output) WireBytes() int64 { return o.bytes }

func (o *Output) rotate() {
	if o.next++; o.next == len(o.targets) {
		o.next = 0
	}
}

// whole puts all rows of b on one channel.
func (o *Output) whole(i int, b *columnar.Batch, n int) {
	if o.builders[i].rows == 0 && n >= directRows {
		o.send(i, b)
		return
	}
	o.add(i, b, o.scatter.identity(n))
	b.Release()
}

// spread routes each row: one pass finds the channels, one sorts the rows by
// channel, one gathers.
func (o *Output) spread(b *columnar.Batch, n int) error {
	var err error
	if o.scatter.to, err = o.route.route(o.scatter.to[:0], b, n); err != nil {
		return err
	}
	o.scatter.count(len(o.targets))
	if o.divides(n) {
		o.divide(b)
		b.Release()
		return nil
	}
	o.scatter.sort()
	for i := range o.targets {
		idx := o.scatter.rowsOf(i)
		switch {
		case len(idx) == 0:
		case len(idx) < directRows || o.builders[i].rows > 0:
			o.add(i, b, idx)
		case len(idx) == n:
			o.send(i, b) // there are no others
			return nil
		default:
			o.piece(i, b, idx)
		}
	}
	b.Release()
	return nil
}

// divides reports whether the batch falls into pieces that are all to be sent
// at once.
func (o *Output) divides(n int) bool {
	starts := o.scatter.starts
	for i := range o.targets {
		rows := int(starts[i+1] - starts[i])
		if rows > 0 && (rows < directRows || rows == n || o.builders[i].rows > 0) {
			return false
		}
	}
	return true
}

// divide copies each row once, to the piece of its channel: no numbers of rows
// are written and read.
func (o *Output) divide(b *columnar.Batch) {
	starts := o.scatter.starts
	for i := range o.targets {
		if n := int(starts[i+1] - starts[i]); n > 0 {
			o.parts[i] = o.pool.Take(n, columnar.Times(b.Times != nil))
		}
	}
	o.pool.Scatter(b, o.scatter.to, o.parts, o.scatter.zeros())
	for i, part := range o.parts {
		if part != nil {
			o.send(i, part)
		}
	}
	clear(o.parts)
}

// piece sends some rows of b as a batch of their own.
func (o *Output) piece(i int, b *columnar.Batch, idx []int32) {
	o.send(i, o.pool.Append(nil, b, idx, len(idx)))
}

// add gathers rows into the builder of a channel and sends it each time it is
// full.
func (o *Output) add(i int, b *columnar.Batch, idx []int32) {
	bu := &o.builders[i]
	for len(idx) > 0 {
		k := min(len(idx), columnar.BatchRowsMax-bu.rows)
		bu.batch = o.pool.Append(bu.batch, b, idx[:k], o.expect)
		bu.rows += k
		o.buffered += k
		idx = idx[k:]
		if bu.rows == columnar.BatchRowsMax {
			o.flush(i)
		}
	}
}

func (o *Output) flush(i int) {
	bu := &o.builders[i]
	if bu.rows == 0 {
		return
	}
	o.buffered -= bu.rows
	if bu.rows > o.expect {
		o.expect = bu.rows
	} else {
		o.expect -= (o.expect - bu.rows) / 8
	}
	b := bu.batch
	*bu = builder{}
	o.send(i, b)
}

func (o *Output) send(i int, b *columnar.Batch) {
	el := Element{Kind: KindBatch, Batch: b}
	if !o.copies {
		o.bytes += int64(o.targets[i].Send(el))
		if o.encodes[i] {
			b.Release()
		}
		return
	}
	if len(o.targets) > 1 && !b.Shared {
		b.Shared = true
	}
	for _, t := range o.targets {
		o.bytes += int64(t.Send(el))
	}
}

// builder gathers the rows of one channel.
type builder struct {
	batch *columnar.Batch // nil: empty
	rows  int
}
