// Package sourceop runs a connectors.Source: the operator that heads a source
// vertex (reader, event times, watermarks, dead letters) and the coordinator
// that finds and assigns splits. It knows no concrete connector.
package sourceop

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/operators"
)

// Defaults of Config.
const (
	IdleAfterDefault         = time.Minute
	WatermarkIntervalDefault = 100 * time.Millisecond
	FutureMaxDefault         = 366 * 24 * time.Hour
)

// Config says how a source is run.
type Config struct {
	Source connectors.Source
	// Stamp returns the event times of a batch; nil keeps the reader's.
	Stamp func(b *columnar.Batch) []int64
	// Generator makes the watermark generator of a split; nil: the source has
	// no watermarks before its end.
	Generator func() Generator
	// Aside keeps the source out of event time: its output is idle from the
	// first Poll on, whatever it emits. There is no Generator then.
	Aside bool
	// PerRow cuts batches where the watermark advances, so that what is late
	// does not depend on how the input was cut.
	PerRow bool
	// IdleAfter is the time after which a split that has delivered all there
	// is no longer holds the watermark back. 0: IdleAfterDefault; negative: never.
	IdleAfter time.Duration
	// WatermarkInterval is the least time between two watermarks while
	// records flow. 0: WatermarkIntervalDefault.
	WatermarkInterval time.Duration
	// FutureMax bounds how far ahead of the clock an event time may lie to
	// take part in making watermarks: one absurd date must not make all else
	// late. 0: FutureMaxDefault; negative: no bound.
	FutureMax time.Duration
}

// EnsureDefaults fills what is not set.
func (c *Config) EnsureDefaults() {
	setDuration(&c.IdleAfter, IdleAfterDefault)
	setDuration(&c.WatermarkInterval, WatermarkIntervalDefault)
	setDuration(&c.FutureMax, FutureMaxDefault)
}

func setDuration(d *time.Duration, v time.Duration) {
	if *d == 0 {
		*d = v
	}
}

// Factory makes the operators and the coordinator of one source. It is an
// operators.Factory, operators.CoordinatorFactory and connectors.Checker.
type Factory struct {
	cfg Config
}

var (
	_ operators.Factory            = (*Factory)(nil)
	_ operators.CoordinatorFactory = (*Factory)(nil)
	_ connectors.Checker           = (*Factory)(nil)
)

// New returns the factory of the source's operators.
func New(cfg Config) *Factory {
	cfg.EnsureDefaults()
	return &Factory{cfg: cfg}
}

// Config returns how the source is run.
func (f *Factory) Config() Config { return f.cfg }

// New implements operators.Factory.
func (f *Factory) New() operators.Operator { return newReader(f.cfg) }

// NewCoordinator implements operators.CoordinatorFactory.
func (f *Factory) NewCoordinator(ctx *operators.CoordinatorContext) (operators.Coordinator, error) {
	return newCoordinator(f.cfg.Source, ctx)
}

// Check implements connectors.Checker by that of the source, if it has one.
func (f *Factory) Check(ctx context.Context, info connectors.CheckInfo) error {
	if c, ok := f.cfg.Source.(connectors.Checker); ok {
		return c.Check(ctx, info)
	}
	return nil
}

// Owner returns the subtask that reads a split: the source's own choice
// (connectors.SplitOwner), else FNV-1a of the id.
func Owner(src connectors.Source, splitID string, parallelism int) int {
	if o, ok := src.(connectors.SplitOwner); ok {
		return o.Owner(splitID, parallelism)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(splitID)) // a hash.Hash never returns an error
	return int(h.Sum64() % uint64(parallelism))
}
