package files

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats"
)

// committableVersion is the version of a committable, which is JSON.
const committableVersion = 1

// sealedMax bounds the files that wait for their commit.
const sealedMax = 16

// Sink writes lines to files of a folder, one file for each subtask and
// checkpoint that has rows. A file appears under its name (part-…) when its
// checkpoint is committed; until then it is hidden (.part-…).
type Sink[T any] struct {
	connectors.Typed[T]
	dir string
	enc func() (formats.Encoder[T], error)
	typ columnar.RowType
	err error
}

var _ connectors.SinkOf[int] = (*Sink[int])(nil)

// NewSink returns a sink; enc makes one encoder for each writer. The folder
// is made if need be. A folder without a name is reported when the program is
// built, see Fault.
func NewSink[T any](dir string, enc func() (formats.Encoder[T], error)) *Sink[T] {
	s := &Sink[T]{dir: dir, enc: enc}
	s.typ, s.err = columnar.TypeOf[T]()
	s.err = errors.Join(s.err, s.Fault())
	return s
}

// Fault returns what is wrong with the sink's configuration, nil if nothing.
func (s *Sink[T]) Fault() error {
	if s.dir == "" {
		return errors.New("the sink's folder has no name")
	}
	return nil
}

// Name implements connectors.Sink.
func (s *Sink[T]) Name() string { return "files " + s.dir }

// Detail implements connectors.Sink.
func (s *Sink[T]) Detail() string { return "exactly-once by rename" }

// Transactional implements connectors.Sink.
func (s *Sink[T]) Transactional() bool { return true }

// RowType implements connectors.Sink.
func (s *Sink[T]) RowType() columnar.RowType { return s.typ }

// NewWriter implements connectors.Sink.
func (s *Sink[T]) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	if s.err != nil {
		return nil, s.err
	}
	enc, err := s.enc()
	if err != nil {
		return nil, fmt.Errorf("encoder of sink %q: %w", s.Name(), err)
	}
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return nil, err
	}
	return &writer[T]{dir: s.dir, enc: enc, ctx: ctx}, nil
}

// committable names a file that is complete.
type committable struct {
	Version int    `json:"version"`
	Hidden  string `json:"hidden"`
	Final   string `json:"final"`
}

type writer[T any] struct {
	dir  string
	enc  formats.Encoder[T]
	ctx  *connectors.WriterContext
	file *os.File // nil when nothing was written since the last Prepare
	out  *bufio.Writer
	made int
	rec  formats.Out
}

// prefix begins the hidden files of a subtask number.
func (w *writer[T]) prefix(owner int) string {
	return fmt.Sprintf(".part-%s-%s-%d-", w.ctx.Info.Operator, w.ctx.Incarnation, owner)
}

// Recover implements connectors.Writer: it commits what the checkpoint holds
// and removes the other hidden files of this sink that it owns.
func (w *writer[T]) Recover(ctx context.Context, prepared []connectors.Committable) error {
	keep := make(map[string]bool)
	var mine []connectors.Committable
	for _, c := range prepared {
		p, err := parse(c)
		if err != nil {
			return err
		}
		keep[p.Hidden] = true
		if c.Owner%w.ctx.Info.Parallelism == w.ctx.Info.Subtask {
			mine = append(mine, c)
		}
	}
	if err := w.Commit(ctx, mine); err != nil {
		return err
	}
	return w.sweep(keep)
}

func (w *writer[T]) sweep(keep map[string]bool) error {
	all, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	family := fmt.Sprintf(".part-%s-%s-", w.ctx.Info.Operator, w.ctx.Incarnation)
	for _, e := range all {
		rest, ours := strings.CutPrefix(e.Name(), family)
		owner, _, _ := strings.Cut(rest, "-")
		n, err := strconv.Atoi(owner)
		if !ours || err != nil || n%w.ctx.Info.Parallelism != w.ctx.Info.Subtask || keep[e.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(w.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Write implements connectors.Writer.
func (w *writer[T]) Write(b *columnar.Batch) error {
	if w.file == nil {
		w.made++
		name := w.prefix(w.ctx.Info.Subtask) + fmt.Sprintf("%d-%d", w.ctx.Info.Attempt, w.made)
		f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
		if err != nil {
			return err
		}
		w.file, w.out = f, bufio.NewWriterSize(f, 256<<10)
	}
	rows := columnar.Rows[T](b)
	for i := range rows {
		w.rec = formats.Out{Key: w.rec.Key[:0], Value: w.rec.Value[:0], Headers: w.rec.Headers[:0], Timestamp: dataflow.TimeNone}
		if err := w.enc.Encode(&rows[i], &w.rec); err != nil {
			if w.ctx.Reject == nil {
				return err
			}
			w.ctx.Reject(b, i, err)
			continue
		}
		if _, err := w.out.Write(append(w.rec.Value, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// Ready implements connectors.Writer.
func (w *writer[T]) Ready() bool { return true }

// Flush implements connectors.Writer.
func (w *writer[T]) Flush(context.Context) error {
	if w.file == nil {
		return nil
	}
	return errors.Join(w.out.Flush(), w.file.Sync())
}

// Prepare implements connectors.Writer.
func (w *writer[T]) Prepare(ctx context.Context, cp dataflow.CheckpointID, _ bool) ([]connectors.Committable, error) {
	if w.file == nil {
		return nil, nil
	}
	if err := errors.Join(w.Flush(ctx), w.file.Close()); err != nil {
		return nil, err
	}
	i := w.ctx.Info
	c := committable{
		Version: committableVersion, Hidden: filepath.Base(w.file.Name()),
		Final: fmt.Sprintf("part-%s-%s-%d-%d.jsonl", shortOf(i.Operator), w.ctx.Incarnation, i.Subtask, cp),
	}
	w.file = nil
	data, err := json.Marshal(c)
	return []connectors.Committable{{Owner: i.Subtask, Data: data}}, err
}

// shortOf is enough of an operator's id to tell sinks of one folder apart.
func shortOf(id dataflow.OperatorID) string { return string(id[:min(8, len(id))]) }

func parse(c connectors.Committable) (committable, error) {
	var p committable
	if err := json.Unmarshal(c.Data, &p); err != nil || p.Version != committableVersion {
		return p, fmt.Errorf("committable of a file sink is not of version %d: %.80q", committableVersion, c.Data)
	}
	if filepath.Base(p.Hidden) != p.Hidden || filepath.Base(p.Final) != p.Final {
		return p, fmt.Errorf("committable of a file sink leads out of its folder: %.80q", c.Data)
	}
	return p, nil
}

// Commit implements connectors.Writer: a rename, which may have been done.
func (w *writer[T]) Commit(_ context.Context, all []connectors.Committable) error {
	for _, c := range all {
		p, err := parse(c)
		if err != nil {
			return err
		}
		if err := w.rename(p); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return nil
	}
	return syncDir(w.dir)
}

func (w *writer[T]) rename(p committable) error {
	final := filepath.Join(w.dir, p.Final)
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	err := os.Rename(filepath.Join(w.dir, p.Hidden), final)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &connectors.FatalError{
		Code: "LEAT5303", What: fmt.Sprintf("file %s of a committed checkpoint is gone, and %s is not there", p.Hidden, p.Final),
		Why: "something else removed it: its rows are lost", Fix: "leave hidden files of a running job alone; start from an older savepoint to write the rows again",
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SealedMax implements connectors.Writer.
func (w *writer[T]) SealedMax() int { return sealedMax }

// Close implements connectors.Writer.
func (w *writer[T]) Close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}
