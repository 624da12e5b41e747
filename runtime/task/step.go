package task

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/checkpoint/barrier"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/runtime/exchange"
)

// Wait is what Step says to its driver.
type Wait struct {
	// Done: the task has failed (Failure); only Close may follow.
	Done bool
	// Progress: Step is to be called again at once. Otherwise it is called
	// again when the mailbox signals, or when Until has passed.
	Progress bool
	// Until is the wall time of the next timer; zero when there is none.
	Until time.Time
}

// Step does one piece of work: the mail that waits, the timers that are due,
// and one element of input. It never blocks, apart from operators that do. A
// panic of an operator is caught and fails the task.
func (t *Task) Step() (w Wait) {
	defer func() {
		if r := recover(); r != nil {
			t.panicked(r)
			w = Wait{Done: true}
		}
	}()
	now := t.cfg.Clock.Now()
	t.account(now)
	t.slicing.measure(now)
	progress, class := t.step(now)
	if t.anyStateFailed() || t.err != nil {
		return Wait{Done: true}
	}
	if progress {
		t.class = classBusy
		t.flushLate(now)
		return Wait{Progress: true}
	}
	t.class = class
	t.flush()
	return Wait{Until: t.wakeTime()}
}

func (t *Task) step(now time.Time) (progress bool, c class) {
	if len(t.waves) == 0 || t.waitsForMail() {
		progress = t.runMail()
		if t.runTimers(now.UnixMilli()) {
			progress = true
		}
		if progress {
			t.checkCommits()
		}
	}
	if lost := t.mailLost.Load(); lost != nil {
		t.fail(nil, *lost)
	}
	if t.err != nil {
		return true, classBusy
	}
	if len(t.waves) > 0 {
		return t.stepWaves(progress)
	}
	if t.sourceOver() || t.runEnds() || t.runTriggers() {
		return true, classBusy
	}
	switch {
	case t.finished:
		return t.afterEnd(progress)
	case progress, t.stopped, t.paused != 0:
		return progress, classIdle
	}
	if t.overtakes(now) {
		return true, classBusy
	}
	if !t.outputsReady() {
		return false, classBackPressured
	}
	if t.source != nil {
		return t.poll()
	}
	return t.input()
}

// stepWaves goes on with the waves that had more to emit.
func (t *Task) stepWaves(progress bool) (bool, class) {
	if !t.outputsReady() {
		return progress, classBackPressured
	}
	if t.runWaves() {
		t.stalls = 0
		return true, classBusy
	}
	t.stalls++
	return progress || t.stalls < stallsMax, classIdle
}

// An operator that says it has more to emit, emits nothing and has room is
// called again so many times at once; then it is taken to wait for mail, and
// is also asked again after stallPause, in case it only works in small steps.
const (
	stallsMax  = 64
	stallPause = time.Millisecond
)

// waitsForMail reports whether the wave under way waits for mail: it has not
// gone on although there is room. Otherwise nothing may come before it.
func (t *Task) waitsForMail() bool {
	return t.stalls >= stallsMax && t.outputsReady()
}

// runMail runs what waits in the mailbox, up to a mail that starts a wave.
func (t *Task) runMail() (progress bool) {
	if t.mailAt == len(t.mail) {
		clear(t.mail)
		t.mail, t.mailAt = t.cfg.Mailbox.Take(t.mail[:0]), 0
	}
	waves := len(t.waves)
	for t.mailAt < len(t.mail) && t.err == nil && len(t.waves) == waves {
		fn := t.mail[t.mailAt]
		t.mail[t.mailAt] = nil
		t.mailAt++
		if err := fn(); err != nil {
			t.fail(t.current, err)
		}
		t.current = nil
		progress = true
	}
	return progress
}

// runTimers runs the timers that are due. What these set waits for the next
// step, however early it is: an operator may ask again and again.
func (t *Task) runTimers(nowMillis int64) (progress bool) {
	if t.timers.first.Load() >= nowMillis {
		return false
	}
	latest := t.timers.latest()
	for t.err == nil {
		tm := t.timers.due(nowMillis, latest)
		if tm == nil {
			return progress
		}
		t.current = tm.node
		if err := tm.fn(); err != nil {
			t.fail(tm.node, err)
		}
		t.current = nil
		progress = true
	}
	return progress
}

// wakeTime is when a timer or late rows want the task.
func (t *Task) wakeTime() time.Time {
	if len(t.waves) > 0 && t.class == classIdle {
		return t.now.Add(stallPause)
	}
	due := t.overtake.due
	if millis, ok := t.timers.next(); ok && (due.IsZero() || time.UnixMilli(millis).Before(due)) {
		return time.UnixMilli(millis)
	}
	return due
}

// flush sends all rows that the outputs gather: the input is dry.
func (t *Task) flush() {
	for _, o := range t.cfg.Outputs {
		o.Flush()
	}
	t.flushDue = time.Time{}
	t.countWire()
}

// flushLate sends rows that have been gathered for the job's buffer timeout.
func (t *Task) flushLate(now time.Time) {
	buffered := false
	for _, o := range t.cfg.Outputs {
		buffered = buffered || o.Buffered()
	}
	switch {
	case !buffered:
		t.flushDue = time.Time{}
		t.countWire()
	case t.flushDue.IsZero():
		t.flushDue = now.Add(t.cfg.Plan.Graph.Config.BufferTimeout)
	case !now.Before(t.flushDue):
		t.flush()
	}
}

