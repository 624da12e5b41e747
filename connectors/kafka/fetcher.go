package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/retry"
)

// busyWait is how long a broker may hold an answer back while other partitions
// of the reader are full: they may need to be asked for soon.
const busyWait = 10 * time.Millisecond

// fetcher fetches from one broker, one request at a time, on its goroutine.
type fetcher struct {
	p      *puller
	broker int32
	wake   chan struct{}
	turn   int // where the next request begins, so that all partitions get theirs
	fails  int
}

func (f *fetcher) run() {
	for f.p.ctx.Err() == nil {
		if err := f.validate(); err != nil {
			f.p.fail(err)
			return
		}
		req, parts := f.compose()
		if len(parts) == 0 {
			select {
			case <-f.wake:
			case <-f.p.ctx.Done():
			}
			continue
		}
		if err := f.fetch(req, parts); err != nil {
			if f.p.isFatal(err) {
				f.p.fail(err)
				return
			}
			f.failed(parts, err)
		} else if f.fails > 0 {
			f.fails = 0
			f.p.trouble(nil)
		}
	}
}

// failed gives the partitions up to a new look at their leaders. It goes on
// for ever: a broker that cannot be reached delays records, it loses none.
func (f *fetcher) failed(parts []*part, err error) {
	if f.p.ctx.Err() != nil {
		return
	}
	f.fails++
	f.p.trouble(unreachable(&f.p.cfg.Connection, err))
	if f.fails == 1 || f.fails%30 == 0 {
		f.p.log.Warn("fetch from kafka failed; retrying", "broker", f.broker, "tries", f.fails, "error", err)
	}
	f.p.mu.Lock()
	for _, pt := range parts {
		pt.busy, pt.failing, pt.leader = false, true, noLeader
	}
	f.p.mu.Unlock()
	f.p.wake()
	_ = retry.Wait(f.p.ctx, f.p.clk, kwire.Pause(f.fails)) // the loop looks at ctx
	poke(f.p.lookup)
}

