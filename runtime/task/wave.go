package task

import (
	"sync/atomic"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/exchange"
)

// wave is a watermark, status or end on its way through the chain: operator
// after operator, in depth-first order, resumed where one had more to emit.
// Behind a wave nothing else is processed until it is through.
type wave struct {
	kind exchange.Kind // watermark, status or end
	time int64
	idle bool
	next int // the node it reaches next
	end  int
	// head: the wave starts with what the head itself forwards (a source's).
	head bool
}

// deferred is what a source emitted while a wave of its own was not through.
type deferred struct {
	batch       *columnar.Batch
	side        string
	isSide      bool
	watermark   int64
	isWatermark bool
	idle        bool
	isIdle      bool
}

func (s *sourceHead) later(d deferred) { s.deferred = append(s.deferred, d) }

// wanted is set when a source should be polled again; safe for concurrent use.
type wanted struct{ flag atomic.Bool }

func (w *wanted) set() { w.flag.Store(true) }

// take reports whether it was set and clears it.
func (w *wanted) take() bool { return w.flag.Load() && w.flag.Swap(false) }

// deferring reports whether what n emits must wait: it is the source and a
// wave that it started is still under way behind it.
func (t *Task) deferring(n *node) bool {
	if t.source == nil || n != t.source.node {
		return false
	}
	if len(t.source.deferred) > 0 {
		return true
	}
	return len(t.waves) > 0 && t.waves[0].next > 0
}

// sourceWatermark starts the wave of a source's watermark, if it advances.
func (t *Task) sourceWatermark(wm int64) {
	if wm <= t.merger.out || t.err != nil {
		return
	}
	t.merger.out = wm
	t.wakeOutput()
	t.start(wave{kind: exchange.KindWatermark, time: wm, next: 1, end: len(t.nodes), head: true})
}

// wakeOutput ends the idle status before something else is emitted.
func (t *Task) wakeOutput() {
	if t.idle && !t.abstains {
		t.setIdle(false)
	}
}

// setIdle starts the wave of a change of status.
func (t *Task) setIdle(idle bool) {
	if t.idle == idle || t.finished {
		return
	}
	t.idle = idle
	w := wave{kind: exchange.KindStatus, idle: idle, end: len(t.nodes)}
	if t.source != nil {
		w.next, w.head = 1, true
	}
	t.start(w)
}

// advance starts the wave of the merged watermark.
func (t *Task) advance() {
	t.start(wave{kind: exchange.KindWatermark, time: t.merger.out, end: len(t.nodes)})
}

// endInput starts the last two waves: the maximum watermark and the end. What
// is idle when all its input has ended is so since that took no part in event
// time (operators.Abstainer): the maximum must not move that of others either.
func (t *Task) endInput() {
	if t.source != nil {
		t.wakeOutput()
	}
	if t.merger.out < dataflow.TimeMax {
		t.merger.out = dataflow.TimeMax
		t.start(wave{kind: exchange.KindWatermark, time: dataflow.TimeMax, end: len(t.nodes)})
	}
	t.start(wave{kind: exchange.KindEnd, end: len(t.nodes)})
}

// reEnd ends a task that had ended in the checkpoint: its operators have
// acted on the end already, so that only the streams are told again.
func (t *Task) reEnd() {
	t.merger.out = dataflow.TimeMax
	t.figures.watermark.Store(dataflow.TimeMax)
	for _, n := range t.nodes {
		if t.abstains {
			t.forward(n, &wave{kind: exchange.KindStatus, idle: true})
		}
		t.forward(n, &wave{kind: exchange.KindWatermark, time: dataflow.TimeMax})
		t.forward(n, &wave{kind: exchange.KindEnd})
	}
	t.cfg.Reporter.Finished()
}

