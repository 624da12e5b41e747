package datagen

import (
	"math/rand/v2"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/internal/clock"
)

// paceInterval is how often a source with a rate makes rows.
const paceInterval = 10 * time.Millisecond

// NewReader implements connectors.Source.
func (s *Source[T]) NewReader(ctx *connectors.ReaderContext) (connectors.Reader, error) {
	r := &reader[T]{src: s, ctx: ctx}
	r.rng = rand.New(&r.pcg)
	return r, s.err
}

type reader[T any] struct {
	src    *Source[T]
	ctx    *connectors.ReaderContext
	splits []*part
	turn   int
	pcg    rand.PCG
	rng    *rand.Rand
	stop   chan struct{} // ends the pacer; nil when there is none
	done   chan struct{}
}

// part is a split being made.
type part struct {
	id    string
	index int64
	made  int64
	rows  int64 // -1: without end
	ended bool
	// With a rate: since when it counts, and what was made before.
	since  time.Time
	before int64
}

// AddSplits implements connectors.Reader.
func (r *reader[T]) AddSplits(splits []connectors.Split) error {
	for _, s := range splits {
		i, err := r.src.index(s.ID)
		if err != nil {
			return err
		}
		made, err := parsePosition(s.Position)
		if err != nil {
			return err
		}
		r.splits = append(r.splits, &part{
			id: s.ID, index: int64(i), made: made, rows: r.src.rows(i),
			since: r.ctx.Clock.Now(), before: made,
		})
	}
	if r.src.cfg.PerSecond > 0 && r.stop == nil {
		r.stop, r.done = make(chan struct{}), make(chan struct{})
		go r.pace(r.ctx.Clock.NewTimer(paceInterval))
	}
	return nil
}

// pace wakes the task at each interval until Close.
func (r *reader[T]) pace(t clock.Timer) {
	defer close(r.done)
	defer t.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-t.C():
			r.ctx.Wake()
			t.Reset(paceInterval)
		}
	}
}

// Next implements connectors.Reader: splits take turns.
func (r *reader[T]) Next() (connectors.Fetched, bool, error) {
	for range r.splits {
		p := r.splits[r.turn%len(r.splits)]
		r.turn++
		if p.ended {
			continue
		}
		if n := r.due(p); n > 0 || p.made == p.rows {
			return r.take(p, n), true, nil
		}
	}
	return connectors.Fetched{}, false, nil
}

// due returns how many rows may be made now.
func (r *reader[T]) due(p *part) int64 {
	n := int64(columnar.BatchRowsMax)
	if rate := r.src.cfg.PerSecond / float64(r.src.cfg.Splits); rate > 0 {
		allowed := int64(r.ctx.Clock.Since(p.since).Seconds() * rate)
		n = min(n, allowed-(p.made-p.before))
	}
	if p.rows >= 0 {
		n = min(n, p.rows-p.made)
	}
	return n
}

func (r *reader[T]) take(p *part, n int64) connectors.Fetched {
	f := connectors.Fetched{Split: p.id}
	if n > 0 {
		rows := make([]T, n)
		for k := range rows {
			i := (p.made+int64(k))*int64(r.src.cfg.Splits) + p.index
			r.pcg.Seed(r.src.cfg.Seed, uint64(i))
			rows[k] = r.src.make(i, r.rng)
		}
		f.Batch = &columnar.Batch{Rows: rows, Origin: &columnar.Origin{Split: p.id, First: p.made}}
		p.made += n
	}
	if p.made == p.rows {
		p.ended, f.SplitEnd, f.CaughtUp = true, true, true
	}
	return f
}

// Snapshot implements connectors.Reader.
func (r *reader[T]) Snapshot() []connectors.Split {
	out := make([]connectors.Split, len(r.splits))
	for i, p := range r.splits {
		out[i] = connectors.Split{ID: p.id, Position: position(p.made)}
	}
	return out
}

// Committed implements connectors.Reader.
func (r *reader[T]) Committed([]connectors.Split) {}

// Close implements connectors.Reader: it waits for the pacer.
func (r *reader[T]) Close() error {
	if r.stop != nil {
		close(r.stop)
		<-r.done
		r.stop = nil
	}
	return nil
}
