package streamtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators/sourceop"
	"github.com/leatstream/leat/stream"
)

// TB is what a Driver needs of a *testing.T. In an Example, use Console.
type TB interface {
	// Helper is as in testing.TB.
	Helper()
	// Fatalf is as in testing.TB.
	Fatalf(format string, args ...any)
	// Cleanup is as in testing.TB.
	Cleanup(fn func())
}

// Console is a TB for examples: it prints what went wrong.
type Console struct{}

// Helper implements TB.
func (Console) Helper() {}

// Fatalf implements TB. Unlike a test, an example goes on; the Driver does
// nothing any more.
func (Console) Fatalf(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }

// Cleanup implements TB: nothing of an example outlives its process.
func (Console) Cleanup(func()) {}

// Driver runs a job step by step, in virtual time: the test pushes rows and
// watermarks into its sources (Input), moves the clock (Advance), and reads
// what its operators and sinks got out (Output, SideOutput), its keyed state
// (StateOf) and its counters. Sources and sinks themselves are not run: no
// connector is needed. Everything happens on the caller's goroutine; when a
// method returns, all its effects have happened, apart from those that wait
// for goroutines of user code (Await).
//
// An error or a panic of the job ends the test by TB.Fatalf, unless Catch
// takes it.
type Driver struct {
	tb       TB
	run      *runner
	opt      DriverOptions
	started  bool
	catching bool
	err      error // the job's end, if it has ended in one
	inputs   map[string]*inputState
	counters map[counterOf]bool // that the job has or had
}

// DriverOptions say how a Driver begins.
type DriverOptions struct {
	// Parallelism of the operators that have none of their own; default 1.
	Parallelism int
	// Backend keeps keyed state; default: memory.
	Backend Backend
	// Start is what the clock shows at first; default: 2026-01-01 UTC.
	Start time.Time
	// Log takes what operators log; default: dropped.
	Log *slog.Logger
}

// inputState is what stands in for a source.
type inputState struct {
	feed *feed
	cfg  sourceop.Config
	// gens are those of the splits; nil without watermarks of their own.
	gens []sourceop.Generator
}

// NewDriver prepares the job that was built in env. It starts with the first
// push, watermark or move of the clock; Outputs are asked for before.
func NewDriver(tb TB, env *stream.Env) *Driver {
	tb.Helper()
	return NewDriverWith(tb, env, DriverOptions{})
}

// NewDriverWith is NewDriver with options.
func NewDriverWith(tb TB, env *stream.Env, opt DriverOptions) *Driver {
	tb.Helper()
	d := &Driver{tb: tb, opt: opt, inputs: make(map[string]*inputState), counters: make(map[counterOf]bool)}
	g, err := env.Graph()
	if err != nil {
		d.fail(err)
		return d
	}
	d.opt.Parallelism = max(1, opt.Parallelism)
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(func() {
		tb.Helper()
		if err := d.run.end(); err != nil && d.err == nil {
			d.fail(fmt.Errorf("closing the job: %w", err))
		}
		cancel()
	})
	d.run = newRunner(ctx, g, Options{Backend: opt.Backend, Log: opt.Log})
	d.run.waitMax = mailWaitMax
	if !opt.Start.IsZero() {
		d.run.clock = clock.NewManual(opt.Start)
	}
	d.run.captureSinks()
	for _, n := range g.Nodes {
		if n.Kind == graph.KindSource {
			d.addInput(n)
		}
	}
	return d
}

func (d *Driver) addInput(n *graph.Node) {
	in := &inputState{feed: newFeed(n.UID, 1, true)}
	if f, ok := n.Factory.(*sourceop.Factory); ok {
		in.cfg = f.Config()
		in.feed.aside, in.feed.idleAfter = in.cfg.Aside, max(0, in.cfg.IdleAfter)
	}
	d.inputs[n.UID] = in
	d.run.feeds = append(d.run.feeds, in.feed)
	d.run.standIn(n.UID, fed{})
}

// generator returns that of a split, nil if it has none. A restart of the job
// makes them anew.
func (in *inputState) generator(split int) sourceop.Generator {
	for in.cfg.Generator != nil && len(in.gens) <= split {
		in.gens = append(in.gens, in.cfg.Generator())
	}
	if in.gens == nil {
		return nil
	}
	return in.gens[split]
}

// fail ends the job.
func (d *Driver) fail(err error) {
	d.tb.Helper()
	if d.err != nil {
		return
	}
	d.err = err
	if !d.catching {
		d.tb.Fatalf("%v", err)
	}
}

// Catch calls fn and returns the error that the job ended in meanwhile, nil
// if it goes on. After the error, the rest of fn has no effect on the job, and
// nothing has until a Restore.
func (d *Driver) Catch(fn func()) error {
	d.catching = true
	defer func() { d.catching = false }()
	fn()
	return d.err
}

