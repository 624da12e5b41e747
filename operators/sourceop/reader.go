package sourceop

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/setaside"
)

// Names of a source's metrics.
const (
	MetricDeadLetters   = setaside.MetricDeadLetters
	MetricFutureIgnored = "numRecordsFutureIgnored"
	MetricWatermark     = "sourceWatermark"
	MetricIdleSplits    = "idleSplits"
)

// committedKept bounds the checkpoints whose positions wait to be told to the
// reader; older ones are only for monitoring and are forgotten.
const committedKept = 16

// reader is the operator of one subtask.
type reader struct {
	cfg    Config
	ctx    *operators.Context
	reader connectors.Reader
	splits splitSet

	registered bool // told the coordinator what is held
	assigned   bool // got a first assignment
	noMore     bool
	over       bool // had reached its end in the checkpoint
	// more says that another stage of splits follows (connectors.StagedEnumerator),
	// or, before the first assignment, that one may; told that the coordinator
	// knows that all splits have ended.
	more, told bool
	// holding says that a stage has begun and not all subtasks were heard yet.
	holding bool

	emitted   int64     // last watermark emitted
	emittedAt time.Time // and when
	idle      bool
	idleTimer func()
	sampled   []int64 // times without absurd ones, reused

	futureIgnored             operators.Counter
	bad                       operators.Counter // records that could not be decoded
	warned                    bool
	watermarkGauge, idleGauge atomic.Int64

	committed []snapshotAt
}

type snapshotAt struct {
	id     dataflow.CheckpointID
	splits []connectors.Split
}

var (
	_ operators.SourceOperator     = (*reader)(nil)
	_ operators.EndRestorer        = (*reader)(nil)
	_ operators.Abstainer          = (*reader)(nil)
	_ operators.Snapshotter        = (*reader)(nil)
	_ operators.CheckpointListener = (*reader)(nil)
)

func newReader(cfg Config) *reader {
	return &reader{cfg: cfg, emitted: dataflow.TimeMin, more: true}
}

// Open implements operators.Operator.
func (o *reader) Open(ctx *operators.Context) error {
	o.ctx = ctx
	o.bad = ctx.Metrics.Counter(MetricDeadLetters)
	if ctx.OnError == operators.SkipRecord {
		o.bad = ctx.Metrics.Counter(setaside.MetricSkipped)
	}
	o.futureIgnored = ctx.Metrics.Counter(MetricFutureIgnored)
	o.watermarkGauge.Store(dataflow.TimeMin)
	ctx.Metrics.Gauge(MetricWatermark, func() float64 { return float64(o.watermarkGauge.Load()) })
	ctx.Metrics.Gauge(MetricIdleSplits, func() float64 { return float64(o.idleGauge.Load()) })
	r, err := o.cfg.Source.NewReader(&connectors.ReaderContext{
		Info: ctx.Info, Clock: ctx.Clock, Log: ctx.Log, Wake: ctx.Wake,
		Counter:     func(name string) func(int64) { return ctx.Metrics.Counter(name).Add },
		Gauge:       ctx.Metrics.Gauge,
		DeadLetters: ctx.OnError != operators.Fail || ctx.Out.HasSide(dataflow.SideDeadLetter), Trouble: ctx.Trouble,
	})
	if err != nil {
		return fmt.Errorf("source %q: %w", o.cfg.Source.Name(), err)
	}
	o.reader = r
	return o.restore()
}

// restore takes the splits that this subtask owns out of all old snapshots.
func (o *reader) restore() error {
	var mine []connectors.Split
	now := o.ctx.Clock.Now()
	for _, b := range o.ctx.Restored {
		if b == nil {
			continue
		}
		saved, err := decodeSplits(b)
		if err != nil {
			return err
		}
		for _, s := range saved {
			if Owner(o.cfg.Source, s.ID, o.ctx.Info.Parallelism) == o.ctx.Info.Subtask {
				mine = append(mine, s.Split)
				o.splits.add(s.ID, o.newGenerator(), s.Watermark, now)
			}
		}
	}
	if len(mine) == 0 {
		return nil
	}
	return o.reader.AddSplits(mine)
}

