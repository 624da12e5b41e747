package window

import (
	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
)

// firing gathers results into batches, lets them out as there is room, and
// remembers how far the watermark in work has come.
type firing[O any] struct {
	out operators.Output
	win Window // of the results being added
	// arena holds the keys that results refer to.
	arena codec.Arena
	// rows: the time of a result is the last instant of its window.
	rows    columnar.Builder[O]
	waiting []*columnar.Batch
	scanned int      // entries of win's table that were taken
	fired   []Window // done, of the watermark in work
}

func (f *firing[O]) begin(w Window) { f.win = w }

func (f *firing[O]) emit(v O) {
	f.rows.Add(v, f.win.last())
	if f.rows.Full() {
		f.flush()
	}
}

func (f *firing[O]) flush() {
	if b := f.rows.Take(); b != nil {
		f.waiting = append(f.waiting, b)
	}
}

// full reports whether enough results wait to be let out.
func (f *firing[O]) full() bool { return len(f.waiting) >= firingBatchesMax }

// drain lets waiting batches out while there is room; it reports whether all
// are gone.
func (f *firing[O]) drain() bool {
	for i, b := range f.waiting {
		if !f.out.Ready() {
			f.waiting = append(f.waiting[:0], f.waiting[i:]...)
			return false
		}
		f.out.Emit(b)
	}
	clear(f.waiting)
	f.waiting = f.waiting[:0]
	return true
}

// emitAll lets everything out: results of one batch of late records are few.
func (f *firing[O]) emitAll() {
	for _, b := range f.waiting {
		f.out.Emit(b)
	}
	clear(f.waiting)
	f.waiting = f.waiting[:0]
	f.win = Window{}
}

// finished notes that all of a window was gathered.
func (f *firing[O]) finished(w Window) {
	f.fired = append(f.fired, w)
	f.scanned = 0
}

func (f *firing[O]) has(w Window) bool {
	for _, x := range f.fired {
		if x == w {
			return true
		}
	}
	return false
}

func (f *firing[O]) reset() {
	f.fired = f.fired[:0]
	f.win = Window{}
}
