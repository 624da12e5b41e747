package stream

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/window"
)

// Rolling puts the rows of a key that are at most apart from each other into
// windows: with each row there is one window that ends with it and reaches
// back by apart, and one that begins a millisecond after it, once a row lies
// in that. So all rows that a window of the length could show together are
// shown together once, whatever the times are: a rolling average has no steps.
// A row is kept once, however many windows it is in, when the function can
// merge: ReduceWindow, and an Aggregator that is a Merger; otherwise the rows are
// kept. They are folded in order of event time, those of one time in order of
// arrival.
//
// A window has its result when the watermark passes its end, and again for
// each late row within the allowed lateness; or, with Trigger(OnCount(1)), with
// each row that changes it; or, with Trigger(OnClose()), once, when no row can.
func Rolling(apart time.Duration, opts ...AssignerOption) WindowAssigner {
	a := WindowAssigner{kind: kindRolling, size: apart}
	a.sized("rolling window of", apart)
	return a.with(opts, fmt.Sprintf("rolling %s", apart))
}

// rollingPlan checks what is asked of rolling windows.
func (p *windowPlan) rollingPlan(a WindowAssigner, cfg windowConfig) {
	p.rolling = true
	if a.clock {
		p.fault("a rolling window (%s) is of event time: leave ByProcessingTime out, or use Sliding", a.text)
	}
	if n := len(cfg.triggers); n > 1 {
		p.fault("the window (%s) has %d triggers: a window has one", a.text, n)
	}
	for _, s := range cfg.triggers {
		p.faults = append(p.faults, s.faults...)
		t, count := s.trigger.(window.ByCount)
		p.each = count && t.N == 1
		_, p.once = s.trigger.(onClose)
		if len(s.faults) == 0 && (s.purge || !p.each && !p.once) {
			p.fault("a rolling window (%s) takes no trigger but OnCount(1) and OnClose, not %s: use Sliding for others", a.text, s.text)
		}
	}
	if len(cfg.evictors) > 0 {
		p.fault("a rolling window (%s) takes no evictor: use Sliding, or CountSliding", a.text)
	}
}

// rolling returns the factory of the operator of rolling windows.
func rolling[K comparable, T, A, O any](w *WindowedStream[K, T], fold window.Fold[T, A], fire func(K, Window, *A, func(O))) operators.Factory {
	return window.Rolling(window.RollingConfig[K, T, O]{
		Span: w.assign.size.Milliseconds(), Lateness: w.cfg.lateness.Milliseconds(), Each: w.plan.each, Once: w.plan.once,
		Key: w.keyed.key, Hasher: w.keyed.hasher, KeyCodec: w.keyed.codec,
	}, fold, fire)
}

// rollingFold is the rolling operator of an accumulator; where that does not
// merge, rows are kept.
func rollingFold[K comparable, T, A, O any](w *WindowedStream[K, T], fold window.Fold[T, A], result func(K, Window, *A) O) (operators.Factory, error) {
	if fold.Merge != nil {
		return rolling(w, fold, func(k K, win Window, acc *A, emit func(O)) { emit(result(k, win, acc)) }), nil
	}
	return rollingRows(w, func(k K, win Window, rows []T, emit func(O)) {
		var acc A
		for i := range rows {
			fold.Add(&acc, rows[i])
		}
		emit(result(k, win, &acc))
	})
}

// rollingRows is the rolling operator of a function of all rows.
func rollingRows[K comparable, T, O any](w *WindowedStream[K, T], fn func(K, Window, []T, func(O))) (operators.Factory, error) {
	c, err := codec.Of[[]T]()
	if err != nil {
		return nil, err
	}
	fold := keptRows[T]()
	fold.Codec = c
	fold.Merge = func(into, from *[]T) { *into = append(*into, *from...) }
	return rolling(w, fold, func(k K, win Window, rows *[]T, emit func(O)) { fn(k, win, *rows, emit) }), nil
}
