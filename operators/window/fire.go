package window

import (
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
)

func (o *operator[K, T, A, O]) fireWindows(wm int64) (bool, error) {
	for _, ns := range o.contents.namespaces() {
		win := o.cfg.Windows.from(ns)
		if win.last() > wm {
			break
		}
		if win.last() > o.wm && !o.firing.has(win) {
			if done, err := o.fire(win); err != nil || !done {
				return false, err
			}
		}
	}
	return true, nil
}

// fireShared fires the windows that are complete, each once live holds it.
func (o *operator[K, T, A, O]) fireShared(wm int64) (bool, error) {
	s := o.shared
	s.done = max(s.done, o.wm, o.bounds.Least())
	for {
		win, ok := s.next(s.done, wm)
		if !ok {
			return true, s.leave(s.panes.start(s.panes.firstEnd(dataflow.AddTime(wm, 1))))
		}
		if !o.firing.has(win) {
			if o.firing.win != win {
				if err := s.advance(win); err != nil {
					return false, err
				}
			}
			if done, err := o.fire(win); err != nil || !done {
				return false, err
			}
		}
		s.done = win.last()
	}
}

// passed notes how far windows have fired, once another boundary is behind.
func (o *operator[K, T, A, O]) passed(wm int64) {
	o.wm = wm
	w, last := o.cfg.Windows, o.bounds.Written()
	if last != dataflow.TimeMin && w.index(last) == w.index(wm) &&
		w.index(dataflow.AddTime(last, -o.cfg.Lateness)) == w.index(dataflow.AddTime(wm, -o.cfg.Lateness)) {
		return
	}
	o.bounds.Raise(wm)
}

// fire emits the results of a window, a bounded lot at a time. It returns
// false when it must be called again.
func (o *operator[K, T, A, O]) fire(win Window) (bool, error) {
	f := &o.firing
	for {
		more, err := o.lot(win)
		if err != nil {
			return false, err
		}
		if !more {
			f.finished(win)
		}
		if !f.drain() {
			return false, nil
		}
		if !more {
			return true, nil
		}
	}
}

// lot gathers the next results of a window, up to firingBatchesMax batches.
func (o *operator[K, T, A, O]) lot(win Window) (more bool, err error) {
	f := &o.firing
	f.begin(win)
	// Some groups may have fired this window before a rescale.
	byGroup := win.last() <= o.bounds.Most()
	seen := 0
	scan := o.contents.scan
	ns := win.start
	if o.shared != nil {
		scan, ns = o.shared.live.scan, 0
	}
	scan(ns, func(key, val []byte) bool {
		seen++
		if seen <= f.scanned {
			return true
		}
		if f.full() {
			more = true
			return false
		}
		f.scanned = seen
		if byGroup && o.bounds.Of(codec.HashKey(key)) >= win.last() {
			return true
		}
		err = o.emitEntry(win, key, val)
		return err == nil
	})
	f.flush()
	return more, err
}

func (o *operator[K, T, A, O]) emitEntry(win Window, key, val []byte) error {
	var k K
	if err := o.cfg.KeyCodec.DecodeKeyIn(&o.firing.arena, key, &k); err != nil {
		return fmt.Errorf("window state: key %.40x: %w", key, err)
	}
	acc, err := o.entry(win, key, val)
	if err != nil {
		return fmt.Errorf("window state of %v: %w", k, err)
	}
	o.result(k, win, acc, o.emit)
	return nil
}

func (o *operator[K, T, A, O]) entry(win Window, key, val []byte) (*A, error) {
	if o.shared != nil {
		return o.shared.read(val)
	}
	if t, ok := o.contents.(*aggregates[A]); ok && t.fixed > 0 {
		var zero A
		o.acc = zero
		return &o.acc, t.load(val, &o.acc)
	}
	acc := new(A) // the result may keep what it refers to
	return acc, o.contents.read(win.start, key, val, acc)
}

// refireAll emits again the results of windows that had fired and got more
// records.
func (o *operator[K, T, A, O]) refireAll() error {
	o.refires = false
	for i := range o.slots.list {
		s := &o.slots.list[i]
		if !s.refire {
			continue
		}
		again := o.refire
		if o.shared != nil {
			again = o.refirePane
		}
		if err := again(s, state.Key{Bytes: o.slots.encoded(s), Hash: s.hash}); err != nil {
			return fmt.Errorf("window state of %v: %w", s.key, err)
		}
	}
	o.firing.flush()
	o.firing.emitAll()
	return nil
}

func (o *operator[K, T, A, O]) refire(s *slot[K, A], k state.Key) error {
	if err := o.contents.complete(s.win.start, k, &s.acc); err != nil {
		return err
	}
	o.firing.begin(s.win)
	o.result(s.key, s.win, &s.acc, o.emit)
	return nil
}

// refirePane emits again what has fired of the windows that hold a pane, as
// far as they still take records.
func (o *operator[K, T, A, O]) refirePane(s *slot[K, A], k state.Key) error {
	if err := o.shared.repair(s.win.start, k); err != nil {
		return err
	}
	p := o.shared.panes
	last := p.lastEnd(s.win.start)
	for end := p.firstEnd(s.win.start); ; end = p.firstEnd(end) {
		w := Window{start: p.start(end), end: end}
		if w.last() > s.fired {
			return nil
		}
		if dataflow.AddTime(w.last(), o.cfg.Lateness) > s.fired {
			var acc A
			if err := o.shared.whole(w, k, &acc); err != nil {
				return err
			}
			o.firing.begin(w)
			o.result(s.key, w, &acc, o.emit)
		}
		if end >= last {
			return nil
		}
	}
}
