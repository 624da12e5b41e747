package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kadmin"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/clock"
)

// Delivery is what a sink promises.
type Delivery uint8

// The deliveries.
const (
	// ExactlyOnce writes in transactions that are committed with the
	// checkpoints: readers with read_committed see each record once, after
	// its checkpoint.
	ExactlyOnce Delivery = iota
	// AtLeastOnce flushes at each checkpoint: after a failure records may
	// come twice.
	AtLeastOnce
	// NoGuarantee does not wait for the records at checkpoints.
	NoGuarantee
)

// String implements fmt.Stringer: the name used in configuration.
func (d Delivery) String() string {
	switch d {
	case AtLeastOnce:
		return "at-least-once"
	case NoGuarantee:
		return "none"
	}
	return "exactly-once"
}

// Partitioner chooses the partition of a record.
type Partitioner func(out *formats.Out, partitions int) int

// SinkConfig configures a sink.
type SinkConfig struct {
	Connection
	// Topic is written to, except by records that name another. It may be
	// empty when all do.
	Topic string
	// Delivery is what readers are promised; default ExactlyOnce.
	Delivery Delivery
	// Compression is none, gzip, snappy, lz4 or zstd; default lz4.
	Compression string
	// Partitioner is by default that of Java clients: murmur2 of the key, and
	// records without a key go to one partition after the other.
	Partitioner Partitioner
	// PartitionerName tells partitioners apart in the graph's fingerprint.
	PartitionerName string
	// TransactionTimeout is when the brokers abort a transaction that is
	// neither committed nor aborted: it bounds how long the job may be down.
	// Default 15 min, the most that brokers allow by default.
	TransactionTimeout time.Duration
	// BatchBytes is the size at which a batch is sent even while others of
	// its partition are on their way; default 256 KiB.
	BatchBytes int
	// BufferBytes bounds what is written and not acknowledged, of each
	// writer; default 32 MiB.
	BufferBytes int
	// RecordBytesMax bounds a record; default 1,000,000. Raise it together
	// with the topic's max.message.bytes.
	RecordBytesMax int
}

// EnsureDefaults fills in what was left zero.
func (c *SinkConfig) EnsureDefaults() {
	if c.Compression == "" {
		c.Compression = "lz4"
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = 15 * time.Minute
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

// Validate returns all faults of the configuration in one error.
func (c *SinkConfig) Validate() error {
	errs := []error{c.Connection.validate()}
	if _, err := krecord.CodecOf(c.Compression); err != nil {
		errs = append(errs, err)
	}
	if c.Delivery > NoGuarantee {
		errs = append(errs, fmt.Errorf("delivery %d is none of exactly-once, at-least-once and none", c.Delivery))
	}
	if c.TransactionTimeout < time.Second || c.TransactionTimeout > 24*time.Hour {
		errs = append(errs, fmt.Errorf("transaction time-out %v: want 1 s to 24 h", c.TransactionTimeout))
	}
	if c.BatchBytes < 1<<10 || c.BufferBytes < c.BatchBytes || c.RecordBytesMax < 1 {
		errs = append(errs, fmt.Errorf("batches of %d bytes, a buffer of %d and records of %d: want at least 1 KiB, one batch and 1", c.BatchBytes, c.BufferBytes, c.RecordBytesMax))
	}
	return errors.Join(errs...)
}

// Sink writes records of T to Kafka.
type Sink[T any] struct {
	connectors.Typed[T]
	cfg SinkConfig
	enc func() (formats.Encoder[T], error)
	row columnar.RowType
}

var (
	_ connectors.SinkOf[int] = (*Sink[int])(nil)
	_ connectors.Checker     = (*Sink[int])(nil)
)

// NewSink makes a sink; enc makes one encoder for each writer. It connects to
// nothing yet.
func NewSink[T any](cfg SinkConfig, enc func() (formats.Encoder[T], error)) (*Sink[T], error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kafka sink %s: %w", cfg.Topic, err)
	}
	row, err := columnar.TypeOf[T]()
	if err != nil {
		return nil, fmt.Errorf("kafka sink %s: %w", cfg.Topic, err)
	}
	return &Sink[T]{cfg: cfg, enc: enc, row: row}, nil
}

// Fault returns what is wrong with the sink's encoder, which it makes one of,
// nil if nothing.
func (s *Sink[T]) Fault() error {
	if s.enc == nil {
		return errors.New("the sink has no encoder: nil was given")
	}
	if _, err := s.enc(); err != nil {
		return fmt.Errorf("encoder: %w", err)
	}
	return nil
}

// Name implements connectors.Sink.
func (s *Sink[T]) Name() string { return "kafka " + s.cfg.Topic }

// Detail implements connectors.Sink.
func (s *Sink[T]) Detail() string {
	return fmt.Sprintf("kafka topic=%s %s delivery=%v compression=%s partitioner=%s", s.cfg.Topic,
		s.cfg.Connection.detail(), s.cfg.Delivery, s.cfg.Compression, s.cfg.PartitionerName)
}

// Transactional implements connectors.Sink.
func (s *Sink[T]) Transactional() bool { return s.cfg.Delivery == ExactlyOnce }

// RowType implements connectors.Sink.
func (s *Sink[T]) RowType() columnar.RowType { return s.row }

// NewWriter implements connectors.Sink.
func (s *Sink[T]) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	enc, err := s.enc()
	if err != nil {
		return nil, fmt.Errorf("encoder: %w", err)
	}
	return newWriter(&s.cfg, ctx, enc)
}

