package kafka

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
)

// reader is the task's side of a source's subtask: it decodes what the puller
// fetched.
type reader[T any] struct {
	cfg       *SourceConfig
	ctx       *connectors.ReaderContext
	dec       formats.Decoder[T]
	pull      *puller
	committer *committer
	parts     []*part // as puller.parts; only this goroutine appends
	turn      int
	rec       krecord.Record
	in        formats.Record
	headers   []formats.Header
}

func newReader[T any](cfg *SourceConfig, ctx *connectors.ReaderContext, dec formats.Decoder[T]) (*reader[T], error) {
	if ctx.Log == nil {
		ctx.Log = slog.New(slog.DiscardHandler)
	}
	client, err := cfg.Connection.client(ctx.Clock, ctx.Log, ctx.Trouble)
	if err != nil {
		return nil, err
	}
	r := &reader[T]{cfg: cfg, ctx: ctx, dec: dec, pull: newPuller(cfg, client, ctx)}
	if cfg.Group != "" {
		r.committer = newCommitter(r.pull, cfg.Group)
	}
	if ctx.Gauge != nil {
		ctx.Gauge("pendingRecords", r.pull.pending)
		ctx.Gauge("skippedRecords", r.pull.skippedRecords)
	}
	return r, nil
}

// pending is the number of records between the reader and the ends of its
// partitions.
func (p *puller) pending() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var n int64
	for _, pt := range p.parts {
		n += max(0, pt.highWater.Load()-pt.current.Load())
	}
	return float64(n)
}

func (p *puller) skippedRecords() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.skipped)
}

// AddSplits implements connectors.Reader.
func (r *reader[T]) AddSplits(splits []connectors.Split) error {
	fresh := make([]*part, 0, len(splits))
	for _, s := range splits {
		if slices.ContainsFunc(r.parts, func(p *part) bool { return p.id == s.ID }) {
			continue // assigned twice: the first position stands
		}
		tp, err := parseSplitID(s.ID)
		if err != nil {
			return err
		}
		st, err := decodeSplit(s.Position)
		if err != nil {
			return fmt.Errorf("split %q: %w", s.ID, err)
		}
		pt := &part{
			id: s.ID, tp: tp, topicID: st.topicID, fetchPos: st.next, stop: st.stop,
			leader: noLeader, leaderEpoch: -1, checkEpoch: st.epoch, end: -1,
		}
		pt.task.next, pt.task.stop, pt.task.epoch, pt.task.ended = st.next, st.stop, st.epoch, st.done()
		pt.current.Store(st.next)
		pt.highWater.Store(st.next)
		pt.committed.Store(-1)
		fresh = append(fresh, pt)
		r.gauges(pt)
	}
	r.parts = append(r.parts, fresh...)
	r.pull.add(fresh)
	if len(fresh) > 0 {
		r.ctx.Wake()
	}
	return nil
}

func (r *reader[T]) gauges(pt *part) {
	if r.ctx.Gauge == nil {
		return
	}
	name := fmt.Sprintf("topic.%s.partition.%d.", pt.tp.Topic, pt.tp.Partition)
	r.ctx.Gauge(name+"currentOffset", func() float64 { return float64(pt.current.Load()) })
	r.ctx.Gauge(name+"committedOffset", func() float64 { return float64(pt.committed.Load()) })
	r.ctx.Gauge(name+"pendingRecords", func() float64 { return float64(max(0, pt.highWater.Load()-pt.current.Load())) })
}

// Next implements connectors.Reader.
func (r *reader[T]) Next() (connectors.Fetched, bool, error) {
	for range r.parts {
		r.turn++
		if r.turn >= len(r.parts) {
			r.turn = 0
		}
		f, ok, err := r.nextOf(r.parts[r.turn])
		if ok || err != nil {
			return f, ok, err
		}
	}
	r.pull.mu.Lock()
	defer r.pull.mu.Unlock()
	return connectors.Fetched{}, false, r.pull.err
}