func (o *reader) newGenerator() Generator {
	if o.cfg.Generator == nil {
		return nil
	}
	return o.cfg.Generator()
}

// Process implements operators.Operator; a source has no input.
func (o *reader) Process(int, *columnar.Batch) error {
	return fmt.Errorf("source %q was given a batch", o.cfg.Source.Name())
}

// Poll implements operators.SourceOperator.
func (o *reader) Poll() (operators.PollStatus, error) {
	if !o.registered {
		o.register()
	}
	f, ok, err := o.reader.Next()
	if err != nil {
		return operators.PollMore, fmt.Errorf("source %q: %w", o.cfg.Source.Name(), err)
	}
	if ok {
		return operators.PollMore, o.take(f)
	}
	if o.noMore && o.splits.allEnded() && !o.holding {
		o.setIdle(false) // what is idle cannot move the watermark to its end
		o.emitWatermark(dataflow.TimeMax)
		return operators.PollFinished, nil
	}
	o.settle()
	return operators.PollWait, nil
}

// register tells the coordinator which splits were restored. It waits for the
// first Poll: then every process of the attempt is up.
func (o *reader) register() {
	o.sendHeld()
	o.setIdle(o.idle)
	o.emitWatermark(o.splits.lowerBound())
}

// Abstains implements operators.Abstainer.
func (o *reader) Abstains() bool { return o.cfg.Aside }

// RestoredEnd implements operators.EndRestorer: the coordinator waits for all
// subtasks before it tells any of them that no split follows.
func (o *reader) RestoredEnd() error {
	o.over = true
	o.sendHeld()
	return nil
}

func (o *reader) sendHeld() {
	o.registered = true
	held := make([]string, len(o.splits.list))
	for i, s := range o.splits.list {
		held[i] = s.id
	}
	o.ctx.SendEvent(event{Held: &held}.encode())
}

// HandleEvent implements operators.SourceOperator.
func (o *reader) HandleEvent(payload []byte) error {
	e, err := decodeEvent(payload)
	if err != nil {
		return err
	}
	if e.Release != nil {
		o.released(e.Release)
		o.ctx.Wake()
		return nil
	}
	if e.Assign == nil {
		return fmt.Errorf("source %q: the coordinator sent an event that is none of its own", o.cfg.Source.Name())
	}
	switch {
	case !o.over:
	case len(e.Assign.Splits) > 0:
		return fmt.Errorf("source %q: split %q was found only after this subtask had reached its end: a bounded source must find all splits at first",
			o.cfg.Source.Name(), e.Assign.Splits[0].ID)
	default:
		return nil
	}
	now := o.ctx.Clock.Now()
	o.follow(e.Assign)
	o.assigned = true
	o.noMore = o.noMore || e.Assign.NoMore
	for _, s := range e.Assign.Splits {
		o.splits.add(s.ID, o.newGenerator(), dataflow.TimeMin, now)
	}
	if len(e.Assign.Splits) > 0 {
		if err := o.reader.AddSplits(e.Assign.Splits); err != nil {
			return fmt.Errorf("source %q: %w", o.cfg.Source.Name(), err)
		}
	}
	o.settle()
	if e.Assign.Begins {
		o.ctx.SendEvent(event{Took: true}.encode())
	}
	o.ctx.Wake()
	return nil
}

// heardMax is how long it may take until it is heard that an output is active.
const heardMax = time.Second

// released lets go what is held back since a stage began.
func (o *reader) released(r *release) {
	now := o.ctx.Clock.Now()
	if !r.Heard {
		o.ctx.At(now.Add(heardMax).UnixMilli(), func() error {
			o.released(&release{Heard: true})
			o.ctx.Wake()
			return nil
		})
		return
	}
	o.holding = false
	o.splits.hold(o.more, true)
	o.settle()
}

// follow says which of the ended splits go on holding back the watermark. When
// a stage begins, those of the stages before do until all subtasks have been
// heard: one that was idle until now may have a split that goes on where
// another subtask's ended, and what that one says must not pass it meanwhile.
func (o *reader) follow(a *assignment) {
	for _, id := range a.Passed {
		if s := o.splits.byID[id]; s != nil {
			s.passed = true
		}
	}
	o.more, o.told = a.More, false
	o.holding = o.holding || a.Begins
	o.splits.hold(o.more, !o.holding)
}

