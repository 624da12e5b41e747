package streamtest

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
)

// life is one attempt: from a start to the end or a crash.
type life struct {
	run    *runner
	all    []*subtask // in topological order
	byNode map[dataflow.OperatorID][]*subtask
	coords []*coordinator
	timers []*timer
	err    error // of any emission
	// current is the subtask whose code runs, nil between calls.
	current *subtask
	emitted int // batches
	// silent is since when mail is waited for, zero when it is not.
	silent time.Time
	asked  int  // questions whether there is room downstream
	wanted bool // a coordinator wants a checkpoint
	mailed bool // mail has run since it was false

	mu     sync.Mutex
	mail   []func() error // guarded by mu
	posted chan struct{}  // has room for one
}

type timer struct {
	at   int64
	fn   func() error
	gone bool
}

func newLife(r *runner, parallelism int) (*life, error) {
	l := &life{run: r, byNode: make(map[dataflow.OperatorID][]*subtask), posted: make(chan struct{}, 1)}
	for _, n := range r.graph.Nodes {
		p := parallelism
		if n.Parallelism > 0 {
			p = n.Parallelism
		}
		f, ok := n.Factory.(operators.Factory)
		if !ok {
			return l, fmt.Errorf("operator %q has no factory", n.UID)
		}
		for i := range p {
			s := &subtask{life: l, node: n, index: i, of: p, op: r.newOperator(n, f), metrics: newMetrics(), emitted: dataflow.TimeMin}
			s.out.sub = s
			l.all = append(l.all, s)
			l.byNode[n.ID] = append(l.byNode[n.ID], s)
		}
	}
	for _, e := range r.graph.Edges {
		if err := l.connect(e); err != nil {
			return l, err
		}
	}
	return l, nil
}

// connect makes the channels of an edge.
func (l *life) connect(e *graph.Edge) error {
	from, to := l.byNode[e.From], l.byNode[e.To]
	rows, ok := e.Type.(columnar.RowType)
	if !ok {
		return fmt.Errorf("edge %s to %s has no row type", e.From, e.To)
	}
	part := e.Partitioning
	if part == graph.Forward && len(from) != len(to) {
		part = graph.Rebalance
	}
	for i, f := range from {
		r := &route{edge: e, part: part, rows: rows, max: l.run.graph.MaxParallelism}
		for _, t := range graph.ChannelTargets(part, i, len(from), len(to)) {
			to[t].inputs = append(to[t].inputs, &input{wm: dataflow.TimeMin})
			r.to = append(r.to, target{to[t], len(to[t].inputs) - 1})
		}
		f.out.routes = append(f.out.routes, r)
	}
	return nil
}

// open restores and opens all subtasks, the last of the graph first.
func (l *life) open(from *saved) error {
	for i := len(l.all) - 1; i >= 0; i-- {
		s := l.all[i]
		if !s.call(func() error { return s.open(from) }) {
			return l.err
		}
	}
	for _, n := range l.run.graph.Nodes {
		f, ok := n.Factory.(operators.CoordinatorFactory)
		if !ok || l.run.replace[n.UID] != nil {
			continue
		}
		c, err := l.newCoordinator(n, f, from)
		if err != nil {
			return err
		}
		if err := c.op.Start(); err != nil {
			return err
		}
	}
	l.begin(from)
	return l.runMail()
}

// begin tells operators and those behind them what the checkpoint says of
// watermarks and ends. An operator that had ended everywhere has acted on it.
func (l *life) begin(from *saved) {
	if from == nil {
		return
	}
	for _, s := range l.all {
		if from.ended[s.node.ID] {
			s.ended, s.emitted = true, dataflow.TimeMax
		}
	}
	for _, s := range l.all {
		if !s.ended {
			s.advance(from.watermark[s.node.ID])
			continue
		}
		if r, ok := s.op.(operators.EndRestorer); ok {
			s.call(r.RestoredEnd)
		}
		s.out.each(func(in *input) { in.wm = dataflow.TimeMax })
		s.out.each(func(in *input) { in.ended = true })
	}
}

// step polls each source once. It returns whether one had something, and
// whether all have ended.
func (l *life) step() (busy, done bool, err error) {
	if err := l.room(); err != nil {
		return false, false, err
	}
	done = true
	for _, s := range l.all {
		if s.source == nil || s.ended {
			continue
		}
		var status operators.PollStatus
		ok := s.call(func() (err error) {
			status, err = s.source.Poll()
			return err
		})
		if !ok {
			return false, false, l.err
		}
		done = false
		switch status {
		case operators.PollMore:
			busy = true
		case operators.PollFinished:
			s.end()
		}
	}
	// What was told and asked may be what the next poll needs.
	l.mailed = false
	err = l.rest()
	return busy || l.mailed, done, err
}

func (l *life) post(fn func() error) {
	l.mu.Lock()
	l.mail = append(l.mail, fn)
	l.mu.Unlock()
	select {
	case l.posted <- struct{}{}:
	default:
	}
}

func (l *life) runMail() error {
	for {
		l.mu.Lock()
		mail := l.mail
		l.mail = nil
		l.mu.Unlock()
		if len(mail) == 0 {
			return l.err
		}
		l.mailed = true
		for _, fn := range mail {
			if err := fn(); err != nil {
				return err
			}
		}
	}
}

