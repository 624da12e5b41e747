package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
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
		return nil, fmt.Errorf("decoder: %w", err)
	}
	d, err := depotOf(s.cfg.Pattern, s.cfg.S3, ctx.Clock)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.Background())
	r := &reader[T]{
		src: s, ctx: ctx, dec: dec, depot: d, cancel: cancel, at: make(map[string]int),
		pieces: make(chan piece, aheadMax), more: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if h, ok := dec.(formats.HeaderDecoder); ok && h.HasHeader() {
		r.headed = h
	}
	r.joiner = joinerOf(dec)
	go r.run(life)
	return r, nil
}

// reader reads its splits one after the other on a goroutine of its own,
// which Close ends.
type reader[T any] struct {
	src    *Source[T]
	ctx    *connectors.ReaderContext
	depot  depot.Depot
	dec    formats.Decoder[T]    // used by run only
	headed formats.HeaderDecoder // dec, if files have headers
	joiner formats.LineJoiner    // dec, if records may go over lines
	rec    formats.Record        // used by run only
	zero   T
	usual  int // rows of the last piece
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
	return r.depot.Close()
}

// joinerOf returns the decoder if its records may go over several lines.
func joinerOf(dec any) formats.LineJoiner {
	if j, ok := dec.(formats.LineJoiner); ok && j.JoinsLines() {
		return j
	}
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

// read sends the records of a split from its position on.
func (r *reader[T]) read(life context.Context, s connectors.Split) error {
	at, err := parsePosition(s.Position)
	if err != nil {
		return err
	}
	if at.next >= at.end {
		r.send(life, piece{fetched: connectors.Fetched{Split: s.ID, SplitEnd: true, CaughtUp: true}, next: at})
		return nil
	}
	path := pathOf(s.ID)
	l := &lines{from: r.depot, file: at.file(path), at: at, most: r.src.cfg.LineBytesMax, joiner: r.joiner}
	defer l.close()
	if err := l.open(life); err != nil {
		return faultOf(s.ID, err)
	}
	if err := r.header(life, l); err != nil {
		return err
	}
	for {
		p, end, err := r.piece(s.ID, l)
		if err != nil {
			return faultOf(s.ID, err)
		}
		p.fetched.SplitEnd, p.fetched.CaughtUp = end, end
		if !r.send(life, p) || end {
			return nil
		}
	}
}

// faultOf says what a person can do about an error of reading.
func faultOf(splitID string, err error) error {
	var framing *formats.FramingError
	switch {
	case errors.As(err, new(*connectors.FatalError)), errors.As(err, new(*connectors.Trouble)), errors.Is(err, context.Canceled):
		return err // an outage is over for the next attempt, perhaps
	case errors.Is(err, depot.ErrChanged):
		return changed(pathOf(splitID), err.Error())
	case errors.As(err, &framing):
		return &connectors.FatalError{Code: "LEAT5307", What: fmt.Sprintf("file of split %q cannot be read on", splitID), Why: err.Error(), Fix: framing.Fix}
	case errors.As(err, new(*recordError)):
		return fmt.Errorf("split %q: %w", splitID, err)
	}
	return &connectors.FatalError{Code: "LEAT5302", What: fmt.Sprintf("file of split %q cannot be read", splitID), Why: err.Error(),
		Fix: "files must stay as they are, on every machine, until the job has read them"}
}

// changed is the fault of a file that is not what it was.
func changed(path, why string) error {
	return &connectors.FatalError{
		Code: "LEAT5304", What: fmt.Sprintf("file %s has changed since it was found", path), Why: why,
		Fix: "write files elsewhere and move them into their place when they are complete; to read one again give it another name",
	}
}

// recordError is a record that fails the job, since no dead letters are wanted.
type recordError struct {
	path   string
	offset int64
	err    error
}

func (e *recordError) Error() string {
	return fmt.Sprintf("line at byte %d of %s: %v", e.offset, e.path, e.err)
}

func (e *recordError) Unwrap() error { return e.err }

// header tells the decoder the header of the split's file.
func (r *reader[T]) header(ctx context.Context, l *lines) error {
	if r.headed == nil {
		return nil
	}
	line, err := l.header(ctx)
	if err != nil {
		return faultOf(l.file.Path+":0", err)
	}
	if line == nil {
		return nil // there are no records
	}
	if err := r.headed.ReadHeader(line); err != nil {
		return &connectors.FatalError{Code: "LEAT5308", What: fmt.Sprintf("the header of %s does not fit", l.file.Path), Why: err.Error(),
			Fix: "correct the file or the names of the fields; a decoder can be told that files have no header"}
	}
	return nil
}

// blank reports whether a line is no record: an empty one, and for formats
// that have no say in lines one of white space.
func (r *reader[T]) blank(line []byte) bool {
	if r.headed != nil {
		return len(line) == 0
	}
	return len(bytes.TrimSpace(line)) == 0
}

// piece decodes the next records of a split.
func (r *reader[T]) piece(id string, l *lines) (p piece, end bool, err error) {
	p.fetched.Split = id
	rows := make([]T, 0, r.usual)
	var arena codec.Arena
	origin := &columnar.Origin{Split: id, Positions: make([]int64, 0, r.usual)}
	for size := 0; size < pieceBytes && len(rows) < columnar.BatchRowsMax; {
		line, offset, err := l.next()
		if errors.Is(err, errEnd) {
			end = true
			break
		}
		if err != nil {
			return p, false, err
		}
		size += len(line) + 1
		if r.blank(line) {
			continue
		}
		r.rec = formats.Record{Value: line, Timestamp: dataflow.TimeNone, Topic: l.file.Path, Offset: offset}
		rows = append(rows, r.zero)
		if err := r.dec.Decode(&r.rec, &rows[len(rows)-1], &arena); err != nil {
			rows = rows[:len(rows)-1]
			if !r.ctx.DeadLetters || errors.As(err, new(*formats.FramingError)) {
				return p, false, &recordError{l.file.Path, offset, err}
			}
			p.fetched.Bad = append(p.fetched.Bad, connectors.DeadLetter{
				Error: err.Error(), Topic: l.file.Path, Offset: offset, Timestamp: dataflow.TimeNone, Value: bytes.Clone(line),
			})
			continue
		}
		origin.Positions = append(origin.Positions, offset)
	}
	if r.usual = len(rows); len(rows) > 0 {
		p.fetched.Batch = &columnar.Batch{Rows: rows, Origin: origin}
	}
	p.next = l.position()
	return p, end, nil
}
