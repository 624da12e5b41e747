package dispatcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/leatstream/leat/runtime/ha"
)

// journalMax bounds the commits that wait; a caller waits for room.
const journalMax = 1024

// journal groups the writes of many jobs: while one transaction is under way
// those that come meanwhile are gathered into the next, so that the load on
// the coordination service does not grow with the number of jobs.
type journal struct {
	leadership ha.Leadership
	queue      chan *commit
	ended      chan struct{} // closed when run returns
}

type commit struct {
	writes []ha.Write
	done   chan error // has room for the answer
}

func newJournal(l ha.Leadership) *journal {
	return &journal{leadership: l, queue: make(chan *commit, journalMax), ended: make(chan struct{})}
}

// Load implements jobmaster.Journal.
func (j *journal) Load(ctx context.Context, prefix string) (map[string][]byte, error) {
	return j.leadership.Load(ctx, prefix)
}

// Commit implements jobmaster.Journal. When ctx or run ends meanwhile the
// result is unknown.
func (j *journal) Commit(ctx context.Context, writes []ha.Write) error {
	c := &commit{writes: writes, done: make(chan error, 1)}
	select {
	case j.queue <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-j.ended:
		return ha.ErrFenced
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return errors.Join(ha.ErrUnknown, ctx.Err())
	case <-j.ended:
		return fmt.Errorf("%w: the leadership has ended", ha.ErrUnknown)
	}
}

// run commits until ctx ends.
func (j *journal) run(ctx context.Context) {
	defer close(j.ended)
	var held *commit
	for {
		first := held
		if first == nil {
			select {
			case first = <-j.queue:
			case <-ctx.Done():
				return
			}
		}
		batch, rest := j.gather(first)
		held = rest
		j.flush(ctx, batch)
	}
}

// gather takes what waits, up to the limit of a transaction; rest did not fit.
// No key is written twice in one transaction.
func (j *journal) gather(first *commit) (batch []*commit, rest *commit) {
	batch = []*commit{first}
	keys := make(map[string]bool)
	n := 0
	add := func(c *commit) {
		n += len(c.writes)
		for _, w := range c.writes {
			keys[w.Key] = true
		}
	}
	add(first)
	for {
		select {
		case c := <-j.queue:
			if n+len(c.writes) > ha.WritesMax || overlaps(keys, c.writes) {
				return batch, c
			}
			add(c)
			batch = append(batch, c)
		default:
			return batch, nil
		}
	}
}

func overlaps(keys map[string]bool, writes []ha.Write) bool {
	for _, w := range writes {
		if keys[w.Key] {
			return true
		}
	}
	return false
}

// flush commits a batch. When it certainly failed, each part is tried alone,
// so that one job's refused write does not hold up the others.
func (j *journal) flush(ctx context.Context, batch []*commit) {
	var all []ha.Write
	for _, c := range batch {
		all = append(all, c.writes...)
	}
	err := j.leadership.Commit(ctx, all)
	if err == nil || len(batch) == 1 || errors.Is(err, ha.ErrFenced) || errors.Is(err, ha.ErrUnknown) {
		for _, c := range batch {
			c.done <- err
		}
		return
	}
	for _, c := range batch {
		c.done <- j.leadership.Commit(ctx, c.writes)
	}
}
