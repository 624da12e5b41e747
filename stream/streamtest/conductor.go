package streamtest

import (
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/dataflow"
)

// Timing says in which order the splits of all inputs bring their rows.
type Timing int

const (
	// Free: splits go ahead independently, by chance: as in the engine, the
	// results must not depend on it. Which rows are late does.
	Free Timing = iota
	// InOrder: of all splits, the one whose next row has the least event time
	// goes first, inputs and splits that were made first among equals. All
	// subtasks know the watermark of a whole input at once. So the same rows
	// are late in every way, and rows of different inputs meet in the same
	// order: for cases that say what exactly comes out.
	InOrder
)

// conductor gives the elements of scripts to a job, one step after the other.
// All it knows lies in the feeds, which are part of checkpoints.
type conductor struct {
	feeds  []*feed
	timing Timing
	batch  int
	rng    *rand.Rand
}

// place is the next element of a split.
type place struct {
	feed  *feed
	split int
}

// step gives one batch or one element, and reports whether there was any.
func (c *conductor) step(l *life) (more bool, err error) {
	p, ok := c.next()
	if !ok {
		return false, nil
	}
	if err := l.room(); err != nil {
		return false, err
	}
	return true, c.play(l, p)
}

// next chooses the split whose turn it is.
func (c *conductor) next() (chosen place, ok bool) {
	open, best := 0, dataflow.TimeMax
	for _, f := range c.feeds {
		for i := range f.splits {
			if f.splits[i].ended {
				continue
			}
			open++
			if c.timing == Free && c.rng.IntN(open) == 0 {
				chosen = place{f, i}
			}
			if at := f.headTime(i); c.timing == InOrder && (open == 1 || at < best) {
				chosen, best = place{f, i}, at
			}
		}
	}
	return chosen, open > 0
}

// headTime returns the event time of a split's next element; what is no row
// comes right behind the row before it.
func (f *feed) headTime(split int) int64 {
	i := f.splits[split].next
	if i == f.script.len(split) {
		return dataflow.TimeMin
	}
	if kind, at := f.script.at(split, i); kind == elementRow {
		return at
	}
	return dataflow.TimeMin
}

// play gives what a split has next.
func (c *conductor) play(l *life, p place) error {
	s := &p.feed.splits[p.split]
	if s.next == p.feed.script.len(p.split) {
		s.ended = true
		return l.tell(p.feed)
	}
	first := s.next
	kind, at := p.feed.script.at(p.split, first)
	s.next++
	switch kind {
	case elementWatermark:
		s.wm = max(s.wm, at)
		return l.tell(p.feed)
	case elementIdle:
		s.idle = true
		return l.tell(p.feed)
	case elementAdvance:
		l.run.clock.Advance(time.Duration(at) * time.Millisecond)
		return l.rest()
	}
	for s.next-first < c.batch && c.goesOn(p) {
		s.next++
	}
	subtask := p.split % len(l.subtasksOf(p.feed))
	return l.give(p.feed, p.split, subtask, p.feed.script.batch(p.split, first, s.next-first), s.next-first)
}

// goesOn reports whether a split's next element is a row of the same batch.
func (c *conductor) goesOn(p place) bool {
	i := p.feed.splits[p.split].next
	if i == p.feed.script.len(p.split) {
		return false
	}
	if kind, _ := p.feed.script.at(p.split, i); kind != elementRow {
		return false
	}
	if c.timing == Free {
		return true
	}
	n, _ := c.next()
	return n == p
}
