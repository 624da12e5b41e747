package kproduce

import (
	"fmt"
	"slices"
	"time"

	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/retry"
)

const (
	// produceTimeout is how long a broker may wait for its replicas.
	produceTimeout = 20 * time.Second
	metadataEvery  = 5 * time.Minute
	acksAll        = -1
)

// manage is the goroutine that adds partitions to the transaction and finds
// leaders.
func (p *Producer) manage() {
	timer := p.cfg.Clock.NewTimer(metadataEvery)
	defer timer.Stop()
	tries := 0
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.poke:
		case <-timer.C():
			timer.Reset(metadataEvery)
			if err := p.learn(p.ctx, p.names(func(*partition) bool { return true })); err != nil {
				p.cfg.Log.Debug("metadata of the topics written to", "error", err)
			}
		}
		if n := p.failures(); n > 0 && retry.Wait(p.ctx, p.cfg.Clock, kwire.Pause(n-1)) != nil {
			return
		}
		again, err := p.arrange()
		if err != nil && !kwire.Retriable(err) {
			p.fail(err)
			return
		}
		if !again && err == nil {
			tries = 0
			continue
		}
		if tries%8 == 4 {
			p.cfg.Log.Warn("kafka partitions cannot be written to now; retrying", "tries", tries, "error", err)
		}
		if retry.Wait(p.ctx, p.cfg.Clock, kwire.Pause(tries)) != nil {
			return
		}
		tries++
		nudge(p.poke)
	}
}

// failures is the number of failed writes since the last that succeeded.
func (p *Producer) failures() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fails
}

func (p *Producer) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() == nil {
		p.failLocked(err)
	}
}

// names returns the topics that have a partition of the kind.
func (p *Producer) names(kind func(*partition) bool) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for name, t := range p.topics {
		if slices.ContainsFunc(t.parts, kind) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// arrange adds partitions and finds leaders, once. again says that some
// partition has no leader still.
func (p *Producer) arrange() (again bool, err error) {
	if err := p.addPartitions(); err != nil {
		return true, err
	}
	lost := func(pt *partition) bool { return len(pt.queue) > 0 && pt.leader < 0 && !pt.draining }
	if names := p.names(lost); len(names) > 0 {
		if err := p.learn(p.ctx, names); err != nil {
			return true, err
		}
	}
	again = len(p.names(lost)) > 0
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.senders {
		nudge(s.wake)
	}
	return again, nil
}

// addPartitions adds the partitions that have records to the transaction.
func (p *Producer) addPartitions() error {
	p.mu.Lock()
	who := p.who
	var add []kwire.TopicPartitions
	var parts []*partition
	for _, t := range p.topics {
		tp := kwire.TopicPartitions{Topic: t.Name}
		for _, pt := range t.parts {
			if !pt.added && len(pt.queue) > 0 {
				tp.Partitions = append(tp.Partitions, pt.index)
				parts = append(parts, pt)
			}
		}
		if len(tp.Partitions) > 0 {
			add = append(add, tp)
		}
	}
	if len(parts) > 0 && p.opened.IsZero() {
		p.opened = p.cfg.Clock.Now() // before the broker's, so never too late
	}
	p.mu.Unlock()
	if len(parts) == 0 {
		return nil
	}
	if err := p.cfg.Client.AddPartitions(p.ctx, who.TxnID, who.Producer, add); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pt := range parts {
		pt.added = true // no Begin meanwhile: these partitions are not flushed
	}
	return nil
}

// sender writes to one broker, on its goroutine.
type sender struct {
	p        *Producer
	broker   int32
	wake     chan struct{}
	deflater krecord.Deflater
}

func (s *sender) run() {
	for {
		batches, who := s.pick()
		if len(batches) == 0 {
			select {
			case <-s.wake:
				continue
			case <-s.p.ctx.Done():
				return
			}
		}
		if err := s.send(batches, who); err != nil {
			s.p.answered(batches, nil, err)
		}
	}
}

// pick takes one batch of each partition that has one to send.
func (s *sender) pick() ([]*batch, Identity) {
	p := s.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.ctx.Err() != nil {
		return nil, Identity{}
	}
	var out []*batch
	bytes := 0
	for _, t := range p.topics {
		for _, pt := range t.parts {
			if pt.leader != s.broker || !pt.added || bytes >= requestBytesMax {
				continue
			}
			b := pt.next()
			if b == nil {
				continue
			}
			b.open, b.sent = false, true
			if !b.numbered {
				b.numbered, b.sequence = true, pt.sequence
				pt.sequence = krecord.NextSequence(pt.sequence, b.records)
			}
			pt.inFlight++
			bytes += b.bytes
			out = append(out, b)
		}
	}
	return out, p.who
}

func (s *sender) send(batches []*batch, who Identity) error {
	req := &kwire.ProduceRequest{TxnID: who.TxnID, Acks: acksAll, Timeout: produceTimeout}
	for _, b := range batches {
		if b.raw == nil { // once: an earlier write of it may not have ended yet
			if err := b.builder.Seal(s.p.cfg.Codec, &s.deflater); err != nil {
				s.p.fail(err)
				return err
			}
			b.raw = b.builder.Stamp(who.Producer, b.sequence, who.TxnID != "")
		}
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != b.part.topic {
			req.Topics = append(req.Topics, kwire.ProduceTopic{Topic: b.part.topic})
		}
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, kwire.ProducePartition{Partition: b.part.index, Batch: b.raw})
	}
	conn, err := s.p.cfg.Client.Broker(s.p.ctx, s.broker, kwire.LaneProduce)
	if err != nil {
		return err
	}
	return conn.StartProduce(s.p.ctx, req, func(res []kwire.Produced, err error) { s.p.answered(batches, res, err) })
}

