package files

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats"
)

// sealedMax bounds the checkpoints whose files wait for their commit: each has
// one committable.
const sealedMax = 16

// writer is a connectors.Writer.
type writer[T any] struct {
	sink      *Sink[T]
	ctx       *connectors.WriterContext
	enc       formats.Encoder[T]
	extension string
	header    []byte
	depot     depot.Depot
	folder    depot.Folder
	behind    depot.Behind // nil: files are written at once
	cancel    context.CancelFunc

	open map[string]*output // by bucket
	last *output            // that of the row before
	// finished are files of this checkpoint to which nothing is added.
	finished []depot.File
	made     int
	ticks    int64
	rec      formats.Out
	packers  []*gzip.Writer // for reuse
}

// output is a file that is being written.
type output struct {
	bucket string
	file   depot.File
	packer *gzip.Writer // nil: not packed
	bytes  int64        // that reached file
	tick   int64        // of the last row
}

// Write implements io.Writer below the packer.
func (o *output) Write(p []byte) (int, error) {
	o.bytes += int64(len(p))
	return o.file.Write(p)
}

func (o *output) add(line []byte) (err error) {
	if o.packer != nil {
		_, err = o.packer.Write(line)
	} else {
		_, err = o.Write(line)
	}
	return err
}

// family begins the names of the files of this sink in this life of the job.
// The rest of the operator's id is left out for people's sake.
func (w *writer[T]) family() string {
	id := w.ctx.Info.Operator
	return fmt.Sprintf("part-%s-%s-", id[:min(8, len(id))], w.ctx.Incarnation)
}

// nameOf names a new file. Attempts only grow, so that no name is used twice.
func (w *writer[T]) nameOf(bucket string) string {
	w.made++
	return path.Join(bucket, fmt.Sprintf("%s%d-%d-%d%s", w.family(), w.ctx.Info.Subtask, w.ctx.Info.Attempt, w.made, w.extension))
}

// Recover implements connectors.Writer: it commits what the checkpoint holds
// and removes the other unpublished files of this sink that it owns.
func (w *writer[T]) Recover(ctx context.Context, prepared []connectors.Committable) error {
	keep := make(map[string]bool)
	var mine []connectors.Committable
	for _, c := range prepared {
		files, err := parse(c)
		if err != nil {
			return err
		}
		for _, f := range files {
			keep[f.Handle] = true
		}
		if w.owns(c.Owner) {
			mine = append(mine, c)
		}
	}
	if err := w.Commit(ctx, mine); err != nil {
		return err
	}
	family := w.family()
	return w.folder.Sweep(ctx, func(base, handle string) bool {
		rest, ours := strings.CutPrefix(base, family)
		number, _, _ := strings.Cut(rest, "-")
		owner, err := strconv.Atoi(number)
		return ours && err == nil && w.owns(owner) && !keep[handle]
	})
}

func (w *writer[T]) owns(owner int) bool {
	return owner%w.ctx.Info.Parallelism == w.ctx.Info.Subtask
}