// await runs mail until done returns "". Else it says what is waited for.
func (l *life) await(missing func() string) error {
	for {
		if err := l.runMail(); err != nil {
			return err
		}
		what := missing()
		if what == "" {
			l.silent = time.Time{}
			return nil
		}
		switch goesOn, err := l.waitMail(l.run.waitMax); {
		case err != nil:
			return err
		case !goesOn:
			return fmt.Errorf("%s within %s", what, l.run.waitMax)
		}
	}
}

// room waits until all operators take rows: requests that are under way may
// have to return before.
func (l *life) room() error {
	return l.await(func() string {
		for _, s := range l.all {
			if lim, ok := s.op.(operators.InputLimiter); ok && !lim.InputReady() {
				return fmt.Sprintf("operator %q has not taken rows again", s.node.UID)
			}
		}
		return ""
	})
}

// nested runs the mail that is there, from within a call of an operator. With
// wait it waits for some.
func (l *life) nested(wait bool) error {
	if wait {
		switch goesOn, err := l.waitMail(mailWaitMax); {
		case err != nil:
			return err
		case !goesOn:
			return fmt.Errorf("an operator has waited %s for mail that does not come", mailWaitMax)
		}
	}
	return l.runMail()
}

// mailWaitMax bounds the real time that an operator waits for work elsewhere.
const mailWaitMax = 30 * time.Second

const (
	// waitTick is how often one who waits for mail looks at the clock.
	waitTick = time.Millisecond
	// silenceMax is the real time after which timers of operators fire
	// although the clock is not there yet: no work elsewhere is under way.
	silenceMax = time.Second
)

// waitMail waits for mail, or until the clock has moved; after most of real
// time without mail, if that is positive, it reports false. Nothing else
// happens meanwhile, so the clock moves on to what goroutines of operators wait
// for on it (a pause before another attempt), and when all is silent to the
// next timer.
func (l *life) waitMail(most time.Duration) (goesOn bool, err error) {
	machine := clock.Real{}
	start := machine.Now()
	if l.silent.IsZero() {
		l.silent = start
	}
	tick := machine.NewTimer(waitTick)
	defer tick.Stop()
	for ; ; tick.Reset(waitTick) {
		select {
		case <-l.posted:
			l.silent = time.Time{}
			return true, nil
		case <-l.run.ctx.Done():
			return false, l.run.ctx.Err()
		case <-tick.C():
		}
		if most > 0 && machine.Since(l.silent) >= most {
			return false, nil
		}
		d, ok := l.run.clock.Next()
		if !ok && machine.Since(start) >= silenceMax {
			d, ok = l.untilTimer()
		}
		if ok {
			l.run.clock.Advance(d)
			return true, l.fire()
		}
	}
}

// untilTimer returns how long it is until the next timer of an operator is due.
func (l *life) untilTimer() (d time.Duration, ok bool) {
	now := clock.Millis(l.run.clock)
	for _, t := range l.timers {
		left := time.Duration(t.at+1-now) * time.Millisecond
		if !t.gone && (!ok || left < d) {
			d, ok = left, true
		}
	}
	return d, ok
}

// ready answers whether there is room downstream; what asks must cope with
// any answer.
func (l *life) ready() bool {
	l.asked++
	return l.run.notReady == 0 || l.asked%l.run.notReady != 0
}

// protect turns a panic into an error that names the operator and the row.
func (l *life) protect(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
			if l.current != nil {
				err = l.current.located(err)
			}
			l.err = errors.Join(l.err, err)
		}
	}()
	return fn()
}

// panicError describes a panic that was just recovered by the caller's
// deferred function.
func panicError(v any) error {
	where := "an unknown place"
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for panicking := false; ; {
		f, more := frames.Next()
		inside := strings.HasPrefix(f.Function, "runtime.") || ofHandle(f.Function)
		if panicking && !inside {
			where = fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(f.File)), filepath.Base(f.File), f.Line)
			break
		}
		panicking = panicking || f.Function == "runtime.gopanic"
		if !more {
			break
		}
	}
	if err, ok := v.(error); ok {
		return fmt.Errorf("panic at %s: %w", where, err)
	}
	return fmt.Errorf("panic at %s: %v", where, v)
}

// ofHandle says whether a function is that of a state handle, which panics for
// what its caller does.
func ofHandle(function string) bool {
	return strings.HasPrefix(function, "github.com/leatstream/leat/state.") ||
		strings.HasPrefix(function, "github.com/leatstream/leat/operators/opstate.")
}

// fire runs the timers that are due.
func (l *life) fire() error {
	for {
		now := clock.Millis(l.run.clock)
		var due *timer
		for _, t := range l.timers {
			if !t.gone && t.at < now && (due == nil || t.at < due.at) {
				due = t
			}
		}
		if due == nil {
			return nil
		}
		due.gone = true
		if err := due.fn(); err != nil {
			return err
		}
	}
}

func (l *life) at(millis int64, fn func() error) func() {
	t := &timer{at: millis, fn: fn}
	l.timers = append(l.timers, t)
	return func() { t.gone = true }
}

func (l *life) close() error {
	var errs []error
	for _, c := range l.coords {
		errs = append(errs, c.op.Close())
	}
	for _, s := range l.all {
		if !s.opened {
			continue
		}
		errs = append(errs, s.op.Close())
		if s.state != nil {
			errs = append(errs, s.state.Close())
		}
	}
	return errors.Join(errs...)
}