// do runs fn on the job, started, and lets everything that follows happen.
func (d *Driver) do(fn func(l *life) error) {
	d.tb.Helper()
	if !d.start() {
		return
	}
	l := d.run.life
	if err := l.protect(func() error {
		if err := fn(l); err != nil {
			return err
		}
		return l.rest()
	}); err != nil {
		d.fail(err)
	}
}

// start starts the job if it is not, and reports whether it runs.
func (d *Driver) start() bool {
	d.tb.Helper()
	if d.err == nil && !d.started {
		d.started = true
		if err := d.run.startAt(d.opt.Parallelism); err != nil {
			d.fail(err)
		}
	}
	return d.err == nil
}

// Now returns the processing time.
func (d *Driver) Now() time.Time {
	if d.run == nil { // the program has faults
		return d.opt.Start
	}
	return d.run.clock.Now()
}

// Advance lets processing time pass. On the way timers fire, and splits that
// get no rows turn idle, each at its time: a split has always delivered all
// there is, so it is idle after what the source's WithIdleness says, a minute by
// default, of Advance since its last row. Time that passes elsewhere (Await)
// does not count. Of ExplicitWatermarks only Idle makes an input idle.
func (d *Driver) Advance(by time.Duration) {
	d.tb.Helper()
	d.do(func(l *life) error {
		until := d.run.clock.Now().Add(by)
		for last := false; !last; {
			now := d.run.clock.Now()
			next := until
			last = true
			if at, ok := l.nextTimer(); ok && !at.After(next) {
				next, last = at, false
			}
			if left, ok := l.untilIdle(); ok && !now.Add(left).After(next) {
				next, last = now.Add(left), false
			}
			step := max(0, next.Sub(now))
			d.run.clock.Advance(step)
			if err := l.pass(step); err != nil {
				return err
			}
		}
		return nil
	})
}

// untilIdle returns how long it is until the next split turns idle.
func (l *life) untilIdle() (left time.Duration, ok bool) {
	for _, f := range l.run.feeds {
		if d, some := f.untilIdle(); some && (!ok || d < left) {
			left, ok = d, true
		}
	}
	return left, ok
}

// pass tells the sources that time has passed, and lets happen what follows.
func (l *life) pass(d time.Duration) error {
	for _, f := range l.run.feeds {
		if !f.pass(d) {
			continue
		}
		if err := l.tell(f); err != nil {
			return err
		}
	}
	return l.rest()
}

// nextTimer returns when the next timer fires: a millisecond after its time,
// since rows stamped with that time may still come.
func (l *life) nextTimer() (at time.Time, ok bool) {
	for _, t := range l.timers {
		if due := time.UnixMilli(t.at + 1); !t.gone && (!ok || due.Before(at)) {
			at, ok = due, true
		}
	}
	return at, ok
}

// EndInput ends all inputs: event time comes to its end, and so does the job.
func (d *Driver) EndInput() {
	d.tb.Helper()
	d.do(func(l *life) error {
		for _, f := range d.run.feeds {
			for i := range f.splits {
				f.splits[i].ended = true
			}
			if err := l.tell(f); err != nil {
				return err
			}
		}
		return nil
	})
}

// Await lets the results of the job's own goroutines (asynchronous requests)
// come in until done holds. It is an error when it does not within 30 seconds
// of real time.
func (d *Driver) Await(done func() bool) {
	d.tb.Helper()
	d.do(func(l *life) error {
		return l.await(func() string {
			if done() {
				return ""
			}
			return "what the test awaits has not happened"
		})
	})
}

// Snapshot is a committed checkpoint of a Driver's job, with how far its
// inputs have come.
type Snapshot struct {
	saved *saved
	uids  map[dataflow.OperatorID]string
}

// Snapshot takes a checkpoint and commits it.
func (d *Driver) Snapshot() *Snapshot {
	d.tb.Helper()
	s := &Snapshot{uids: make(map[dataflow.OperatorID]string)}
	if !d.start() {
		return s
	}
	if err := d.run.checkpoint(false); err != nil {
		d.fail(err)
		return s
	}
	s.saved = d.run.saved
	for _, n := range d.run.graph.Nodes {
		s.uids[n.ID] = n.UID
	}
	return s
}

// Restore throws the running job away, also one that has failed, and starts it
// from a snapshot: of this Driver, or of another one whose operators have the
// same UIDs, as when a new version of a program takes over. The clock goes on,
// outputs keep what they hold, counters begin at zero.
func (d *Driver) Restore(from *Snapshot) {
	d.tb.Helper()
	d.RestoreAt(from, d.opt.Parallelism)
}

