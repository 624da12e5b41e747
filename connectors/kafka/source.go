package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/retry"
)

// OutOfRange says what to do when a position is no longer in the log, because
// retention deleted its records or the log was truncated.
type OutOfRange uint8

// The policies. ToEarliest and ToLatest skip records: it is counted and logged.
const (
	Fail OutOfRange = iota
	ToEarliest
	ToLatest
)

// SourceConfig configures a source. Topics or TopicPattern is needed.
type SourceConfig struct {
	Connection
	// Topics are read from; they must exist when the job starts.
	Topics []string
	// TopicPattern is a regular expression that whole topic names match;
	// topics created later are found, too.
	TopicPattern string
	// Start is where reading begins without state; default Earliest.
	Start Start
	// Stop is where reading ends; the zero value never does.
	Stop Stop
	// Group is the consumer group that gets the offsets of committed
	// checkpoints, for monitoring, and from which FromGroup starts. Empty:
	// none. It must have no members.
	Group string
	// DiscoveryInterval is the time between looks for new partitions, which
	// are read from their oldest record; default 10 s, negative: never.
	DiscoveryInterval time.Duration
	// ReadUncommitted delivers records of open and aborted transactions, too.
	ReadUncommitted bool
	// OutOfRange is what to do when records are gone; default Fail.
	OutOfRange OutOfRange
	// PrefetchBytes bounds what each reader holds fetched; default 16 MiB.
	PrefetchBytes int
	// PartitionBytes bounds what one fetch brings of one partition; default
	// 1 MiB.
	PartitionBytes int
	// FetchWait is how long a broker may hold back an answer without data;
	// default 250 ms.
	FetchWait time.Duration
}

// EnsureDefaults fills in what was left zero.
func (c *SourceConfig) EnsureDefaults() {
	if c.DiscoveryInterval == 0 {
		c.DiscoveryInterval = 10 * time.Second
	}
	if c.PrefetchBytes == 0 {
		c.PrefetchBytes = 16 << 20
	}
	if c.PartitionBytes == 0 {
		c.PartitionBytes = 1 << 20
	}
	if c.FetchWait == 0 {
		c.FetchWait = 250 * time.Millisecond
	}
}

// Validate returns all faults of the configuration in one error.
func (c *SourceConfig) Validate() error {
	errs := []error{c.Connection.validate()}
	if (len(c.Topics) == 0) == (c.TopicPattern == "") {
		errs = append(errs, errors.New("want either topics or a topic pattern"))
	}
	if _, err := c.pattern(); err != nil {
		errs = append(errs, err)
	}
	if c.Start.kind == atGroup && c.Group == "" {
		errs = append(errs, errors.New("the source starts from a group's offsets, but no group is given"))
	}
	if c.PrefetchBytes < 64<<10 || c.PartitionBytes < 16<<10 {
		errs = append(errs, fmt.Errorf("prefetch of %d bytes and %d bytes a partition: want at least 64 KiB and 16 KiB", c.PrefetchBytes, c.PartitionBytes))
	}
	return errors.Join(errs...)
}

func (c *SourceConfig) pattern() (*regexp.Regexp, error) {
	if c.TopicPattern == "" {
		return nil, nil
	}
	re, err := regexp.Compile(`\A(?:` + c.TopicPattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("topic pattern %q: %w", c.TopicPattern, err)
	}
	return re, nil
}

func (c *SourceConfig) isolation() kwire.Isolation {
	if c.ReadUncommitted {
		return kwire.ReadUncommitted
	}
	return kwire.ReadCommitted
}

func (c *SourceConfig) topics() string {
	if c.TopicPattern != "" {
		return c.TopicPattern
	}
	return strings.Join(c.Topics, ",")
}

// Source reads records of T from Kafka.
type Source[T any] struct {
	connectors.Typed[T]
	cfg SourceConfig
	dec func() (formats.Decoder[T], error)
	row columnar.RowType
}

var (
	_ connectors.SourceOf[int] = (*Source[int])(nil)
	_ connectors.SplitOwner    = (*Source[int])(nil)
	_ connectors.Checker       = (*Source[int])(nil)
)