// start queues a wave and runs it as far as it goes. Waves are few: a task
// takes no input while one is under way.
func (t *Task) start(w wave) {
	if t.err != nil {
		return
	}
	p := t.spareWave
	if t.spareWave = nil; p == nil {
		p = new(wave)
	}
	*p = w
	t.waves = append(t.waves, p)
	if len(t.waves) == 1 {
		t.runWaves()
	}
}

// runWaves runs the waves, and what a source emitted behind them, until one
// has to wait. It reports whether anything was done.
func (t *Task) runWaves() (progress bool) {
	for len(t.waves) > 0 && t.err == nil {
		moved, through := t.runWave(t.waves[0])
		progress = progress || moved
		if !through {
			return progress
		}
		w := t.waves[0]
		t.waves = t.waves[:copy(t.waves, t.waves[1:])]
		t.waveDone(w)
		*w = wave{}
		t.spareWave = w
		progress = true
		if len(t.waves) == 0 {
			t.replay()
		}
	}
	return progress
}

// runWave moves one wave on.
func (t *Task) runWave(w *wave) (moved, through bool) {
	if w.head {
		w.head = false
		t.forward(t.nodes[0], w)
	}
	for w.next < w.end && t.err == nil {
		n := t.nodes[w.next]
		emitted := n.out.emitted
		done, err := t.apply(n, w)
		switch {
		case err != nil:
			t.fail(n, err)
			return true, false
		case !done:
			return moved || n.out.emitted != emitted, false
		}
		w.time = n.delayed(w.time)
		t.forward(n, w)
		w.next++
		moved = true
	}
	return moved, t.err == nil
}

// apply lets an operator act on a wave.
func (t *Task) apply(n *node, w *wave) (done bool, err error) {
	caller := t.current
	t.current = n
	done = true
	switch {
	case w.kind == exchange.KindWatermark && n.watermark != nil:
		done, err = n.watermark.Watermark(w.time)
	case w.kind == exchange.KindStatus:
		done, err = n.tellStatus(w.idle)
	case w.kind == exchange.KindEnd && n.end_ != nil:
		done, err = n.end_.End()
	}
	t.current = caller
	return done, err
}

// tellStatus tells an operator of a change of status once it is ready for it.
func (n *node) tellStatus(idle bool) (done bool, err error) {
	if idle && n.idleDelay != nil {
		if done, err = n.idleDelay.IdleReady(); !done || err != nil {
			return false, err
		}
	}
	if n.status != nil {
		err = n.status.Idle(idle)
	}
	return true, err
}

// delayed is the watermark that n forwards for one that it got. What follows n
// in the chain gets that one, too: an operator that delays heads its chain,
// because it is keyed.
func (n *node) delayed(wm int64) int64 {
	if n.delay == nil || wm == dataflow.TimeMax {
		return wm
	}
	return dataflow.AddTime(wm, -n.delay.WatermarkDelay())
}

// forward sends a wave on the streams that leave from n.
func (t *Task) forward(n *node, w *wave) {
	for _, o := range n.out.writers {
		o.Control(exchange.Element{Kind: w.kind, Time: w.time, Idle: w.idle})
	}
}

// waveDone does what follows when a wave is through.
func (t *Task) waveDone(w *wave) {
	switch w.kind {
	case exchange.KindWatermark:
		t.figures.watermark.Store(w.time)
	case exchange.KindEnd:
		t.finish()
	}
}

// replay emits what a source emitted behind its waves.
func (t *Task) replay() {
	if t.source == nil {
		return
	}
	for len(t.source.deferred) > 0 && len(t.waves) == 0 && t.err == nil {
		pending := t.source.deferred
		d := pending[0]
		t.source.deferred = nil // what is emitted now is not deferred
		switch {
		case d.isWatermark:
			t.sourceWatermark(d.watermark)
		case d.isIdle:
			t.setIdle(d.idle)
		case d.isSide:
			t.source.out.EmitSide(d.side, d.batch)
		default:
			t.source.out.Emit(d.batch)
		}
		t.source.deferred = append(pending[1:], t.source.deferred...)
	}
}