// Write implements connectors.Writer.
func (w *writer[T]) Write(b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	w.ticks++
	for i := range rows {
		bucket, err := w.encode(&rows[i])
		if err != nil {
			if w.ctx.Reject == nil {
				return err
			}
			w.ctx.Reject(b, i, err)
			continue
		}
		o, err := w.outputOf(bucket)
		if err != nil {
			return err
		}
		o.tick = w.ticks
		if err := o.add(w.rec.Value); err != nil {
			return err
		}
		if o.bytes >= w.sink.cfg.RollBytes {
			if err := w.finish(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode makes the row's line in w.rec.Value and returns its bucket.
func (w *writer[T]) encode(row *T) (bucket string, err error) {
	w.rec = formats.Out{Key: w.rec.Key[:0], Value: w.rec.Value[:0], Headers: w.rec.Headers[:0], Timestamp: dataflow.TimeNone}
	if err := w.enc.Encode(row, &w.rec); err != nil {
		return "", err
	}
	w.rec.Value = append(w.rec.Value, '\n')
	if w.sink.bucket == nil {
		return "", nil
	}
	bucket = w.sink.bucket(*row)
	if w.last != nil && w.last.bucket == bucket {
		return bucket, nil
	}
	return bucket, checkBucket(bucket)
}

// outputOf returns the open file of a bucket.
func (w *writer[T]) outputOf(bucket string) (*output, error) {
	if w.last != nil && w.last.bucket == bucket {
		return w.last, nil
	}
	o := w.open[bucket]
	if o == nil {
		if len(w.open) >= w.sink.cfg.OpenMax {
			if err := w.finish(w.oldest()); err != nil {
				return nil, err
			}
		}
		var err error
		if o, err = w.begin(bucket); err != nil {
			return nil, err
		}
	}
	w.last = o
	return o, nil
}

// oldest is the open file that was not written to for the longest.
func (w *writer[T]) oldest() (found *output) {
	for _, o := range w.open {
		if found == nil || o.tick < found.tick || o.tick == found.tick && o.bucket < found.bucket {
			found = o
		}
	}
	return found
}

func (w *writer[T]) begin(bucket string) (*output, error) {
	if most := w.sink.cfg.FilesMax; len(w.finished)+len(w.open) >= most {
		return nil, &connectors.FatalError{
			Code: "LEAT5311", What: fmt.Sprintf("a subtask of sink %q made %d files in one checkpoint", w.sink.Name(), most),
			Why: fmt.Sprintf("it keeps %d files open, and ends one at %d bytes or to write to another bucket", w.sink.cfg.OpenMax, w.sink.cfg.RollBytes),
			Fix: "fewer buckets, a larger OpenMax or RollBytes, more frequent checkpoints, or FilesMax",
		}
	}
	f, err := w.folder.Create(w.nameOf(bucket))
	if err != nil {
		return nil, err
	}
	o := &output{bucket: bucket, file: f}
	if w.sink.cfg.Compression == Gzip {
		o.packer = w.packer(o)
	}
	w.open[bucket] = o
	return o, o.add(w.header)
}

// packer returns a packer that writes to o.
func (w *writer[T]) packer(o *output) *gzip.Writer {
	n := len(w.packers)
	if n == 0 {
		return gzip.NewWriter(o)
	}
	p := w.packers[n-1]
	w.packers = w.packers[:n-1]
	p.Reset(o)
	return p
}

// finish ends a file.
func (w *writer[T]) finish(o *output) error {
	delete(w.open, o.bucket)
	if w.last == o {
		w.last = nil
	}
	if o.packer != nil {
		if err := o.packer.Close(); err != nil {
			return err
		}
		w.packers = append(w.packers, o.packer)
	}
	w.finished = append(w.finished, o.file)
	return o.file.Finish()
}

// Ready implements connectors.Writer.
func (w *writer[T]) Ready() bool { return w.behind == nil || !w.behind.Busy() }

// Flush implements connectors.Writer: files that are open are ended, since
// S3 takes a short part only as the last one.
func (w *writer[T]) Flush(ctx context.Context) error {
	for len(w.open) > 0 {
		if err := w.finish(w.oldest()); err != nil {
			return err
		}
	}
	for _, f := range w.finished {
		if _, err := f.Seal(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Prepare implements connectors.Writer.
func (w *writer[T]) Prepare(ctx context.Context, _ dataflow.CheckpointID, _ bool) ([]connectors.Committable, error) {
	if err := w.Flush(ctx); err != nil {
		return nil, err
	}
	if len(w.finished) == 0 {
		return nil, nil
	}
	sealed := make([]depot.Sealed, len(w.finished))
	for i, f := range w.finished {
		var err error
		if sealed[i], err = f.Seal(ctx); err != nil {
			return nil, err
		}
	}
	w.finished = nil
	data, err := encodeCommittable(sealed)
	return []connectors.Committable{{Owner: w.ctx.Info.Subtask, Data: data}}, err
}

// Commit implements connectors.Writer.
func (w *writer[T]) Commit(ctx context.Context, all []connectors.Committable) error {
	var files []depot.Sealed
	for _, c := range all {
		more, err := parse(c)
		if err != nil {
			return err
		}
		files = append(files, more...)
	}
	err := w.folder.Publish(ctx, files)
	if errors.Is(err, depot.ErrGone) {
		return &connectors.FatalError{
			Code: "LEAT5303", What: "a file of a committed checkpoint is gone", Why: err.Error() + ": its rows are lost, or something else removed or changed the file",
			Fix: "leave the files of a running job alone, hidden ones and uploads too, until its next checkpoint; start from an older savepoint to write the rows again",
		}
	}
	return err
}

// SealedMax implements connectors.Writer.
func (w *writer[T]) SealedMax() int { return sealedMax }

// Close implements connectors.Writer.
func (w *writer[T]) Close() error {
	w.cancel()
	for _, o := range w.open {
		o.file.Discard()
	}
	if w.behind != nil {
		w.behind.Wait()
	}
	return w.depot.Close()
}
