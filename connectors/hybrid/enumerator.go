package hybrid

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/internal/fields"
)

// enumerator is that of the current source; Advance and Discover make the step
// to the next.
type enumerator[T any] struct {
	src   *Source[T]
	ctx   *connectors.EnumeratorContext
	stage int
	inner connectors.Enumerator
	// end is where the current source has ended, nil before.
	end *End
}

var (
	_ connectors.StagedEnumerator = (*enumerator[int])(nil)
	_ connectors.Momentary        = (*enumerator[int])(nil)
)

func newEnumerator[T any](s *Source[T], ctx *connectors.EnumeratorContext) (*enumerator[T], error) {
	e := &enumerator[T]{src: s, ctx: ctx}
	var state []byte
	if ctx.Restored != nil {
		var err error
		if e.stage, state, err = decodeState(ctx.Restored, len(s.stages)); err != nil {
			return nil, err
		}
	}
	var err error
	e.inner, err = e.open(s.stages[e.stage].src, state)
	return e, err
}

// open makes the enumerator of one source.
func (e *enumerator[T]) open(src connectors.Source, state []byte) (connectors.Enumerator, error) {
	ctx := *e.ctx
	ctx.Restored = state
	inner, err := src.NewEnumerator(&ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src.Name(), err)
	}
	return inner, nil
}

// Discover implements connectors.Enumerator. A step to the next source that
// fails leaves all as it was.
func (e *enumerator[T]) Discover(ctx context.Context) ([]connectors.Split, error) {
	if e.end == nil {
		return e.discover(ctx, e.inner, e.stage)
	}
	next := e.stage + 1
	src, err := e.begin(ctx, next)
	if err != nil {
		return nil, err
	}
	inner, err := e.open(src, nil)
	if err != nil {
		return nil, err
	}
	splits, err := e.discover(ctx, inner, next)
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	old := e.inner
	e.inner, e.stage, e.end = inner, next, nil
	if err := old.Close(); err != nil && e.ctx.Log != nil {
		e.ctx.Log.Warn("closing what found the splits of a source that has ended", "source", e.src.stages[next-1].src.Name(), "error", err)
	}
	return splits, nil
}

// begin returns a source with its start.
func (e *enumerator[T]) begin(ctx context.Context, stage int) (connectors.SourceOf[T], error) {
	st := e.src.stages[stage]
	if !st.derived {
		return st.src, nil
	}
	src, err := st.start(ctx, *e.end)
	if err != nil {
		return nil, fmt.Errorf("the start of %s: %w", st.src.Name(), err)
	}
	if isNil(src) {
		return nil, &connectors.FatalError{
			Code: codeStart, What: fmt.Sprintf("the function that gives the start of %s returned nil", st.src.Name()),
			Fix: "return the source, or an error",
		}
	}
	if src.Bounded() != st.src.Bounded() {
		return nil, &connectors.FatalError{
			Code: codeStart, What: fmt.Sprintf("the start of %s changes whether it ends", st.src.Name()),
			Fix: "give Then a source that differs from the one its function returns in the start only",
		}
	}
	return src, nil
}

// codeStart is of a start that does not fit its source.
const codeStart = "LEAT5401"

func (e *enumerator[T]) discover(ctx context.Context, inner connectors.Enumerator, stage int) ([]connectors.Split, error) {
	if stage < len(e.src.stages)-1 && inner.Interval() > 0 {
		return nil, &connectors.FatalError{
			Code: codeStart, What: fmt.Sprintf("%s looks for splits again and again, so it never ends", e.src.stages[stage].src.Name()),
			Fix: "put it last, or switch that off",
		}
	}
	splits, err := inner.Discover(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.src.stages[stage].src.Name(), err)
	}
	out := make([]connectors.Split, len(splits))
	for i, s := range splits {
		out[i] = connectors.Split{ID: idOf(stage, s.ID), Position: position{inner: s.Position}.encode()}
	}
	return out, nil
}

// More implements connectors.StagedEnumerator.
func (e *enumerator[T]) More() bool { return e.stage < len(e.src.stages)-1 }

// Advance implements connectors.StagedEnumerator.
func (e *enumerator[T]) Advance(ended []connectors.EndedSplit) {
	end := &End{}
	for _, s := range ended {
		_, id, err := parseID(s.ID, len(e.src.stages))
		p, perr := parsePosition(s.Position)
		if err != nil || perr != nil {
			continue // both are of our own making
		}
		end.Splits = append(end.Splits, connectors.EndedSplit{Split: connectors.Split{ID: id, Position: p.inner}, Watermark: s.Watermark})
	}
	e.end = end
}

// Momentary implements connectors.Momentary for the first source; each step to
// another is in a checkpoint before anything of it is read.
func (e *enumerator[T]) Momentary() bool {
	m, ok := e.inner.(connectors.Momentary)
	return ok && m.Momentary()
}

// Interval implements connectors.Enumerator.
func (e *enumerator[T]) Interval() time.Duration { return e.inner.Interval() }

// Snapshot implements connectors.Enumerator: docs/formats/hybrid.md.
func (e *enumerator[T]) Snapshot() ([]byte, error) {
	state, err := e.inner.Snapshot()
	if err != nil {
		return nil, err
	}
	b := binary.AppendUvarint([]byte{stateVersion}, uint64(e.stage))
	b = binary.AppendUvarint(b, uint64(len(state)))
	return append(b, state...), nil
}

// stateVersion is the first byte of the enumerator's state.
const stateVersion = 1

func decodeState(b []byte, stages int) (stage int, inner []byte, err error) {
	if len(b) == 0 || b[0] != stateVersion {
		return 0, nil, fmt.Errorf("state of a hybrid source: version %.1x, want %d: restore with the release that wrote it", b, stateVersion)
	}
	f := fields.Read(b[1:])
	n := f.Uvarint()
	inner = f.Bytes()
	if !f.Whole() {
		return 0, nil, fmt.Errorf("state of a hybrid source is damaged: %.40x", b)
	}
	if n >= uint64(stages) {
		return 0, nil, fmt.Errorf("the checkpoint reads source %d of a hybrid source that has %d: sources may be added at its end, but not taken away", n+1, stages)
	}
	// An inner state is never nil: nil is a fresh start.
	return int(n), append([]byte{}, inner...), nil
}

// Close implements connectors.Enumerator.
func (e *enumerator[T]) Close() error { return e.inner.Close() }
