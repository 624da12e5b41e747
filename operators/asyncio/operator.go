package asyncio

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/opstate"
	"github.com/leatstream/leat/operators/setaside"
)

// closeWait bounds how long Close waits for functions that do not heed their
// context.
const closeWait = 5 * time.Second

// stateInFlight names the list of rows in flight in a snapshot.
const stateInFlight = "async-in-flight"

// operator is one subtask. Rows wait in batches until the window has room,
// then they are in the window until they are emitted; a snapshot holds both.
type operator[T, A, R any] struct {
	cfg   Config[T, A, R]
	ctx   *operators.Context
	out   operators.Collector[R]
	tray  *setaside.Tray
	cache Cache[T, A]
	state *opstate.Set
	list  *opstate.List[inFlight[T]]

	cancel context.CancelFunc
	pool   pool[T, A]
	opened bool

	waiting []*columnar.Batch // from next of the first on
	next    int
	window  window[T, A]
	away    int // requests with the pool: goroutines in use
	seq     uint64
	free    []*request[T, A]
	handed  []*request[T, A] // scratch
	settled []*request[T, A] // unordered: to be emitted
	alarm   func()           // cancels the timer of time-outs, nil: there is none
	work    cursor[T, A]

	inFlight atomic.Int64
	timeouts operators.Counter
	hits     operators.Counter
	misses   operators.Counter
}

var (
	_ operators.WatermarkHandler = (*operator[int, int, int])(nil)
	_ operators.IdleDelayer      = (*operator[int, int, int])(nil)
	_ operators.EndHandler       = (*operator[int, int, int])(nil)
	_ operators.Snapshotter      = (*operator[int, int, int])(nil)
	_ operators.InputLimiter     = (*operator[int, int, int])(nil)
	_ operators.Positioner       = (*operator[int, int, int])(nil)
)

// Open implements operators.Operator: what was in flight is asked for again.
func (o *operator[T, A, R]) Open(ctx *operators.Context) error {
	o.ctx, o.out.Out, o.tray = ctx, ctx.Out, setaside.New(ctx)
	o.window.unordered = o.cfg.Unordered
	if o.cfg.Cache != nil {
		o.cache = o.cfg.Cache()
	}
	o.timeouts = ctx.Metrics.Counter(MetricTimeouts)
	o.hits, o.misses = ctx.Metrics.Counter(MetricCacheHits), ctx.Metrics.Counter(MetricCacheMiss)
	retries := ctx.Metrics.Counter(MetricRetries)
	ctx.Metrics.Gauge(MetricInFlight, func() float64 { return float64(o.inFlight.Load()) })
	parent := ctx.Attempt
	if parent == nil {
		parent = context.Background()
	}
	o.pool.ctx, o.cancel = context.WithCancel(parent)
	o.pool.ask, o.pool.retry, o.pool.clock = o.cfg.Ask, o.cfg.Retry, ctx.Clock
	o.pool.mail = func() { ctx.Mail(o.collect) }
	o.pool.retried = func() { retries.Add(1) }
	o.pool.init()
	o.opened = true
	return o.restore()
}

// restore takes this subtask's share of the rows that were in flight. At the
// same parallelism that is its own: they stay before those that follow.
func (o *operator[T, A, R]) restore() (err error) {
	ctx := *o.ctx
	if i := ctx.Info.Subtask; len(ctx.Restored) == ctx.Info.Parallelism {
		ctx.Restored = ctx.Restored[i : i+1]
		ctx.Info.Subtask, ctx.Info.Parallelism = 0, 1
	}
	if o.state, err = opstate.Open(&ctx); err != nil {
		return err
	}
	if o.list, err = opstate.NewList[inFlight[T]](o.state, stateInFlight); err != nil {
		return err
	}
	n := o.list.Len()
	if n == 0 {
		return nil
	}
	b := &columnar.Batch{Times: make([]int64, 0, n)}
	rows := make([]T, 0, n)
	for r := range o.list.All() {
		rows, b.Times = append(rows, r.Row), append(b.Times, r.Time)
	}
	b.Rows = rows
	o.list.Clear()
	o.waiting = append(o.waiting, b)
	// Not before all operators are open: an answer of the cache, or an error,
	// has no way out yet.
	o.ctx.Mail(o.collect)
	return nil
}

// Process implements operators.Operator.
func (o *operator[T, A, R]) Process(_ int, b *columnar.Batch) error {
	o.waiting = append(o.waiting, b)
	return o.advance()
}

// collect takes the answers that came back.
func (o *operator[T, A, R]) collect() error {
	back := o.pool.collect(o.handed[:0])
	for _, r := range back {
		r.away = false
		o.away--
		if r.settled { // its time was up
			o.recycle(r)
			continue
		}
		if r.panicked {
			o.work.point(r)
			return r.err
		}
		o.settle(r, r.answer, r.err, true)
	}
	clear(back)
	o.handed = back[:0]
	return o.advance()
}