func (r *reader[T]) nextOf(pt *part) (f connectors.Fetched, ok bool, err error) {
	for !pt.task.ended {
		if !pt.task.active && !r.begin(pt) {
			break
		}
		if err := r.decode(pt, &f); err != nil {
			return f, false, err
		}
		if f.Batch != nil || len(f.Bad) > 0 {
			break
		}
	}
	return r.report(pt, f)
}

// begin takes the next chunk of a partition.
func (r *reader[T]) begin(pt *part) bool {
	r.pull.mu.Lock()
	if len(pt.chunks) == 0 {
		r.pull.mu.Unlock()
		return false
	}
	c := pt.chunks[0]
	pt.chunks = slices.Delete(pt.chunks, 0, 1)
	r.pull.mu.Unlock()
	pt.task.chunk, pt.task.active = c, true
	// A chunk begins where the one before ended, except after a jump.
	pt.task.next = max(pt.task.next, c.from)
	if c.body == nil {
		pt.task.next = c.from
	}
	pt.task.iter.Reset(c.records, pt.task.next, !r.cfg.ReadUncommitted, c.aborted)
	return true
}

// finish ends the active chunk.
func (r *reader[T]) finish(pt *part) {
	pt.task.active = false
	c := pt.task.chunk
	pt.task.chunk = chunk{}
	r.pull.consumed(pt, &c)
}

// decode turns records of the active chunk into a batch, up to the batch's
// limit or the chunk's end.
func (r *reader[T]) decode(pt *part, f *connectors.Fetched) error {
	o := newOutput[T](min(columnar.BatchRowsMax, pt.task.chunk.count))
	for it := &pt.task.iter; len(o.rows)+len(f.Bad) < columnar.BatchRowsMax; {
		if !it.Next(&r.rec) {
			if err := it.Err(); err != nil {
				return fmt.Errorf("partition %v: %w", pt.tp, err)
			}
			pt.task.next = max(pt.task.next, it.Position())
			r.finish(pt)
			break
		}
		pt.task.epoch = it.LeaderEpoch()
		if pt.task.stop != noStop && r.rec.Offset >= pt.task.stop {
			pt.task.next = r.rec.Offset
			r.finish(pt)
			break
		}
		if err := r.one(pt, &o, f); err != nil {
			return err
		}
		pt.task.next = it.Position()
	}
	pt.current.Store(pt.task.next)
	pt.task.ended = pt.task.stop != noStop && pt.task.next >= pt.task.stop
	if pt.task.ended {
		if pt.task.active {
			r.finish(pt)
		}
		r.pull.drop(pt)
	}
	pt.task.chunk.count = max(0, pt.task.chunk.count-len(o.rows)-len(f.Bad))
	f.Batch = o.batch(pt.id)
	return nil
}

// one decodes the current record into o, or sets it aside.
func (r *reader[T]) one(pt *part, o *output[T], f *connectors.Fetched) error {
	in := &r.in
	in.Key, in.Value, in.Offset, in.Timestamp = r.rec.Key, r.rec.Value, r.rec.Offset, r.rec.Timestamp
	in.Topic, in.Partition, in.Headers = pt.tp.Topic, pt.tp.Partition, nil
	if in.Timestamp < 0 {
		in.Timestamp = dataflow.TimeNone
	}
	var err error
	if r.rec.HasHeaders() {
		r.headers, err = pt.task.iter.Headers(r.headers[:0], &r.rec)
		in.Headers = r.headers
	}
	n := len(o.rows)
	o.rows = slices.Grow(o.rows, 1)[:n+1]
	if err == nil {
		err = r.dec.Decode(in, &o.rows[n], o.arena)
	}
	if err == nil {
		o.add(in.Offset, in.Timestamp)
		return nil
	}
	clear(o.rows[n : n+1])
	o.rows = o.rows[:n]
	if !r.ctx.DeadLetters {
		return &connectors.FatalError{
			Code: codeBadRecord,
			What: fmt.Sprintf("record %v at offset %d cannot be decoded", pt.tp, in.Offset), Why: err.Error(),
			Fix: "correct the format or the producer, or take the dead-letter output of the source so that such records are set aside",
		}
	}
	f.Bad = append(f.Bad, connectors.DeadLetter{
		Error: err.Error(), Operator: r.ctx.Info.Name, Topic: pt.tp.Topic, Partition: pt.tp.Partition, Offset: in.Offset,
		Timestamp: in.Timestamp, Key: bytes.Clone(in.Key), Value: bytes.Clone(in.Value),
	})
	return nil
}

