package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kproduce"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/fault"
	"github.com/leatstream/leat/internal/retry"
)

const (
	// sealedMax is the number of sealed transactions at which checkpoints are
	// declined.
	sealedMax = 4
	// topicWait bounds the wait for the metadata of a topic that a record
	// names for the first time, and for a transactional id.
	topicWait = 60 * time.Second
	// unknownTriesMax bounds the looks for a topic that may be new, about 3 s.
	unknownTriesMax = 7
	// closeWait bounds what Close does for readers of the topic.
	closeWait = 2 * time.Second
	// recoverMax bounds the transactions and ids that Recover works on at once.
	recoverMax = 16
)

// writer is one subtask of a sink. slots is nil unless it is transactional.
type writer[T any] struct {
	cfg      *SinkConfig
	ctx      *connectors.WriterContext
	enc      formats.Encoder[T]
	client   *kwire.Client
	producer *kproduce.Producer
	slots    *slots
	cancel   context.CancelFunc // ends the slots' goroutine
	wg       sync.WaitGroup
	clk      clock.Clock

	current *slot // the open transaction, nil: none
	records int64 // written under the current identity
	topic   *kproduce.Topic
	named   *kproduce.Topic // that the last record with a topic of its own named
	out     formats.Out
	written func(n int64)
}

var _ connectors.Writer = (*writer[int])(nil)

func newWriter[T any](cfg *SinkConfig, ctx *connectors.WriterContext, enc formats.Encoder[T]) (*writer[T], error) {
	if ctx.Log == nil {
		ctx.Log = slog.New(slog.DiscardHandler)
	}
	if ctx.Wake == nil {
		ctx.Wake = func() {}
	}
	w := &writer[T]{cfg: cfg, ctx: ctx, enc: enc, clk: ctx.Clock, written: func(int64) {}}
	if w.clk == nil {
		w.clk = clock.Real{}
	}
	if ctx.Counter != nil {
		w.written = ctx.Counter("recordsSend")
	}
	codec, err := krecord.CodecOf(cfg.Compression)
	if err != nil {
		return nil, err
	}
	if w.client, err = cfg.Connection.client(w.clk, ctx.Log, ctx.Trouble); err != nil {
		return nil, err
	}
	w.producer = kproduce.New(kproduce.Config{
		Client: w.client, Clock: w.clk, Log: ctx.Log, Wake: ctx.Wake, Codec: codec,
		BatchBytes: cfg.BatchBytes, BufferBytes: cfg.BufferBytes, RecordBytesMax: cfg.RecordBytesMax,
	})
	return w, nil
}

func (w *writer[T]) transactional() bool { return w.cfg.Delivery == ExactlyOnce }

// Recover implements connectors.Writer.
func (w *writer[T]) Recover(ctx context.Context, prepared []connectors.Committable) error {
	if w.cfg.Topic != "" {
		t, err := w.findTopic(ctx, w.cfg.Topic)
		if err != nil {
			return unreachable(&w.cfg.Connection, unknownTopic(w.cfg.Topic, err))
		}
		w.topic = t
	}
	if !w.transactional() {
		p, err := w.client.InitProducerID(ctx, "", kwire.NoProducer(), 60_000)
		if err != nil {
			return unreachable(&w.cfg.Connection, fatalAuth(err))
		}
		return w.producer.Begin(kproduce.Identity{Producer: p})
	}
	return unreachable(&w.cfg.Connection, w.recover(ctx, prepared))
}

// findTopic asks for a topic a few times: one that was created just now is not
// known to every broker at once.
func (w *writer[T]) findTopic(ctx context.Context, name string) (*kproduce.Topic, error) {
	for n := 0; ; n++ {
		t, err := w.producer.Topic(ctx, name)
		if err == nil || kwire.CodeOf(err) != kwire.UnknownTopicOrPartition || n == unknownTriesMax {
			return t, err
		}
		if err := retry.Wait(ctx, w.clk, kwire.Pause(n)); err != nil {
			return nil, err
		}
	}
}