// answered takes in the answer to a request, or its failure.
func (p *Producer) answered(batches []*batch, res []kwire.Produced, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	parts := make([]*partition, len(batches))
	for i, b := range batches {
		parts[i] = b.part
		b.sent = false
		b.part.inFlight--
		switch {
		case err != nil:
			p.retryLocked(b, err)
		default:
			p.outcomeLocked(b, res)
		}
	}
	for _, pt := range parts {
		if pt.draining && pt.inFlight == 0 {
			pt.draining, pt.leader = false, noLeader // the manager finds it after a pause
			p.fails++
			nudge(p.poke)
		}
		if s := p.senders[pt.leader]; s != nil && pt.next() != nil {
			nudge(s.wake)
		}
	}
	p.settleLocked()
	if p.wantWake && p.buffered < p.cfg.BufferBytes {
		p.wantWake = false
		p.cfg.Wake()
	}
}

// retryLocked leaves b at its place to be sent again.
func (p *Producer) retryLocked(b *batch, err error) {
	if p.ctx.Err() == nil && !kwire.Retriable(err) {
		p.failLocked(fmt.Errorf("write to partition %q %d: %w", b.part.topic, b.part.index, err))
	}
	p.cfg.Log.Debug("batch is written again", "topic", b.part.topic, "partition", b.part.index, "sequence", b.sequence, "error", err)
	b.part.draining, b.part.proven = true, false
}

func (p *Producer) outcomeLocked(b *batch, res []kwire.Produced) {
	i := slices.IndexFunc(res, func(r kwire.Produced) bool { return r.Topic == b.part.topic && r.Partition == b.part.index })
	if i < 0 {
		p.failLocked(fmt.Errorf("the broker left partition %q %d out of its answer", b.part.topic, b.part.index))
		return
	}
	code := res[i].Code
	switch {
	case code == kwire.None || code == kwire.DuplicateSequence:
		p.ackLocked(b, res[i].BaseOffset, code)
	case code == kwire.OutOfOrderSequence && (b.part.draining || b.part.queue[0] != b):
		// The batch before it failed: both go again.
		p.retryLocked(b, kwire.RequestTimedOut)
	case code.Retriable() || code.StaleLeader():
		p.retryLocked(b, code)
	default:
		err := fmt.Errorf("write to partition %q %d: %w", b.part.topic, b.part.index, code)
		if m := res[i].Message; m != "" {
			err = fmt.Errorf("%w: %s", err, m)
		}
		p.failLocked(err)
	}
}

func (p *Producer) ackLocked(b *batch, base int64, code kwire.Code) {
	pt := b.part
	if i := slices.Index(pt.queue, b); i >= 0 {
		pt.queue = slices.Delete(pt.queue, i, i+1)
	}
	// A duplicate that the broker has forgotten the offset of answers -1.
	if code == kwire.None && base >= 0 {
		pt.last = max(pt.last, base+int64(b.records)-1)
	} else {
		pt.last = max(pt.last, 0)
	}
	pt.proven = !pt.draining
	p.fails = 0
	p.pending--
	p.buffered -= b.bytes
	if len(p.free) < freeMax {
		p.free = append(p.free, b)
	}
}