// compose builds a request of the partitions that have room.
func (f *fetcher) compose() (*kwire.FetchRequest, []*part) {
	p := f.p
	p.mu.Lock()
	defer p.mu.Unlock()
	var mine []*part
	full := false
	share := max(p.cfg.PrefetchBytes/max(1, len(p.parts)), 2*partitionBytesMin)
	for _, pt := range p.parts {
		if pt.leader != f.broker || pt.busy || pt.dropped || pt.checkEpoch >= 0 || (pt.stop != noStop && pt.fetchPos >= pt.stop) {
			continue
		}
		if pt.bytes >= share {
			full = true
			continue
		}
		mine = append(mine, pt)
	}
	room := p.cfg.PrefetchBytes - p.queued
	if len(mine) == 0 || (room < partitionBytesMin && p.queued > 0) {
		return nil, nil
	}
	if most := max(1, room/partitionBytesMin); len(mine) > most {
		f.turn %= len(mine)
		mine = append(append([]*part{}, mine[f.turn:]...), mine[:f.turn]...)[:most]
		f.turn += most
		full = true
	}
	each := min(max(room/len(mine), partitionBytesMin), p.cfg.PartitionBytes)
	// The limit of the whole request never binds: some brokers leave the list
	// of aborted transactions out when it does.
	req := &kwire.FetchRequest{
		MaxWait: p.cfg.FetchWait, MinBytes: 1, MaxBytes: int32(each * max(10, len(mine)+1)), Isolation: p.cfg.isolation(),
	}
	if full {
		req.MaxWait = busyWait
	}
	at := map[string]int{}
	for _, pt := range mine {
		pt.busy = true
		i, ok := at[pt.tp.Topic]
		if !ok {
			i = len(req.Topics)
			at[pt.tp.Topic] = i
			req.Topics = append(req.Topics, kwire.FetchTopic{Topic: pt.tp.Topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, kwire.FetchPartition{
			Partition: pt.tp.Partition, LeaderEpoch: pt.leaderEpoch, Offset: pt.fetchPos, MaxBytes: int32(each),
		})
	}
	return req, mine
}

// fetch sends the request and takes the answer in.
func (f *fetcher) fetch(req *kwire.FetchRequest, parts []*part) error {
	conn, err := f.p.client.Broker(f.p.ctx, f.broker, kwire.LaneFetch)
	if err != nil {
		return fatalAuth(err)
	}
	b := &body{home: &f.p.bodies}
	got, err := conn.Fetch(f.p.ctx, req, func(n int) []byte {
		b.buf = f.p.bodies.get(n)
		return b.buf
	})
	if err != nil {
		return err
	}
	b.refs.Store(1)
	defer b.release()
	byID := make(map[TopicPartition]*part, len(parts))
	for _, pt := range parts {
		byID[pt.tp] = pt
	}
	var lost error
	for i := range got {
		pt := byID[TopicPartition{got[i].Topic, got[i].Partition}]
		if pt == nil {
			continue
		}
		delete(byID, pt.tp)
		if err := f.take(pt, &got[i], b); err != nil && lost == nil {
			lost = err
		}
	}
	f.settle(byID)
	f.p.wake()
	return lost
}

// settle frees the partitions that the answer left out.
func (f *fetcher) settle(left map[TopicPartition]*part) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	for _, pt := range left {
		pt.busy = false
	}
}

// take takes in one partition of an answer. Only a fault that ends the reader
// is an error.
func (f *fetcher) take(pt *part, got *kwire.Fetched, b *body) error {
	p := f.p
	switch {
	case got.Code == kwire.None:
	case got.Code == kwire.OffsetOutOfRange:
		return f.outOfRange(pt)
	case got.Code == kwire.TopicAuthorizationFailed:
		return fatalAuth(fmt.Errorf("topic %q: %w", pt.tp.Topic, got.Code))
	default:
		f.lead(pt, got.Code)
		return nil
	}
	next, _, whole, err := krecord.EndOf(got.Records, pt.fetchPos)
	if err != nil {
		return fmt.Errorf("partition %v: %w", pt.tp, err)
	}
	if whole == 0 && len(got.Records) > 0 {
		return fmt.Errorf("partition %v at offset %d: the broker sent %d bytes and no whole batch", pt.tp, pt.fetchPos, len(got.Records))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pt.busy, pt.failing, pt.end = false, false, got.HighWatermark
	pt.highWater.Store(got.HighWatermark)
	if whole > 0 && !pt.dropped {
		b.refs.Add(1)
		pt.chunks = append(pt.chunks, chunk{
			records: got.Records[:whole], aborted: got.Aborted, from: pt.fetchPos, count: krecord.CountOf(got.Records[:whole]), body: b,
		})
		pt.bytes += whole
		p.queued += whole
		pt.fetchPos = next
	}
	return nil
}

// lead makes the leader goroutine look again after a partition's error.
func (f *fetcher) lead(pt *part, code kwire.Code) {
	p := f.p
	p.log.Debug("kafka partition is looked up again", "partition", pt.id, "error", code)
	p.mu.Lock()
	pt.busy, pt.failing, pt.leader = false, true, noLeader
	p.mu.Unlock()
	// The pause keeps a partition that is in error for long from being asked
	// for without end.
	_ = retry.Wait(p.ctx, p.clk, kwire.Pause(1))
	poke(p.lookup)
}

// outOfRange judges a position that the log does not have.
func (f *fetcher) outOfRange(pt *part) error {
	p := f.p
	list := func(at int64, iso kwire.Isolation) (int64, error) {
		m, err := p.client.ListOffset(p.ctx, pt.tp.Topic, []int32{pt.tp.Partition}, at, iso)
		return m[pt.tp.Partition], err
	}
	first, err := list(kwire.EarliestOffset, kwire.ReadUncommitted)
	if err != nil {
		return err
	}
	end, err := list(kwire.LatestOffset, kwire.ReadUncommitted)
	if err != nil {
		return err
	}
	pos := pt.fetchPos // only this goroutine moves it while the part is busy
	if first <= pos && pos <= end {
		f.lead(pt, kwire.OffsetOutOfRange) // the leader had not caught up yet
		return nil
	}
	if p.cfg.OutOfRange == Fail {
		return &connectors.FatalError{
			Code: codeOutOfRange,
			What: fmt.Sprintf("partition %v has no offset %d any more", pt.tp, pos),
			Why:  fmt.Sprintf("its log holds offsets %d to %d: records were deleted by retention, or the log was truncated", first, end),
			Fix:  "set the source's policy for positions out of range to the earliest or latest offset, knowing that records are skipped, or start without the state of this source",
		}
	}
	to := first
	if p.cfg.OutOfRange == ToLatest {
		to = end
	}
	p.log.Warn("kafka position is out of range: records are skipped", "partition", pt.id, "position", pos, "earliest", first, "end", end, "goes on at", to)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skipped += max(0, to-pos)
	pt.fetchPos, pt.busy = to, false
	// An empty chunk carries the new position to the task.
	pt.chunks = append(pt.chunks, chunk{from: to})
	return nil
}

// validate asks the leader whether what was read is still in its log, for
// partitions whose leader changed or whose position was restored.
func (f *fetcher) validate() error {
	for _, pt := range f.unchecked() {
		f.p.mu.Lock()
		epoch, pos := pt.checkEpoch, pt.fetchPos
		f.p.mu.Unlock()
		endEpoch, end, err := f.p.client.EpochEnd(f.p.ctx, pt.tp.Topic, pt.tp.Partition, epoch)
		if err != nil {
			if f.p.ctx.Err() == nil && !errors.Is(err, kwire.ErrClosed) {
				f.failed([]*part{pt}, err)
			}
			continue
		}
		if end >= 0 && endEpoch >= 0 && end < pos {
			return &connectors.FatalError{
				Code: codeTruncated,
				What: fmt.Sprintf("partition %v was truncated: the job has read up to offset %d, the new leader's log of that time ends at %d", pt.tp, pos, end),
				Why:  "a replica that lacked records became leader (unclean election); what the job has read is not what the log now holds",
				Fix:  "restore the job from a savepoint before that, or start without the state of this source",
			}
		}
		f.p.mu.Lock()
		if pt.checkEpoch == epoch {
			pt.checkEpoch = -1
		}
		f.p.mu.Unlock()
	}
	return nil
}

func (f *fetcher) unchecked() []*part {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	var out []*part
	for _, pt := range f.p.parts {
		if pt.leader == f.broker && pt.checkEpoch >= 0 && !pt.busy {
			out = append(out, pt)
		}
	}
	return out
}