// report completes f with the partition's state, and says whether there is
// anything to hand out.
func (r *reader[T]) report(pt *part, f connectors.Fetched) (connectors.Fetched, bool, error) {
	caught := false
	if !pt.task.active {
		r.pull.mu.Lock()
		caught = len(pt.chunks) == 0 && !pt.failing && pt.end == pt.task.next
		r.pull.mu.Unlock()
	}
	f.Split, f.CaughtUp = pt.id, caught
	f.SplitEnd = pt.task.ended && !pt.task.told
	if f.Batch == nil && len(f.Bad) == 0 && !f.SplitEnd && (caught == pt.task.caught || pt.task.ended) {
		return connectors.Fetched{}, false, nil
	}
	pt.task.caught = caught
	pt.task.told = pt.task.told || f.SplitEnd
	return f, true, nil
}

// Snapshot implements connectors.Reader.
func (r *reader[T]) Snapshot() []connectors.Split {
	out := make([]connectors.Split, len(r.parts))
	for i, pt := range r.parts {
		s := splitState{topicID: r.pull.topicID(pt), next: pt.task.next, stop: pt.task.stop, epoch: pt.task.epoch}
		out[i] = connectors.Split{ID: pt.id, Position: s.encode()}
	}
	sortSplits(out)
	return out
}

// sortSplits stands alone to be compiled once: in a method of reader it would
// be for each type of rows.
func sortSplits(all []connectors.Split) {
	slices.SortFunc(all, func(a, b connectors.Split) int { return strings.Compare(a.ID, b.ID) })
}

// topicID is learned from metadata when the state did not have it.
func (p *puller) topicID(pt *part) [16]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pt.topicID
}

// Committed implements connectors.Reader.
func (r *reader[T]) Committed(splits []connectors.Split) {
	for _, s := range splits {
		st, err := decodeSplit(s.Position)
		if err != nil {
			continue // these bytes are ours
		}
		for _, pt := range r.parts {
			if pt.id == s.ID {
				pt.committed.Store(st.next)
			}
		}
	}
	if r.committer != nil {
		r.committer.offer(splits)
	}
}

// Close implements connectors.Reader.
func (r *reader[T]) Close() error {
	r.pull.close()
	return nil
}

// output collects the rows of one batch.
type output[T any] struct {
	rows      []T
	times     []int64
	positions []int64 // nil while the offsets follow each other
	first     int64
	arena     *codec.Arena
	timed     bool
}

func newOutput[T any](rows int) output[T] {
	return output[T]{rows: make([]T, 0, rows), times: make([]int64, 0, rows), arena: new(codec.Arena)}
}

// add completes the row that was appended last.
func (o *output[T]) add(offset, time int64) {
	n := len(o.rows) - 1
	if n == 0 {
		o.first = offset
	}
	if o.positions != nil {
		o.positions = append(o.positions, offset)
	} else if offset != o.first+int64(n) {
		o.positions = make([]int64, n, cap(o.rows))
		for i := range o.positions {
			o.positions[i] = o.first + int64(i)
		}
		o.positions = append(o.positions, offset)
	}
	o.times = append(o.times, time)
	o.timed = o.timed || time != dataflow.TimeNone
}

func (o *output[T]) batch(split string) *columnar.Batch {
	if len(o.rows) == 0 {
		return nil
	}
	b := columnar.NewBatch(o.rows, o.times)
	if !o.timed {
		b.Times = nil
	}
	b.Origin = &columnar.Origin{Split: split, Positions: o.positions, First: o.first}
	return b
}
