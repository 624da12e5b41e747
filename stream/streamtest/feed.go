package streamtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
)

// feed stands in for a source: what the test gives to it leaves the source's
// subtasks at once. Split i belongs to subtask i modulo parallelism.
type feed struct {
	uid string
	// whole makes all subtasks know the watermark of all splits, so that it
	// does not depend on parallelism.
	whole bool
	// aside keeps it out of event time (stream.NoWatermarks).
	aside  bool
	splits []feedSplit
	script script // nil when a test drives it by hand
	// idleAfter is how long a split is quiet until it is idle; 0: for ever.
	idleAfter time.Duration
	passed    time.Duration // by Driver.Advance
}

// feedSplit is how far a split has come.
type feedSplit struct {
	next  int   // element of the script
	rows  int64 // given so far
	wm    int64
	idle  bool
	ended bool
	quiet time.Duration // what had passed when its last row came
	// lapsed says that it is idle since it has been quiet for long.
	lapsed bool
}

func newFeed(uid string, splits int, whole bool) *feed {
	f := &feed{uid: uid, whole: whole, splits: make([]feedSplit, splits)}
	f.restore(nil)
	return f
}

func (f *feed) positions() []feedSplit { return append([]feedSplit(nil), f.splits...) }

func (f *feed) restore(from *saved) {
	for i := range f.splits {
		f.splits[i] = feedSplit{wm: dataflow.TimeMin}
	}
	if from != nil {
		known := from.feeds[f.uid]
		f.grow(len(known))
		copy(f.splits, known)
	}
	for i := range f.splits {
		s := &f.splits[i]
		s.idle, s.lapsed, s.quiet = s.idle && !s.lapsed, false, f.passed
	}
}

// grow makes sure that there are n splits.
func (f *feed) grow(n int) {
	for len(f.splits) < n {
		f.splits = append(f.splits, feedSplit{wm: dataflow.TimeMin, quiet: f.passed})
	}
}

// untilIdle returns how long it is until the next split turns idle, if nothing
// comes.
func (f *feed) untilIdle() (left time.Duration, ok bool) {
	for _, s := range f.splits {
		if f.idleAfter <= 0 || s.idle || s.ended {
			continue
		}
		if l := max(0, s.quiet+f.idleAfter-f.passed); !ok || l < left {
			left, ok = l, true
		}
	}
	return left, ok
}

// pass lets time pass, and reports whether a split has turned idle.
func (f *feed) pass(d time.Duration) (turned bool) {
	f.passed += d
	for i := range f.splits {
		s := &f.splits[i]
		if f.idleAfter > 0 && !s.idle && !s.ended && f.passed-s.quiet >= f.idleAfter {
			s.idle, s.lapsed, turned = true, true, true
		}
	}
	return turned
}

// merged returns what a subtask knows: the least watermark of its active
// splits, else the greatest of all.
func (f *feed) merged(subtask, of int) (wm int64, idle, ended bool) {
	least, most := dataflow.TimeMax, dataflow.TimeMin
	idle, ended = true, true
	for i, s := range f.splits {
		if !f.whole && i%of != subtask {
			continue
		}
		most = max(most, s.wm)
		ended = ended && s.ended
		if !s.idle && !s.ended && !f.aside {
			idle = false
			least = min(least, s.wm)
		}
	}
	if idle {
		return most, true, ended
	}
	return least, false, false
}

// subtasksOf returns the subtasks of a feed.
func (l *life) subtasksOf(f *feed) []*subtask {
	return l.byNode[dataflow.OperatorIDOf(f.uid)]
}

// give emits a batch of a split, as its subtask.
func (l *life) give(f *feed, split, subtask int, b *columnar.Batch, rows int) error {
	s := &f.splits[split]
	s.quiet = f.passed
	if s.idle {
		s.idle, s.lapsed = false, false
		if err := l.tell(f); err != nil {
			return err
		}
	}
	b.Origin = &columnar.Origin{Split: fmt.Sprintf("%s-%d", f.uid, split), First: s.rows}
	s.rows += int64(rows)
	from := l.subtasksOf(f)[subtask]
	from.call(func() error {
		from.out.Emit(b)
		return nil
	})
	return l.rest()
}

// tell makes the subtasks of a feed say what they know.
func (l *life) tell(f *feed) error {
	subs := l.subtasksOf(f)
	for i, s := range subs {
		wm, idle, ended := f.merged(i, len(subs))
		switch {
		case ended:
			s.setIdle(f.aside) // what is idle cannot move the watermark to its end
			s.end()
		case idle:
			s.advance(wm)
			s.setIdle(true)
		default:
			s.setIdle(false)
			s.advance(wm)
		}
	}
	return l.rest()
}

func (l *life) tellAll() error {
	for _, f := range l.run.feeds {
		if err := l.tell(f); err != nil {
			return err
		}
	}
	return l.err
}

// rest lets everything happen that follows from what was done.
func (l *life) rest() error {
	if l.err != nil {
		return l.err
	}
	if err := l.fire(); err != nil {
		return err
	}
	return l.runMail()
}

// fed is the operator of a feed's subtasks.
type fed struct{}

// Open implements operators.Operator.
func (fed) Open(*operators.Context) error { return nil }

// Process implements operators.Operator.
func (fed) Process(int, *columnar.Batch) error { return errors.New("a source was given a batch") }

// Close implements operators.Operator.
func (fed) Close() error { return nil }