// Check implements connectors.Checker: the topic exists, and the brokers allow
// the transaction time-out.
func (s *Sink[T]) Check(ctx context.Context, info connectors.CheckInfo) error {
	return unreachable(&s.cfg.Connection, s.check(ctx, info))
}

func (s *Sink[T]) check(ctx context.Context, info connectors.CheckInfo) error {
	cl, err := s.cfg.Connection.client(clock.Real{}, nil, nil)
	if err != nil {
		return err
	}
	defer cl.Close()
	if s.cfg.Topic != "" {
		if err := checkTopics(ctx, cl, []string{s.cfg.Topic}, "writes to"); err != nil {
			return err
		}
	} else if _, err := cl.Metadata(ctx, []string{}); err != nil {
		return fatalAuth(err)
	}
	if !s.Transactional() {
		return nil
	}
	if info.CheckpointInterval < 0 {
		return &connectors.FatalError{
			Code: codeNoCheckpoints, What: fmt.Sprintf("sink %q is exactly-once, but the job takes no checkpoints", s.Name()),
			Why: "records become visible when a checkpoint commits them: without checkpoints none ever would",
			Fix: "turn checkpoints on, or choose at-least-once",
		}
	}
	if 3*info.CheckpointInterval > s.cfg.TransactionTimeout {
		return &connectors.FatalError{
			Code: codeTxnTimeout, What: fmt.Sprintf("the checkpoint interval of %v is too long for a transaction time-out of %v", info.CheckpointInterval, s.cfg.TransactionTimeout),
			Why: "a transaction lives for at least one interval, and must outlive a failed checkpoint and a restart",
			Fix: "choose an interval of at most a third of the time-out, or raise the sink's TransactionTimeout",
		}
	}
	return s.checkTimeout(ctx, kadmin.New(cl))
}

// checkTimeout compares the time-out with the brokers'. A user that may not
// read the brokers' settings learns of it when the writer starts.
func (s *Sink[T]) checkTimeout(ctx context.Context, admin *kadmin.Admin) error {
	const name = "transaction.max.timeout.ms"
	settings, err := admin.BrokerSettings(ctx, name)
	if err != nil {
		if kadmin.Denied(err) {
			return nil
		}
		return err
	}
	most, err := strconv.ParseInt(settings[name], 10, 64)
	if err != nil {
		return nil // a broker that does not say
	}
	if limit := time.Duration(most) * time.Millisecond; s.cfg.TransactionTimeout > limit {
		return txnTimeoutError(s.cfg.TransactionTimeout, limit)
	}
	return nil
}