// tell reports that all splits of a stage have ended.
func (o *reader) tell() {
	if !o.assigned || !o.more || o.told || !o.splits.allEnded() {
		return
	}
	o.told = true
	ends := []connectors.EndedSplit{}
	for _, s := range o.reader.Snapshot() {
		e := connectors.EndedSplit{Split: s, Watermark: dataflow.TimeMin}
		if st := o.splits.byID[s.ID]; st != nil {
			e.Watermark = st.wm
		}
		ends = append(ends, e)
	}
	o.ctx.SendEvent(event{Ended: &ends}.encode())
}

// take handles one piece of a split.
func (o *reader) take(f connectors.Fetched) error {
	s := o.splits.byID[f.Split]
	if s == nil {
		return fmt.Errorf("source %q: the reader returned split %q, which it was not given", o.cfg.Source.Name(), f.Split)
	}
	if len(f.Bad) > 0 {
		o.setAside(f.Bad)
	}
	s.caughtUp = f.CaughtUp
	if f.Batch != nil && o.cfg.Source.RowType().Len(f.Batch.Rows) > 0 {
		s.idle = false
		o.setIdle(false)
		o.emit(s, f.Batch)
	} else if len(f.Bad) == 0 && !f.SplitEnd {
		return nil
	}
	if f.SplitEnd {
		// Only now: until its last rows are out it holds back the watermark.
		s.ended = true
		s.held = o.more && !s.passed && s.wm != dataflow.TimeMin
	}
	now := o.ctx.Clock.Now()
	s.quiet = now
	if now.Sub(o.emittedAt) >= o.cfg.WatermarkInterval {
		o.advance(now)
	}
	return nil
}

func (o *reader) setAside(bad []connectors.DeadLetter) {
	o.bad.Add(int64(len(bad)))
	now := clock.Millis(o.ctx.Clock)
	times := make([]int64, len(bad))
	for i := range bad {
		bad[i].Operator, bad[i].FailedAt = o.ctx.Info.UID, now
		times[i] = bad[i].Timestamp
	}
	o.ctx.Out.EmitSide(dataflow.SideDeadLetter, columnar.NewBatch(bad, times))
}

func (o *reader) emit(s *splitState, b *columnar.Batch) {
	if o.cfg.Stamp != nil {
		b.Times = o.cfg.Stamp(b)
	}
	if s.gen == nil || b.Times == nil {
		o.ctx.Out.Emit(b)
		return
	}
	times := o.sensible(b.Times)
	if o.cfg.PerRow {
		o.emitPerRow(s, b, times)
		return
	}
	s.gen.Observe(times)
	s.advance()
	o.ctx.Out.Emit(b)
}

// emitPerRow cuts b after each row that moves the merged watermark.
func (o *reader) emitPerRow(s *splitState, b *columnar.Batch, sensible []int64) {
	rt := o.cfg.Source.RowType()
	n, from := len(b.Times), 0
	limited := len(sensible) != n
	for i := range n {
		if !limited {
			s.gen.Observe(sensible[i : i+1])
		} else if o.isSensible(b.Times[i]) {
			s.gen.Observe(b.Times[i : i+1])
		}
		s.advance()
		wm, _ := o.splits.merged()
		if wm <= o.emitted {
			continue
		}
		o.ctx.Out.Emit(cut(rt, b, from, i+1))
		o.emitWatermark(wm)
		from = i + 1
	}
	if from < n {
		o.ctx.Out.Emit(cut(rt, b, from, n))
	}
}

func cut(rt columnar.RowType, b *columnar.Batch, from, to int) *columnar.Batch {
	c := &columnar.Batch{Rows: rt.Slice(b.Rows, from, to), Times: b.Times[from:to:to], Shared: b.Shared}
	if o := b.Origin; o != nil {
		c.Origin = &columnar.Origin{Split: o.Split, First: o.First + int64(from)}
		if o.Positions != nil {
			c.Origin.Positions = o.Positions[from:to:to]
		}
	}
	return c
}

