package kproduce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/clock"
)

const (
	// inFlightMax bounds the batches of a partition in flight: a broker
	// remembers the last five sequence numbers of a producer.
	inFlightMax = 4
	// requestBytesMax bounds the batches of one request.
	requestBytesMax = 8 << 20
	// freeMax bounds the batches kept for reuse.
	freeMax = 256
	// unknownMax bounds the looks for a topic that the brokers do not know.
	unknownMax = 60
	// topicsMax bounds the topics of one producer.
	topicsMax = 10_000
)

// Config configures a producer.
type Config struct {
	Client *kwire.Client // borrowed
	Clock  clock.Clock
	Log    *slog.Logger
	// Wake is called when Ready turns true again.
	Wake  func()
	Codec krecord.Codec
	// BatchBytes is the size at which a batch is closed; default 256 KiB.
	BatchBytes int
	// BufferBytes is the size of all batches at which Ready turns false;
	// default 32 MiB.
	BufferBytes int
	// RecordBytesMax bounds one record; default 1,000,000: brokers refuse
	// batches above 1,048,588 bytes unless told otherwise.
	RecordBytesMax int
}

// EnsureDefaults fills in what was left zero.
func (c *Config) EnsureDefaults() {
	if c.Clock == nil {
		c.Clock = clock.Real{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = 256 << 10
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = 32 << 20
	}
	if c.RecordBytesMax == 0 {
		c.RecordBytesMax = 1_000_000
	}
}

// Identity is who writes: a producer id and epoch, and for transactions the
// transactional id. One identity writes at a time, and each new one has an
// epoch of its own, so sequences start at 0.
type Identity struct {
	TxnID    string
	Producer kwire.Producer
}

// Producer writes batches to partitions' leaders. Begin, Topic, Write, Ready,
// Flush and Close are called on one goroutine; Err on any.
type Producer struct {
	cfg    Config
	ctx    context.Context //nolint:containedctx // ends with Close: the goroutines' life
	cancel context.CancelFunc
	wg     sync.WaitGroup
	poke   chan struct{} // wakes the manager; one pending is enough

	mu       sync.Mutex
	who      Identity          // guarded by mu
	topics   map[string]*Topic // guarded by mu
	senders  map[int32]*sender // guarded by mu
	free     []*batch          // guarded by mu
	pending  int               // guarded by mu; batches not acknowledged
	buffered int               // guarded by mu; bytes not acknowledged
	wantWake bool              // guarded by mu; Ready has said false
	settled  chan struct{}     // guarded by mu; closed when pending is 0 or on err
	opened   time.Time         // guarded by mu; when the transaction began, zero: not yet
	fails    int               // guarded by mu; writes that failed since one succeeded
	err      error             // guarded by mu
}

// New starts a producer. Begin comes first.
func New(cfg Config) *Producer {
	cfg.EnsureDefaults()
	p := &Producer{cfg: cfg, poke: make(chan struct{}, 1), topics: map[string]*Topic{}, senders: map[int32]*sender{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.manage)
	return p
}

// Close ends the goroutines and waits for them. What is not acknowledged may
// or may not have been written.
func (p *Producer) Close() {
	p.cancel()
	p.wg.Wait()
}

// Err returns the fault that ended the producer, nil while it works.
func (p *Producer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Begin takes another identity. Everything written before must be flushed.
func (p *Producer) Begin(who Identity) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending > 0 {
		return fmt.Errorf("producer changes its identity with %d batches not written", p.pending)
	}
	p.who, p.opened = who, time.Time{}
	for _, t := range p.topics {
		for _, pt := range t.parts {
			pt.sequence, pt.added, pt.last, pt.proven = 0, who.TxnID == "", -1, false
		}
	}
	return p.err
}

// Opened returns when the transaction began at the broker, zero when it has
// not.
func (p *Producer) Opened() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

// Last returns a partition that was written since Begin and the offset of its
// last record; ok false when nothing was written.
func (p *Producer) Last() (topic string, partition int32, offset int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.topics {
		for _, pt := range t.parts {
			if pt.last >= 0 && (!ok || t.Name < topic || (t.Name == topic && pt.index < partition)) {
				topic, partition, offset, ok = t.Name, pt.index, pt.last, true
			}
		}
	}
	return topic, partition, offset, ok
}

// Topic returns a topic, asking the brokers for it the first time.
func (p *Producer) Topic(ctx context.Context, name string) (*Topic, error) {
	p.mu.Lock()
	t, n := p.topics[name], len(p.topics)
	p.mu.Unlock()
	if t != nil {
		return t, nil
	}
	if n >= topicsMax {
		return nil, fmt.Errorf("topic %q would be the %dth that this sink writes to: too many", name, n+1)
	}
	if err := p.learn(ctx, []string{name}); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.topics[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("topic %q: %w", name, kwire.UnknownTopicOrPartition)
}

// learn refreshes the metadata of topics.
func (p *Producer) learn(ctx context.Context, names []string) error {
	got, err := p.cfg.Client.Metadata(ctx, names)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range got {
		if t.Code != kwire.None {
			err = errors.Join(err, p.unknownLocked(t))
			continue
		}
		p.learnLocked(t)
	}
	return err
}

func (p *Producer) unknownLocked(t kwire.Topic) error {
	known := p.topics[t.Name]
	if known == nil || !t.Code.Retriable() {
		return fmt.Errorf("topic %q: %w", t.Name, t.Code)
	}
	for _, pt := range known.parts {
		pt.leader = noLeader
		if pt.unknown++; pt.unknown > unknownMax && len(pt.queue) > 0 {
			p.failLocked(fmt.Errorf("topic %q has been gone for %d tries: %w", t.Name, pt.unknown, t.Code))
		}
	}
	return nil
}

func (p *Producer) learnLocked(t kwire.Topic) {
	known := p.topics[t.Name]
	if known == nil {
		known = &Topic{Name: t.Name}
		p.topics[t.Name] = known
	}
	for i := len(known.parts); i < len(t.Partitions); i++ {
		known.parts = append(known.parts, &partition{
			topic: t.Name, index: int32(i), leader: noLeader, last: -1, added: p.who.TxnID == "",
		})
	}
	for _, m := range t.Partitions {
		if int(m.Index) >= len(known.parts) {
			continue
		}
		pt := known.parts[m.Index]
		pt.unknown = 0
		if !pt.draining {
			pt.leader = m.Leader
		}
		if m.Leader >= 0 {
			p.senderLocked(m.Leader)
		}
	}
}

func (p *Producer) senderLocked(broker int32) *sender {
	s := p.senders[broker]
	if s == nil {
		s = &sender{p: p, broker: broker, wake: make(chan struct{}, 1)}
		p.senders[broker] = s
		p.wg.Go(s.run)
	}
	nudge(s.wake)
	return s
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Ready reports whether there is room to write; when not, Wake follows.
func (p *Producer) Ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buffered < p.cfg.BufferBytes || p.err != nil {
		return true
	}
	p.wantWake = true
	return false
}

// Write calls fill with the lock held, once, so that a whole batch of records
// costs one lock; fill adds records by Append.
func (p *Producer) Write(fill func(a Appender) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	if err := fill(Appender{p}); err != nil {
		return err
	}
	p.kickLocked()
	return p.err
}

// kickLocked wakes who has something to do.
func (p *Producer) kickLocked() {
	manager := false
	for _, t := range p.topics {
		for _, pt := range t.parts {
			if len(pt.queue) == 0 {
				continue
			}
			if !pt.added || pt.leader < 0 {
				manager = true
			} else if s := p.senders[pt.leader]; s != nil && pt.next() != nil {
				nudge(s.wake)
			}
		}
	}
	if manager {
		nudge(p.poke)
	}
}

// Appender adds records within Write.
type Appender struct{ p *Producer }

// Append adds a record to a partition of t. Nil keys and values are null. All
// is copied.
func (a Appender) Append(t *Topic, partition int, timestamp int64, key, value []byte, headers []formats.Header) error {
	p := a.p
	if partition < 0 || partition >= len(t.parts) {
		return fmt.Errorf("topic %q has %d partitions, the partitioner chose %d", t.Name, len(t.parts), partition)
	}
	size := krecord.RecordBytes(key, value, headers)
	if size > p.cfg.RecordBytesMax {
		return &TooLargeError{Topic: t.Name, Bytes: size, Max: p.cfg.RecordBytesMax}
	}
	pt := t.parts[partition]
	b := pt.tail()
	if b == nil || b.builder.Bytes()+size > p.cfg.BatchBytes && b.builder.Len() > 0 {
		if b != nil {
			b.open = false
		}
		b = p.openLocked(pt)
	}
	before := b.builder.Bytes()
	b.builder.Append(timestamp, key, value, headers)
	b.records++
	b.bytes += b.builder.Bytes() - before
	p.buffered += b.builder.Bytes() - before
	return nil
}

// Full reports whether the open batch of a partition is nearly full.
func (a Appender) Full(t *Topic, partition int) bool {
	b := t.parts[partition].tail()
	return b != nil && b.builder.Bytes() >= a.p.cfg.BatchBytes*7/8
}

func (p *Producer) openLocked(pt *partition) *batch {
	var b *batch
	if n := len(p.free); n > 0 {
		b = p.free[n-1]
		p.free = p.free[:n-1]
	} else {
		b = new(batch)
	}
	b.part, b.open, b.raw, b.sent, b.numbered = pt, true, nil, false, false
	b.sequence, b.records, b.bytes = 0, 0, krecord.HeaderBytes
	b.builder.Reset()
	p.buffered += b.bytes
	p.pending++
	pt.queue = append(pt.queue, b)
	return b
}

// TooLargeError is a record above the limit.
type TooLargeError struct {
	Topic      string
	Bytes, Max int
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("a record for topic %q has %d bytes, the limit is %d", e.Topic, e.Bytes, e.Max)
}

// Flush returns when all that was written is acknowledged.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	for _, t := range p.topics {
		for _, pt := range t.parts {
			if b := pt.tail(); b != nil {
				b.open = false
			}
		}
	}
	p.kickLocked()
	p.mu.Unlock()
	for {
		p.mu.Lock()
		if p.pending == 0 || p.err != nil {
			defer p.mu.Unlock()
			return p.err
		}
		if p.settled == nil {
			p.settled = make(chan struct{})
		}
		c := p.settled
		p.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failLocked ends the producer with err.
func (p *Producer) failLocked(err error) {
	if p.err == nil {
		p.err = err
	}
	p.settleLocked()
	p.cfg.Wake()
}

func (p *Producer) settleLocked() {
	if p.settled != nil && (p.pending == 0 || p.err != nil) {
		close(p.settled)
		p.settled = nil
	}
}