// settle says what became of a request, and of those that wait for the same.
// keep is whether an answer may be given again later.
func (o *operator[T, A, R]) settle(r *request[T, A], answer A, err error, keep bool) {
	r.settled, r.result, r.failure = true, answer, err
	if r.cancel != nil {
		r.cancel(nil)
	}
	if o.cache != nil {
		o.work.point(r)
		o.cache.settle(r, keep && err == nil, o.ctx.Clock.Now())
		o.work.end()
	}
	if o.cfg.Unordered {
		o.settled = append(o.settled, r)
	}
	for _, f := range r.followers {
		f.settled, f.result, f.failure = true, answer, err
		if o.cfg.Unordered {
			o.settled = append(o.settled, f)
		}
	}
	clear(r.followers)
	r.followers = r.followers[:0]
}

// advance emits what is settled, and asks for rows that wait, as long as one
// of both gets on.
func (o *operator[T, A, R]) advance() error {
	for {
		if err := o.emitSettled(); err != nil {
			return err
		}
		asked, err := o.askWaiting()
		if err != nil {
			return err
		}
		if !asked {
			break
		}
	}
	o.inFlight.Store(int64(o.window.len()))
	o.out.Flush()
	if o.tray != nil {
		o.tray.Flush()
	}
	return nil
}

// emitSettled emits the answers whose turn it is.
func (o *operator[T, A, R]) emitSettled() error {
	for _, r := range o.settled {
		if err := o.emit(r); err != nil {
			return err
		}
	}
	clear(o.settled)
	o.settled = o.settled[:0]
	if o.cfg.Unordered {
		return nil
	}
	for r := o.window.first(); r != nil; r = o.window.first() {
		if err := o.emit(r); err != nil {
			return err
		}
	}
	return nil
}

func (o *operator[T, A, R]) emit(r *request[T, A]) error {
	o.work.point(r)
	if err := r.failure; err == nil {
		o.cfg.Emit(&o.out, r.row, r.time, &r.result)
	} else {
		if o.tray == nil {
			return err
		}
		o.tray.Put(setaside.Record{Row: r.row, Origin: r.origin, At: r.at, Time: r.time}, err)
	}
	o.work.end()
	o.window.remove(r)
	r.gone = true
	o.recycle(r)
	return nil
}

// recycle keeps a request for another row once nobody has it.
func (o *operator[T, A, R]) recycle(r *request[T, A]) {
	if r.away || !r.gone || len(o.free) >= o.cfg.Capacity {
		return
	}
	*r = request[T, A]{followers: r.followers[:0]}
	o.free = append(o.free, r)
}

// askWaiting fills the window with rows that wait, and reports whether it did
// anything. While there is no room downstream nothing more is asked for, as
// long as something is in flight whose answer will ask again.
func (o *operator[T, A, R]) askWaiting() (asked bool, err error) {
	if len(o.waiting) == 0 || !o.room() || (o.window.len() > 0 && !o.ctx.Out.Ready()) {
		return false, nil
	}
	now := o.ctx.Clock.Now()
	hand := o.handed[:0]
	for len(o.waiting) > 0 && o.room() {
		b := o.waiting[0]
		rows := columnar.Rows[T](b)
		for o.next < len(rows) && o.room() {
			if hand, err = o.begin(rows[o.next], b, now, hand); err != nil {
				return false, err
			}
			o.next++
			asked = true
		}
		if o.next == len(rows) {
			o.waiting[0] = nil
			o.waiting, o.next = o.waiting[1:], 0
		}
	}
	if len(o.waiting) == 0 {
		o.waiting = nil
	}
	o.pool.put(hand)
	clear(hand)
	o.handed = hand[:0]
	if asked && o.alarm == nil {
		o.setAlarm(now)
	}
	return asked, nil
}

func (o *operator[T, A, R]) room() bool {
	return o.window.len() < o.cfg.Capacity && o.away < o.cfg.Capacity
}

// begin takes one row: from the cache, to those who wait for the same, or to
// the pool by way of hand.
func (o *operator[T, A, R]) begin(row T, b *columnar.Batch, now time.Time, hand []*request[T, A]) ([]*request[T, A], error) {
	r := o.fresh()
	r.row, r.time, r.origin, r.at = row, b.Time(o.next), b.Origin, o.next
	o.seq++
	r.seq = o.seq
	if o.cache != nil {
		o.work.point(r)
		hit := o.cache.get(row, now)
		if hit != nil {
			o.hits.Add(1)
			r.settled, r.result = true, *hit
			o.window.add(r)
			if o.cfg.Unordered || o.window.len() == 1 {
				return hand, o.emit(r)
			}
			return hand, nil
		}
		if o.cache.join(r) {
			o.hits.Add(1)
			o.window.add(r)
			o.work.end()
			return hand, nil
		}
		o.misses.Add(1)
		o.work.end()
	}
	if o.cfg.Timeout > 0 {
		r.ctx, r.cancel = context.WithCancelCause(o.pool.ctx)
		r.deadline = now.Add(o.cfg.Timeout)
	}
	o.window.add(r)
	r.away = true
	o.away++
	return append(hand, r), nil
}