// sensible returns times without those that are absent or beyond FutureMax;
// mostly that is times itself.
func (o *reader) sensible(times []int64) []int64 {
	limit := o.futureLimit()
	bad := 0
	for _, t := range times {
		if t == dataflow.TimeNone || t > limit {
			bad++
		}
	}
	if bad == 0 {
		return times
	}
	out := o.sampled[:0]
	future := int64(0)
	for _, t := range times {
		switch {
		case t == dataflow.TimeNone:
		case t > limit:
			future++
		default:
			out = append(out, t)
		}
	}
	o.sampled = out
	if future > 0 {
		o.futureIgnored.Add(future)
		if !o.warned {
			o.warned = true
			o.ctx.Log.Warn("records dated far ahead of the clock do not move the watermark", "source", o.cfg.Source.Name(), "limitMillis", limit, "records", future)
		}
	}
	return out
}

func (o *reader) isSensible(t int64) bool { return t != dataflow.TimeNone && t <= o.futureLimit() }

func (o *reader) futureLimit() int64 {
	if o.cfg.FutureMax < 0 {
		return dataflow.TimeMax
	}
	return dataflow.AddTime(clock.Millis(o.ctx.Clock), o.cfg.FutureMax.Milliseconds())
}

// settle is called when nothing is there to read: the watermark is told at
// once, splits may turn idle, and a timer waits for the next that may.
func (o *reader) settle() {
	now := o.ctx.Clock.Now()
	var next time.Duration
	if o.cfg.IdleAfter >= 0 {
		next = o.splits.markIdle(now, o.cfg.IdleAfter)
		o.idleGauge.Store(int64(o.splits.idleCount()))
	}
	o.advance(now)
	o.tell()
	if next > 0 && o.idleTimer == nil {
		o.idleTimer = o.ctx.At(now.Add(next).UnixMilli(), func() error {
			o.idleTimer = nil
			o.settle()
			return nil
		})
	}
}

// advance emits the merged watermark and the status when they changed.
func (o *reader) advance(now time.Time) {
	o.emittedAt = now
	wm, idle := o.splits.merged()
	o.emitWatermark(wm)
	// A subtask without splits, or whose splits have all ended, is idle only
	// when it knows that it gets no others: else the watermark could pass what
	// these still bring.
	o.setIdle(idle && (o.assigned || !o.splits.allEnded()))
}

func (o *reader) emitWatermark(wm int64) {
	if wm <= o.emitted {
		return
	}
	o.emitted = wm
	o.watermarkGauge.Store(wm)
	o.ctx.Out.EmitWatermark(wm)
}

func (o *reader) setIdle(idle bool) {
	idle = idle || o.cfg.Aside
	if o.idle != idle {
		o.idle = idle
		o.ctx.Out.EmitIdle(idle)
	}
}

// Snapshot implements operators.Snapshotter.
func (o *reader) Snapshot(cp operators.Checkpoint) ([]byte, error) {
	splits := o.reader.Snapshot()
	saved := make([]savedSplit, len(splits))
	for i, s := range splits {
		saved[i] = savedSplit{Split: s, Watermark: dataflow.TimeMin}
		if st := o.splits.byID[s.ID]; st != nil {
			saved[i].Watermark = st.wm
		}
	}
	if len(o.committed) >= committedKept {
		o.committed = append(o.committed[:0], o.committed[1:]...)
	}
	o.committed = append(o.committed, snapshotAt{cp.ID, splits})
	return encodeSplits(saved), nil
}

// CheckpointCommitted implements operators.CheckpointListener.
func (o *reader) CheckpointCommitted(cp dataflow.CheckpointID) error {
	n := 0
	for i, s := range o.committed {
		if s.id > cp {
			break
		}
		n = i + 1
	}
	if n > 0 {
		o.reader.Committed(o.committed[n-1].splits)
		o.committed = append(o.committed[:0], o.committed[n:]...)
	}
	return nil
}

// Close implements operators.Operator.
func (o *reader) Close() error {
	if o.idleTimer != nil {
		o.idleTimer()
	}
	if o.reader == nil {
		return nil
	}
	return o.reader.Close()
}
