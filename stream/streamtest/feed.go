package streamtest

import (
	"errors"
	"fmt"

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
}

// feedSplit is how far a split has come.
type feedSplit struct {
	next  int   // element of the script
	rows  int64 // given so far
	wm    int64
	idle  bool
	ended bool
}

func newFeed(uid string, splits int, whole bool) *feed {
	f := &feed{uid: uid, whole: whole, splits: make([]feedSplit, splits)}
	f.restore(nil)
	return f
}

func (f *feed) positions() []feedSplit { return append([]feedSplit(nil), f.splits...) }

func (f *feed) restore(from *saved) {
	if from != nil {
		copy(f.splits, from.feeds[f.uid])
		return
	}
	for i := range f.splits {
		f.splits[i] = feedSplit{wm: dataflow.TimeMin}
	}
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
	if s.idle {
		s.idle = false
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
