package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
)

// aheadMax bounds the pieces that are read and not yet taken; pieceBytes is
// about the size of one.
const (
	aheadMax   = 4
	pieceBytes = 256 << 10
)

// NewReader implements connectors.Source.
func (s *Source[T]) NewReader(ctx *connectors.ReaderContext) (connectors.Reader, error) {
	if s.err != nil {
		return nil, s.err
	}
	dec, err := s.dec()
	if err != nil {
		return nil, fmt.Errorf("decoder of source %q: %w", s.Name(), err)
	}
	life, cancel := context.WithCancel(context.Background())
	r := &reader[T]{
		src: s, ctx: ctx, dec: dec, cancel: cancel, at: make(map[string]int),
		pieces: make(chan piece, aheadMax), more: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go r.run(life)
	return r, nil
}

// reader reads its splits one after the other on a goroutine of its own,
// which Close ends.
type reader[T any] struct {
	src    *Source[T]
	ctx    *connectors.ReaderContext
	dec    formats.Decoder[T] // used by run only
	cancel context.CancelFunc
	pieces chan piece
	more   chan struct{} // says that todo has grown; has room for one
	done   chan struct{}

	splits []connectors.Split // as of what Next returned
	at     map[string]int     // index in splits

	mu   sync.Mutex
	todo []connectors.Split // guarded by mu
}

// piece is what run hands to Next.
type piece struct {
	fetched connectors.Fetched
	next    position
	err     error
}

// AddSplits implements connectors.Reader.
func (r *reader[T]) AddSplits(splits []connectors.Split) error {
	for _, s := range splits {
		if _, err := parsePosition(s.Position); err != nil {
			return fmt.Errorf("split %q: %w", s.ID, err)
		}
		r.at[s.ID] = len(r.splits)
		r.splits = append(r.splits, s)
	}
	r.mu.Lock()
	r.todo = append(r.todo, splits...)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
	return nil
}

// Next implements connectors.Reader.
func (r *reader[T]) Next() (connectors.Fetched, bool, error) {
	select {
	case p := <-r.pieces:
		if p.err != nil {
			return connectors.Fetched{}, false, p.err
		}
		r.splits[r.at[p.fetched.Split]].Position = p.next.encode()
		return p.fetched, true, nil
	default:
		return connectors.Fetched{}, false, nil
	}
}

// Snapshot implements connectors.Reader.
func (r *reader[T]) Snapshot() []connectors.Split {
	return append([]connectors.Split(nil), r.splits...)
}

// Committed implements connectors.Reader.
func (r *reader[T]) Committed([]connectors.Split) {}

// Close implements connectors.Reader.
func (r *reader[T]) Close() error {
	r.cancel()
	<-r.done
	return nil
}

func (r *reader[T]) run(life context.Context) {
	defer close(r.done)
	for {
		s, ok := r.take()
		if !ok {
			select {
			case <-life.Done():
				return
			case <-r.more:
			}
			continue
		}
		if err := r.read(life, s); err != nil {
			r.send(life, piece{err: err})
			return
		}
	}
}

func (r *reader[T]) take() (s connectors.Split, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.todo) == 0 {
		return s, false
	}
	s = r.todo[0]
	r.todo = r.todo[1:]
	return s, true
}

// send hands a piece over; false: the reader was closed.
func (r *reader[T]) send(life context.Context, p piece) bool {
	select {
	case r.pieces <- p:
		r.ctx.Wake()
		return true
	case <-life.Done():
		return false
	}
}

// read delivers the lines of a split from its position on.
func (r *reader[T]) read(life context.Context, s connectors.Split) error {
	at, err := parsePosition(s.Position)
	if err != nil {
		return err
	}
	l, err := openLines(pathOf(s.ID), at, r.src.cfg.LineBytesMax)
	if err != nil {
		return &connectors.FatalError{Code: "LEAT5302", What: fmt.Sprintf("file of split %q cannot be read", s.ID), Why: err.Error(), Fix: "files must stay as they are, on every machine, until the job has read them"}
	}
	defer l.close()
	for {
		p, end, err := r.piece(s.ID, l)
		if err != nil {
			return err
		}
		p.fetched.SplitEnd, p.fetched.CaughtUp = end, end
		if !r.send(life, p) || end {
			return nil
		}
	}
}

// piece decodes the next lines of a split.
func (r *reader[T]) piece(id string, l *lines) (p piece, end bool, err error) {
	p.fetched.Split = id
	var rows []T
	var arena codec.Arena
	origin := &columnar.Origin{Split: id}
	for size := 0; size < pieceBytes && len(rows) < columnar.BatchRowsMax; {
		line, offset, err := l.next()
		if errors.Is(err, errEnd) {
			end = true
			break
		}
		if err != nil {
			return p, false, fmt.Errorf("split %q: %w", id, err)
		}
		size += len(line) + 1
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var row T
		rec := formats.Record{Value: line, Timestamp: dataflow.TimeNone, Topic: l.path, Offset: offset}
		if err := r.dec.Decode(&rec, &row, &arena); err != nil {
			if !r.ctx.DeadLetters {
				return p, false, fmt.Errorf("line at byte %d of %s: %w", offset, l.path, err)
			}
			p.fetched.Bad = append(p.fetched.Bad, connectors.DeadLetter{
				Error: err.Error(), Topic: l.path, Offset: offset, Timestamp: dataflow.TimeNone, Value: bytes.Clone(line),
			})
			continue
		}
		rows = append(rows, row)
		origin.Positions = append(origin.Positions, offset)
	}
	if len(rows) > 0 {
		p.fetched.Batch = &columnar.Batch{Rows: rows, Origin: origin}
	}
	p.next = l.position()
	return p, end, nil
}