func unknownTopic(topic string, err error) error {
	if kwire.CodeOf(err) != kwire.UnknownTopicOrPartition {
		return fatalAuth(err)
	}
	return &connectors.FatalError{
		Code: codeUnknownTopic, What: fmt.Sprintf("topic %q, which the job writes to, does not exist", topic), Fix: "create it, or correct its name",
	}
}

// recover commits what the checkpoint holds, and only then takes the ids: a
// new epoch before would abort it.
func (w *writer[T]) recover(ctx context.Context, prepared []connectors.Committable) error {
	ids := map[int]string{}
	for i := w.ctx.Info.Subtask; i < w.ctx.TxnPool; i += w.ctx.Info.Parallelism {
		ids[i] = txnIDOf(string(w.ctx.Incarnation), w.ctx.Info.UID, i)
	}
	if len(ids) < 2 {
		return &connectors.FatalError{
			Code: codeTxnIDs, What: fmt.Sprintf("subtask %d of %d has %d of the sink's %d transactional ids, it needs at least 2", w.ctx.Info.Subtask, w.ctx.Info.Parallelism, len(ids), w.ctx.TxnPool),
			Fix: "this is a fault of the engine: the pool must grow with the parallelism",
		}
	}
	if err := fault.Hit(fault.KafkaSinkBeforeRecover); err != nil {
		return err
	}
	var mine []connectors.Committable
	for _, c := range prepared {
		if c.Owner%w.ctx.Info.Parallelism == w.ctx.Info.Subtask {
			mine = append(mine, c)
		}
	}
	if err := w.commitAll(ctx, mine, fault.KafkaSinkRecommitted); err != nil {
		return err
	}
	w.slots = newSlots(w.client, w.ctx.Log, w.ctx.Wake, w.cfg.TransactionTimeout, ids)
	if err := each(w.slots.all, func(sl *slot) error { return w.slots.init(ctx, sl, kwire.NoProducer()) }); err != nil {
		return err
	}
	if err := fault.Hit(fault.KafkaSinkAfterFence); err != nil {
		return err
	}
	life, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.wg.Go(func() { w.slots.run(life) })
	return nil
}