func (t *Task) countWire() {
	var n int64
	for _, o := range t.cfg.Outputs {
		n += o.WireBytes()
	}
	t.figures.bytesOut.Store(n)
	if t.gate != nil {
		t.figures.bytesIn.Store(t.gate.WireBytes())
	}
}

// inputReady asks the operators that cannot always take rows.
func (t *Task) inputReady() bool {
	for _, n := range t.nodes {
		if n.limit != nil && !n.limit.InputReady() {
			return false
		}
	}
	return true
}

// poll asks the source for more.
func (t *Task) poll() (progress bool, c class) {
	s := t.source
	if !t.inputReady() {
		return false, classBackPressured
	}
	if !s.wanted.take() {
		return false, classIdle
	}
	t.current = s.node
	status, err := s.op.Poll()
	t.current = nil
	if err != nil {
		t.fail(s.node, err)
		return true, classBusy
	}
	switch status {
	case operators.PollMore:
		s.wanted.set()
	case operators.PollFinished:
		s.over = true
	case operators.PollWait:
	default:
		t.fail(s.node, fmt.Errorf("poll returned status %d", status))
	}
	return true, classBusy
}

// sourceOver ends the input of a source that said so, once what it emitted
// before is through.
func (t *Task) sourceOver() bool {
	if t.source == nil || !t.source.over || t.finished {
		return false
	}
	t.source.over = false
	t.endInput()
	return true
}

// input takes one element from the gate.
func (t *Task) input() (progress bool, c class) {
	next := t.gate.Next
	idle := classIdle
	if !t.inputReady() {
		next, idle = t.gate.NextControl, classBackPressured
	}
	channel, el, ok, err := next()
	if err != nil {
		t.fail(nil, err)
		return true, classBusy
	}
	if !ok {
		return false, idle
	}
	if t.overtake.id != 0 {
		t.recordTaken(channel, el)
	}
	if el.Kind == exchange.KindBatch {
		el.Batch = t.slice(channel, el.Batch)
	}
	t.element(channel, el)
	return true, classBusy
}

func (t *Task) element(channel int, el exchange.Element) {
	switch el.Kind {
	case exchange.KindBatch:
		ch := t.gate.Channel(channel)
		t.figures.recordsIn.Add(int64(ch.RowType().Len(el.Batch.Rows)))
		t.process(t.nodes[0], ch.Input(), el.Batch)
	case exchange.KindWatermark:
		if t.merger.watermark(channel, el.Time) {
			t.advance()
		}
	case exchange.KindStatus:
		advanced := t.merger.status(channel, el.Idle)
		if advanced {
			t.advance()
		}
		t.setIdle(t.merger.idle)
	case exchange.KindBarrier:
		t.barrier(channel, el.Barrier)
	case exchange.KindEnd:
		t.channelEnd(channel)
	default:
		t.fail(nil, fmt.Errorf("%s: element of %s", t.gate.Channel(channel).ID(), el.Kind))
	}
}

// channelEnd books the end of a channel. The aligner hears of it only after
// the waves that it starts: the end may complete an alignment, and a snapshot
// is not taken in the middle of a wave.
func (t *Task) channelEnd(channel int) {
	t.ends = append(t.ends, channel)
	if t.merger.end(channel) {
		t.advance()
	}
	if t.merger.allEnded() {
		t.endInput()
		return
	}
	t.setIdle(t.merger.idle)
}

// runEnds tells the aligner of the channels that ended.
func (t *Task) runEnds() (progress bool) {
	for _, channel := range t.ends {
		t.align(barrier.Event{Kind: barrier.EventEnd, Channel: channel})
		progress = true
	}
	t.ends = t.ends[:0]
	return progress
}

// finish is called when the end has left the last operator.
func (t *Task) finish() {
	t.finished = true
	t.cfg.Reporter.Finished()
}

// afterEnd reads what still comes to a task that had finished in the
// checkpoint it started from: its senders had as well, so no rows follow.
func (t *Task) afterEnd(progress bool) (bool, class) {
	if t.gate == nil {
		return progress, classIdle
	}
	channel, el, ok, err := t.gate.Next()
	switch {
	case err != nil:
		t.fail(nil, err)
	case ok && el.Kind == exchange.KindBatch:
		t.fail(nil, fmt.Errorf("%s: rows for a subtask that had reached its end in the checkpoint", t.gate.Channel(channel).ID()))
	}
	return progress || ok || err != nil, classIdle
}

// since is a monotonic reading for the aligner.
func (t *Task) since() time.Duration { return t.cfg.Clock.Since(t.epoch) }

// Drive runs a task until ctx ends or it fails; the caller closes it. It is
// the thin loop around Step.
func Drive(done <-chan struct{}, t *Task, clk clock.Clock) {
	timer := clk.NewTimer(time.Hour)
	defer timer.Stop()
	box := t.cfg.Mailbox
	for {
		select {
		case <-done:
			return
		default:
		}
		w := t.Step()
		if w.Progress {
			continue
		}
		if w.Done {
			return
		}
		box.Arm()
		if w = t.Step(); w.Progress || w.Done {
			box.Disarm()
			continue
		}
		if !w.Until.IsZero() {
			timer.Reset(w.Until.Sub(clk.Now()))
		} else {
			timer.Reset(time.Hour)
		}
		select {
		case <-done:
			return
		case <-box.C():
		case <-timer.C():
		}
		box.Disarm()
	}
}
