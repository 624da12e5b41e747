package hybrid

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/leatstream/leat/connectors"
)

// reader has a reader of each source that it holds splits of. In fact that is
// one: splits of the next source come when all others have ended.
type reader[T any] struct {
	src   *Source[T]
	ctx   *connectors.ReaderContext
	inner []connectors.Reader // by source; nil without splits
	stage int                 // the last one with splits
	// ended are splits of stage that had ended before they came here, at
	// their positions; over are those that ended since.
	ended map[string][]byte
	over  map[string]bool
	// tell are splits whose end is to be told.
	tell []string
}

// AddSplits implements connectors.Reader.
func (r *reader[T]) AddSplits(splits []connectors.Split) error {
	byStage := make(map[int][]connectors.Split)
	fresh := make(map[string][]byte)
	latest := r.stage
	for _, s := range splits {
		stage, id, err := parseID(s.ID, len(r.src.stages))
		if err != nil {
			return err
		}
		p, err := parsePosition(s.Position)
		if err != nil {
			return fmt.Errorf("split %q: %w", s.ID, err)
		}
		latest = max(latest, stage)
		if p.ended {
			// Nothing is asked of its source, which may be gone by now.
			r.tell = append(r.tell, s.ID)
			fresh[s.ID] = s.Position
			continue
		}
		byStage[stage] = append(byStage[stage], connectors.Split{ID: id, Position: p.inner})
	}
	if err := r.pass(latest); err != nil {
		return err
	}
	for id, pos := range fresh {
		if stage, _, err := parseID(id, len(r.src.stages)); err == nil && stage == r.stage {
			r.ended[id] = pos
		}
	}
	for _, stage := range slices.Sorted(maps.Keys(byStage)) {
		if stage < r.stage {
			return fmt.Errorf("split %q has not ended, but splits of source %d are being read", idOf(stage, byStage[stage][0].ID), r.stage+1)
		}
		if err := r.add(stage, byStage[stage]); err != nil {
			return err
		}
	}
	if len(r.tell) > 0 && r.ctx.Wake != nil {
		r.ctx.Wake()
	}
	return nil
}

// pass leaves the sources before stage: their splits have all ended, in every
// subtask, and that is in the enumerator's state.
func (r *reader[T]) pass(stage int) error {
	if stage == r.stage {
		return nil
	}
	r.stage = stage
	clear(r.ended)
	clear(r.over)
	return r.close(stage)
}

func (r *reader[T]) add(stage int, splits []connectors.Split) error {
	if r.inner[stage] == nil {
		ctx := *r.ctx
		inner, err := r.src.stages[stage].src.NewReader(&ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", r.src.stages[stage].src.Name(), err)
		}
		r.inner[stage] = inner
	}
	return r.inner[stage].AddSplits(splits)
}

// Next implements connectors.Reader.
func (r *reader[T]) Next() (connectors.Fetched, bool, error) {
	if len(r.tell) > 0 {
		id := r.tell[0]
		r.tell = r.tell[1:]
		return connectors.Fetched{Split: id, SplitEnd: true, CaughtUp: true}, true, nil
	}
	inner := r.inner[r.stage]
	if inner == nil {
		return connectors.Fetched{}, false, nil
	}
	f, ok, err := inner.Next()
	if err != nil {
		return f, false, fmt.Errorf("%s: %w", r.src.stages[r.stage].src.Name(), err)
	}
	if ok {
		f.Split = idOf(r.stage, f.Split)
		if f.SplitEnd {
			r.over[f.Split] = true
		}
	}
	return f, ok, nil
}

// Snapshot implements connectors.Reader. What sources before the current one
// had is not in it.
func (r *reader[T]) Snapshot() []connectors.Split {
	var out []connectors.Split
	for _, id := range slices.Sorted(maps.Keys(r.ended)) {
		out = append(out, connectors.Split{ID: id, Position: r.ended[id]})
	}
	if inner := r.inner[r.stage]; inner != nil {
		for _, s := range inner.Snapshot() {
			id := idOf(r.stage, s.ID)
			out = append(out, connectors.Split{ID: id, Position: position{ended: r.over[id], inner: s.Position}.encode()})
		}
	}
	return out
}

// Committed implements connectors.Reader.
func (r *reader[T]) Committed(splits []connectors.Split) {
	inner := r.inner[r.stage]
	if inner == nil {
		return
	}
	var own []connectors.Split
	for _, s := range splits {
		stage, id, err := parseID(s.ID, len(r.src.stages))
		p, perr := parsePosition(s.Position)
		if err == nil && perr == nil && stage == r.stage && r.ended[s.ID] == nil {
			own = append(own, connectors.Split{ID: id, Position: p.inner})
		}
	}
	inner.Committed(own)
}

// Close implements connectors.Reader.
func (r *reader[T]) Close() error { return r.close(len(r.inner)) }

// close closes the readers of the sources before stage.
func (r *reader[T]) close(stage int) error {
	var errs []error
	for i, inner := range r.inner[:stage] {
		if inner != nil {
			errs = append(errs, inner.Close())
			r.inner[i] = nil
		}
	}
	return errors.Join(errs...)
}