func (o *operator[T, A, R]) fresh() *request[T, A] {
	n := len(o.free)
	if n == 0 {
		return &request[T, A]{}
	}
	r := o.free[n-1]
	o.free = o.free[:n-1]
	return r
}

// setAlarm sets the timer for the first deadline in the window.
func (o *operator[T, A, R]) setAlarm(now time.Time) {
	if o.cfg.Timeout <= 0 {
		return
	}
	var first time.Time
	for _, r := range o.window.rows() {
		if r.away && !r.settled && (first.IsZero() || r.deadline.Before(first)) {
			first = r.deadline
		}
	}
	if first.IsZero() {
		return
	}
	if first.Before(now) {
		first = now
	}
	o.alarm = o.ctx.At(first.UnixMilli(), o.timeUp)
}

// timeUp ends the requests whose time is up.
func (o *operator[T, A, R]) timeUp() error {
	o.alarm = nil
	now := o.ctx.Clock.Now()
	var late []*request[T, A]
	for _, r := range o.window.rows() {
		if r.away && !r.settled && now.After(r.deadline) {
			late = append(late, r)
		}
	}
	sort.Sort(inOrder[T, A](late))
	for _, r := range late {
		o.timeouts.Add(1)
		err := error(&TimeoutError{After: o.cfg.Timeout})
		r.cancel(err)
		var answer A
		if o.cfg.Fallback != nil {
			o.work.point(r)
			answer, err = o.cfg.Fallback(r.row)
			o.work.end()
		}
		o.settle(r, answer, err, false)
	}
	if err := o.advance(); err != nil {
		return err
	}
	if o.alarm == nil {
		o.setAlarm(now)
	}
	return nil
}

// InputReady implements operators.InputLimiter.
func (o *operator[T, A, R]) InputReady() bool { return len(o.waiting) == 0 && o.room() }

// Watermark implements operators.WatermarkHandler: it goes on once all rows
// before it are out.
func (o *operator[T, A, R]) Watermark(int64) (bool, error) { return o.drained() }

// IdleReady implements operators.IdleDelayer.
func (o *operator[T, A, R]) IdleReady() (bool, error) { return o.drained() }

// End implements operators.EndHandler.
func (o *operator[T, A, R]) End() (bool, error) { return o.drained() }

func (o *operator[T, A, R]) drained() (bool, error) {
	if err := o.advance(); err != nil {
		return false, err
	}
	return o.window.len() == 0 && len(o.waiting) == 0, nil
}

// Snapshot implements operators.Snapshotter: the rows in flight, in order.
func (o *operator[T, A, R]) Snapshot(operators.Checkpoint) ([]byte, error) {
	flying := slices.Clone(o.window.rows())
	sort.Sort(inOrder[T, A](flying))
	o.list.Clear()
	for _, r := range flying {
		o.list.Add(inFlight[T]{Row: r.row, Time: r.time})
	}
	from := o.next
	for _, b := range o.waiting {
		for i, row := range columnar.Rows[T](b)[from:] {
			o.list.Add(inFlight[T]{Row: row, Time: b.Time(from + i)})
		}
		from = 0
	}
	b := o.state.Snapshot()
	o.list.Clear()
	return b, nil
}

// Position implements operators.Positioner.
func (o *operator[T, A, R]) Position() string { return o.work.position() }

// Close implements operators.Operator. A function that does not heed its
// context is left to itself after a while.
func (o *operator[T, A, R]) Close() error {
	if !o.opened {
		return nil
	}
	o.cancel()
	if o.alarm != nil {
		o.alarm()
	}
	gone := o.pool.close()
	select {
	case <-gone:
		return nil
	default:
	}
	timer := o.ctx.Clock.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C():
		o.ctx.Log.Warn("functions of an async operator still run after it was cancelled: they do not heed their context", "waited", closeWait)
	}
	return nil
}

// cursor remembers the row in work, for reports of errors and panics.
type cursor[T, A any] struct{ row *request[T, A] }

func (c *cursor[T, A]) point(r *request[T, A]) { c.row = r }
func (c *cursor[T, A]) end()                   { c.row = nil }

func (c *cursor[T, A]) position() string {
	switch r := c.row; {
	case r == nil:
		return ""
	case r.origin != nil:
		return fmt.Sprintf("%s@%d", r.origin.Split, r.origin.At(r.at))
	case r.time != dataflow.TimeNone:
		return "row of event time " + time.UnixMilli(r.time).UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("row %d", c.row.seq)
}