// RestoreAt is Restore at another parallelism.
func (d *Driver) RestoreAt(from *Snapshot, parallelism int) {
	d.tb.Helper()
	if d.run == nil {
		return
	}
	d.remember()
	// A job that has failed may not close well; it is of no interest any more.
	if err := d.run.close(); err != nil && d.err == nil {
		d.fail(err)
		return
	}
	d.err = nil
	if err := d.fits(from); err != nil {
		d.fail(err)
		return
	}
	d.run.saved = from.saved
	d.run.lastID = max(d.run.lastID, from.saved.id)
	d.run.figures.Crashes++
	d.opt.Parallelism = parallelism
	d.started = false
	for _, in := range d.inputs {
		in.gens = nil
	}
	d.start()
}

// fits reports what a snapshot holds that the job has no place for.
func (d *Driver) fits(from *Snapshot) error {
	if from == nil || from.saved == nil {
		return errors.New("the snapshot is empty: the job had failed when it was taken")
	}
	known := make(map[dataflow.OperatorID]bool)
	for _, n := range d.run.graph.Nodes {
		known[n.ID] = true
	}
	var lost []string
	for id, uid := range from.uids {
		if !known[id] && len(from.saved.operator[id])+len(from.saved.keyed[id]) > 0 {
			lost = append(lost, uid)
		}
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		return fmt.Errorf("the snapshot holds state of operators %q, which the job does not have", lost)
	}
	return nil
}

// Rescale goes on at another parallelism, by way of a snapshot.
func (d *Driver) Rescale(parallelism int) {
	d.tb.Helper()
	s := d.Snapshot()
	if d.err == nil {
		d.RestoreAt(s, parallelism)
	}
}

// Counter returns the sum of a counter over an operator's subtasks since the
// last start or restore. A name that the operator has not asked its context
// for since the Driver began ends the test: a counter that a test expects to
// be 0 is made in Open.
func (d *Driver) Counter(uid, name string) int64 {
	d.tb.Helper()
	var sum int64
	subs := d.subtasks(uid)
	for _, s := range subs {
		sum += s.metrics.values()[name]
	}
	d.remember()
	if len(subs) > 0 && !d.counters[counterOf{uid, name}] {
		d.fail(fmt.Errorf("operator %q has no counter %q, only %q", uid, name, d.countersOf(uid)))
	}
	return sum
}

// counterOf names a counter of an operator.
type counterOf struct{ uid, name string }

func (d *Driver) countersOf(uid string) (names []string) {
	for c := range d.counters {
		if c.uid == uid {
			names = append(names, c.name)
		}
	}
	slices.Sort(names)
	return names
}

// remember keeps the names of the running job's counters, which a restore
// forgets.
func (d *Driver) remember() {
	if d.run == nil || d.run.life == nil {
		return
	}
	for _, subs := range d.run.life.byNode {
		for _, s := range subs {
			for name := range s.metrics.values() {
				d.counters[counterOf{s.node.UID, name}] = true
			}
		}
	}
}

// Gauge returns the sum of a gauge over an operator's subtasks.
func (d *Driver) Gauge(uid, name string) float64 {
	d.tb.Helper()
	sum, found := 0.0, false
	for _, s := range d.subtasks(uid) {
		v, ok := s.metrics.gauge(name)
		sum += v
		found = found || ok
	}
	if !found && d.err == nil {
		d.fail(fmt.Errorf("operator %q has no gauge %q", uid, name))
	}
	return sum
}

// Watermark returns how far event time has come in an operator: the least
// watermark of its subtasks; ok is false before the first.
func (d *Driver) Watermark(uid string) (wm time.Time, ok bool) {
	d.tb.Helper()
	subs := d.subtasks(uid)
	if len(subs) == 0 {
		return time.Time{}, false
	}
	least := dataflow.TimeMax
	for _, s := range subs {
		least = min(least, s.emitted)
	}
	if least == dataflow.TimeMin {
		return time.Time{}, false
	}
	return time.UnixMilli(least).UTC(), true
}

// subtasks returns those of an operator, which must exist.
func (d *Driver) subtasks(uid string) []*subtask {
	d.tb.Helper()
	if !d.start() {
		return nil
	}
	subs := d.run.life.byNode[dataflow.OperatorIDOf(uid)]
	if len(subs) == 0 {
		d.fail(d.unknown("operator", uid))
	}
	return subs
}

// unknown is the error of a UID that the job does not have.
func (d *Driver) unknown(what, uid string) error {
	var have []string
	for _, n := range d.run.graph.Nodes {
		if what == "operator" || n.Kind == graph.KindSource {
			have = append(have, n.UID)
		}
	}
	return fmt.Errorf("the job has no %s %q, only %q", what, uid, have)
}