// NewSource makes a source; dec makes one decoder for each reader. It connects
// to nothing yet.
func NewSource[T any](cfg SourceConfig, dec func() (formats.Decoder[T], error)) (*Source[T], error) {
	cfg.EnsureDefaults()
	cfg.Topics = slices.Clone(cfg.Topics)
	slices.Sort(cfg.Topics)
	cfg.Topics = slices.Compact(cfg.Topics)
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kafka source: %w", err)
	}
	row, err := columnar.TypeOf[T]()
	if err != nil {
		return nil, fmt.Errorf("kafka source %s: %w", cfg.topics(), err)
	}
	return &Source[T]{cfg: cfg, dec: dec, row: row}, nil
}

// Fault returns what is wrong with the source's decoder, which it makes one
// of, nil if nothing.
func (s *Source[T]) Fault() error {
	if s.dec == nil {
		return errors.New("the source has no decoder: nil was given")
	}
	if _, err := s.dec(); err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	return nil
}

// Name implements connectors.Source.
func (s *Source[T]) Name() string { return "kafka " + s.cfg.topics() }

// Detail implements connectors.Source.
func (s *Source[T]) Detail() string {
	return fmt.Sprintf("kafka topics=%s %s start=%s stop=%s group=%s isolation=%d", s.cfg.topics(),
		s.cfg.Connection.detail(), s.cfg.Start.describe(), s.cfg.Stop.describe(), s.cfg.Group, s.cfg.isolation())
}

// Bounded implements connectors.Source.
func (s *Source[T]) Bounded() bool { return s.cfg.Stop.bounded }

// RowType implements connectors.Source.
func (s *Source[T]) RowType() columnar.RowType { return s.row }

// Owner implements connectors.SplitOwner: the partitions of a topic go round,
// from a place that the topic's name gives.
func (s *Source[T]) Owner(splitID string, parallelism int) int {
	return ownerOf(splitID, parallelism)
}

func ownerOf(splitID string, parallelism int) int {
	tp, err := parseSplitID(splitID)
	if err != nil {
		return 0
	}
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	for i := range len(tp.Topic) {
		h = (h ^ uint32(tp.Topic[i])) * prime
	}
	return int((uint64(h) + uint64(tp.Partition)) % uint64(parallelism))
}

// NewEnumerator implements connectors.Source.
func (s *Source[T]) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	return newEnumerator(&s.cfg, ctx)
}

// NewReader implements connectors.Source.
func (s *Source[T]) NewReader(ctx *connectors.ReaderContext) (connectors.Reader, error) {
	dec, err := s.dec()
	if err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	return newReader(&s.cfg, ctx, dec)
}

// Check implements connectors.Checker: the brokers answer and the topics
// exist.
func (s *Source[T]) Check(ctx context.Context, _ connectors.CheckInfo) error {
	cl, err := s.cfg.Connection.client(clock.Real{}, nil, nil)
	if err != nil {
		return err
	}
	defer cl.Close()
	if s.cfg.TopicPattern != "" {
		_, err := cl.Metadata(ctx, nil)
		return unreachable(&s.cfg.Connection, fatalAuth(err))
	}
	return unreachable(&s.cfg.Connection, checkTopics(ctx, cl, s.cfg.Topics, "reads from"))
}

func checkTopics(ctx context.Context, cl *kwire.Client, topics []string, does string) error {
	got, err := cl.Metadata(ctx, topics)
	for n := 0; err == nil && n < unknownTriesMax && slices.ContainsFunc(got, isUnknown); n++ {
		// A topic that was created just now is not known to every broker at once.
		if err := retry.Wait(ctx, clock.Real{}, kwire.Pause(n)); err != nil {
			return err
		}
		got, err = cl.Metadata(ctx, topics)
	}
	if err != nil {
		return fatalAuth(err)
	}
	for _, t := range got {
		switch t.Code {
		case kwire.None:
		case kwire.UnknownTopicOrPartition:
			return &connectors.FatalError{
				Code: codeUnknownTopic, What: fmt.Sprintf("topic %q, which the job %s, does not exist", t.Name, does),
				Fix: "create it, or correct its name",
			}
		case kwire.TopicAuthorizationFailed:
			return &connectors.FatalError{
				Code: codeAuth, What: fmt.Sprintf("the job may not use topic %q", t.Name), Why: t.Code.Error(),
				Fix: "grant the user of the connection the right to it",
			}
		default:
			return fmt.Errorf("topic %q: %w", t.Name, t.Code)
		}
	}
	return nil
}

func isUnknown(t kwire.Topic) bool { return t.Code == kwire.UnknownTopicOrPartition }