// each calls f for all of list, several at a time, and joins their errors: one
// failure does not keep the others from being tried.
func each[E any](list []E, f func(E) error) error {
	errs := make([]error, len(list))
	room := make(chan struct{}, recoverMax)
	var wg sync.WaitGroup
	for i, e := range list {
		room <- struct{}{}
		wg.Go(func() {
			errs[i] = f(e)
			<-room
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Write implements connectors.Writer.
func (w *writer[T]) Write(b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	if len(rows) == 0 {
		return nil
	}
	if err := w.begin(); err != nil {
		return err
	}
	at, rejected := 0, 0
	for at < len(rows) {
		missing := ""
		err := w.producer.Write(func(a kproduce.Appender) error {
			for ; at < len(rows); at++ {
				var err error
				missing, err = w.one(a, &rows[at], b.Time(at))
				if err != nil && w.refuse(b, at, err) {
					rejected++
					continue
				}
				if missing != "" || err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil && missing != "" {
			err = w.learn(missing)
		}
		if err != nil {
			return w.explain(err)
		}
	}
	if w.topic != nil && w.topic.Partitions() > 1 {
		w.topic.NextSticky()
	}
	n := int64(len(rows) - rejected)
	w.records += n
	w.written(n)
	return nil
}

// refuse sets a row aside that cannot be written, if that is wanted and the
// row is at fault.
func (w *writer[T]) refuse(b *columnar.Batch, i int, err error) bool {
	if w.ctx.Reject == nil {
		return false
	}
	var large *kproduce.TooLargeError
	var fatal *connectors.FatalError
	if !errors.As(err, &large) && (!errors.As(err, &fatal) || fatal.Code != codeBadRecord) {
		return false
	}
	w.ctx.Reject(b, i, err)
	return true
}

// begin makes sure that there is a transaction to write in.
func (w *writer[T]) begin() error {
	if !w.transactional() {
		return nil
	}
	if err := w.checkAge(); err != nil {
		return err
	}
	if w.current != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), topicWait)
	defer cancel()
	sl, err := w.slots.await(ctx)
	if err != nil {
		return err
	}
	w.current, w.records = sl, 0
	return w.producer.Begin(kproduce.Identity{TxnID: sl.txnID, Producer: sl.producer})
}

// checkAge makes the job fail over before the brokers abort a transaction: the
// records are then read again instead of lost.
func (w *writer[T]) checkAge() error {
	limit := w.cfg.TransactionTimeout * 2 / 3
	if w.current != nil {
		if at := w.producer.Opened(); !at.IsZero() && w.clk.Since(at) > limit {
			return tooOld(w.current.txnID, w.clk.Since(at), w.cfg.TransactionTimeout)
		}
	}
	if sl := w.slots.oldest(); sl != nil && w.clk.Since(sl.opened) > limit {
		return tooOld(sl.txnID, w.clk.Since(sl.opened), w.cfg.TransactionTimeout)
	}
	return nil
}

func tooOld(txnID string, age, timeout time.Duration) error {
	return fmt.Errorf("transaction %q is open for %v and no checkpoint has committed it: the brokers abort it after %v, so the job starts again from its last checkpoint before that",
		txnID, age.Round(time.Second), timeout)
}

// one adds a record. missing names a topic of which the producer must learn
// first.
func (w *writer[T]) one(a kproduce.Appender, v *T, eventTime int64) (missing string, err error) {
	out := &w.out
	out.Key, out.Value, out.Headers = out.Key[:0], out.Value[:0], out.Headers[:0]
	out.Topic, out.Timestamp, out.Tombstone, out.KeyNull = "", dataflow.TimeNone, false, false
	if err := w.enc.Encode(v, out); err != nil {
		return "", &connectors.FatalError{
			Code: codeBadRecord, What: fmt.Sprintf("a row of %q cannot be encoded", w.ctx.Info.Name), Why: err.Error(), Fix: "correct the row before the sink",
		}
	}
	t := w.topic
	if out.Topic != "" && (t == nil || out.Topic != t.Name) {
		if w.named == nil || w.named.Name != out.Topic {
			return out.Topic, nil
		}
		t = w.named
	}
	if t == nil {
		return "", &connectors.FatalError{Code: codeUnknownTopic, What: "a record names no topic, and the sink has none", Fix: "set the sink's Topic, or the topic of each record"}
	}
	if out.Timestamp == dataflow.TimeNone {
		out.Timestamp = eventTime
	}
	if out.Timestamp == dataflow.TimeNone {
		out.Timestamp = clock.Millis(w.clk)
	}
	key, value := out.Key, out.Value
	if out.KeyNull || len(key) == 0 {
		key = nil
	}
	if out.Tombstone {
		value = nil
	} else if value == nil {
		value = []byte{}
	}
	return "", a.Append(t, w.partition(a, t, key), out.Timestamp, key, value, out.Headers)
}

func (w *writer[T]) partition(a kproduce.Appender, t *kproduce.Topic, key []byte) int {
	switch {
	case w.cfg.Partitioner != nil:
		return w.cfg.Partitioner(&w.out, t.Partitions())
	case key != nil:
		return kproduce.PartitionOf(key, t.Partitions())
	}
	if a.Full(t, t.Sticky()) {
		t.NextSticky()
	}
	return t.Sticky()
}

// learn asks the brokers for a topic that a record names.
func (w *writer[T]) learn(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), topicWait)
	defer cancel()
	t, err := w.findTopic(ctx, topic)
	if err != nil {
		return unknownTopic(topic, err)
	}
	w.named = t
	return nil
}

// explain makes faults that no retry mends fatal.
func (w *writer[T]) explain(err error) error {
	var large *kproduce.TooLargeError
	if errors.As(err, &large) || kwire.CodeOf(err) == kwire.MessageTooLarge || kwire.CodeOf(err) == kwire.RecordListTooLarge {
		return &connectors.FatalError{
			Code: codeRecordTooLarge, What: fmt.Sprintf("sink %q has a record that is too large", w.ctx.Info.Name), Why: err.Error(),
			Fix: "raise RecordBytesMax of the sink and max.message.bytes of the topic, or write smaller records",
		}
	}
	return fatalAuth(err)
}

// Ready implements connectors.Writer.
func (w *writer[T]) Ready() bool {
	return w.producer.Ready() && (w.current != nil || w.slots == nil || w.slots.hasReady())
}

// Flush implements connectors.Writer.
func (w *writer[T]) Flush(ctx context.Context) error {
	if err := w.producer.Flush(ctx); err != nil {
		return w.explain(err)
	}
	return nil
}

// SealedMax implements connectors.Writer.
func (w *writer[T]) SealedMax() int { return sealedMax }

// Prepare implements connectors.Writer.
func (w *writer[T]) Prepare(ctx context.Context, cp dataflow.CheckpointID, final bool) ([]connectors.Committable, error) {
	if w.cfg.Delivery == NoGuarantee && !final {
		return nil, w.producer.Err()
	}
	if err := fault.Hit(fault.KafkaSinkBeforeFlush); err != nil {
		return nil, err
	}
	if err := w.Flush(ctx); err != nil {
		return nil, err
	}
	if !w.transactional() {
		return nil, nil
	}
	if err := fault.Hit(fault.KafkaSinkAfterFlush); err != nil {
		return nil, err
	}
	if err := w.checkAge(); err != nil {
		return nil, err
	}
	sl := w.current
	if sl == nil {
		return nil, nil
	}
	topic, partition, offset, ok := w.producer.Last()
	if !ok {
		return nil, nil // nothing written: the transaction is not open yet
	}
	t := sealedTxn{
		txnID: sl.txnID, producer: sl.producer, checkpoint: cp, records: w.records,
		topic: topic, partition: partition, offset: offset,
	}
	w.slots.seal(sl, w.producer.Opened())
	w.current, w.records = nil, 0
	if err := fault.Hit(fault.KafkaSinkAfterSeal); err != nil {
		return nil, err
	}
	return []connectors.Committable{{Owner: sl.number, Data: t.encode()}}, nil
}

// Commit implements connectors.Writer.
func (w *writer[T]) Commit(ctx context.Context, c []connectors.Committable) error {
	if err := fault.Hit(fault.KafkaSinkBeforeCommit); err != nil {
		return err
	}
	if err := w.commitAll(ctx, c, fault.KafkaSinkBetweenCommits); err != nil {
		return err
	}
	return fault.Hit(fault.KafkaSinkAfterCommit)
}

// commitAll commits all, each tried whatever becomes of the others.
func (w *writer[T]) commitAll(ctx context.Context, list []connectors.Committable, after fault.Point) error {
	return each(list, func(c connectors.Committable) error {
		t, err := decodeSealed(c.Data)
		if err != nil {
			return err
		}
		if err := t.commit(ctx, w.client, w.clk); err != nil {
			return fmt.Errorf("commit %v: %w", &t, err)
		}
		if w.slots != nil {
			w.slots.committed(&t)
		}
		return fault.Hit(after)
	})
}

// Close implements connectors.Writer. An open transaction that was not sealed
// is aborted, so that readers do not wait for its time-out; a new epoch does
// it, because a request that is still on its way must not begin another one.
func (w *writer[T]) Close() error {
	if w.cancel != nil {
		w.cancel()
	}
	w.producer.Close()
	if w.current != nil && !w.producer.Opened().IsZero() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if _, err := w.client.InitProducerID(ctx, w.current.txnID, w.current.producer, int32(w.cfg.TransactionTimeout.Milliseconds())); err != nil {
			w.ctx.Log.Debug("open transaction is left to its time-out", "transaction", w.current.txnID, "error", err)
		}
	}
	w.client.Close()
	w.wg.Wait()
	return nil
}
