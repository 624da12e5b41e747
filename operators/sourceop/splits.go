package sourceop

import (
	"time"

	"github.com/leatstream/leat/dataflow"
)

// splitState is what the operator knows of a split it reads.
type splitState struct {
	id  string
	gen Generator // nil without watermarks
	// wm only grows: max over what gen said and what was restored.
	wm       int64
	caughtUp bool
	quiet    time.Time // since when nothing came
	idle     bool
	ended    bool
	// held says that the split has ended and holds back the watermark as if it
	// had not, since splits are still to come that go on where it ended.
	held bool
	// passed says that the splits that follow it are there.
	passed bool
}

func (s *splitState) active() bool { return !s.idle && !s.ended || s.held }

func (s *splitState) advance() {
	if s.gen != nil {
		s.wm = max(s.wm, s.gen.Watermark())
	}
}

// splitSet merges the watermarks of splits. It is pure: the clock's reading
// is handed in.
type splitSet struct {
	list []*splitState
	byID map[string]*splitState
}

func (s *splitSet) add(id string, gen Generator, wm int64, now time.Time) {
	if s.byID == nil {
		s.byID = make(map[string]*splitState)
	}
	if s.byID[id] != nil {
		return
	}
	st := &splitState{id: id, gen: gen, wm: wm, quiet: now}
	s.list = append(s.list, st)
	s.byID[id] = st
}

// merged returns the watermark over all splits and whether the output is
// idle. While a split is active it is the least of the active ones; once none
// is, it is the greatest of all, whichever of them turned idle last.
func (s *splitSet) merged() (wm int64, idle bool) {
	least, most := dataflow.TimeMax, dataflow.TimeMin
	any := false
	for _, sp := range s.list {
		most = max(most, sp.wm)
		if sp.active() {
			any = true
			least = min(least, sp.wm)
		}
	}
	if any {
		return least, false
	}
	return most, true
}

// lowerBound returns the least watermark of all splits: what may be said at
// the start, before it is known which of them are idle.
func (s *splitSet) lowerBound() int64 {
	if len(s.list) == 0 {
		return dataflow.TimeMin
	}
	wm := dataflow.TimeMax
	for _, sp := range s.list {
		wm = min(wm, sp.wm)
	}
	return wm
}

// markIdle marks the splits that are caught up and quiet for after, and
// returns the time until the next one would be (0: none is waiting).
func (s *splitSet) markIdle(now time.Time, after time.Duration) (next time.Duration) {
	for _, sp := range s.list {
		if sp.ended || sp.idle || !sp.caughtUp {
			continue
		}
		left := after - now.Sub(sp.quiet)
		if left <= 0 {
			sp.idle = true
			continue
		}
		if next == 0 || left < next {
			next = left
		}
	}
	return next
}

// hold lets ended splits hold back the watermark while more are to come; with
// released, those that need not any longer do not. A split without a watermark
// holds nothing.
func (s *splitSet) hold(more, released bool) {
	for _, sp := range s.list {
		switch {
		case more && !sp.passed:
			sp.held = sp.ended && sp.wm != dataflow.TimeMin
		case released:
			sp.held = false
		}
	}
}

func (s *splitSet) allEnded() bool {
	for _, sp := range s.list {
		if !sp.ended {
			return false
		}
	}
	return true
}

func (s *splitSet) idleCount() int {
	n := 0
	for _, sp := range s.list {
		if sp.idle {
			n++
		}
	}
	return n
}
