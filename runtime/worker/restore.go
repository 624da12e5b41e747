package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"slices"
	"sync"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/task"
	"github.com/leatstream/leat/state"
)

// restorer reads the state of a checkpoint by its handles. Keyed state is
// fetched by each subtask that overlaps; the rest once for all subtasks of
// this worker. It is safe for concurrent use.
type restorer struct {
	objects  Objects
	foreign  bool                                   // the checkpoint is not the job's own
	handles  map[handleKey][]*controlv1.StateHandle // in order of the old subtasks
	finished map[dataflow.OperatorID]bool

	mu    sync.Mutex
	cache map[handleKey]*fetched // guarded by mu
}

type handleKey struct {
	operator dataflow.OperatorID
	kind     controlv1.StateKind
}

// fetched is state that is being fetched, or was.
type fetched struct {
	once sync.Once
	data [][]byte
	err  error
}

var _ task.Restored = (*restorer)(nil)

// newRestorer returns nil for a fresh start.
func newRestorer(objects Objects, r *controlv1.Restore) *restorer {
	if r == nil {
		return nil
	}
	out := &restorer{
		objects: objects, foreign: r.GetFromSavepoint(), handles: make(map[handleKey][]*controlv1.StateHandle),
		finished: make(map[dataflow.OperatorID]bool), cache: make(map[handleKey]*fetched),
	}
	for _, h := range r.GetHandles() {
		k := handleKey{operator: dataflow.OperatorID(h.GetOperatorId()), kind: h.GetKind()}
		out.handles[k] = append(out.handles[k], h)
	}
	for _, hs := range out.handles {
		slices.SortStableFunc(hs, func(a, b *controlv1.StateHandle) int {
			return cmp.Or(cmp.Compare(a.GetSubtask(), b.GetSubtask()), cmp.Compare(a.GetWritten(), b.GetWritten()))
		})
	}
	for _, id := range r.GetFinishedOperators() {
		out.finished[dataflow.OperatorID(id)] = true
	}
	return out
}

// Finished implements task.Restored.
func (r *restorer) Finished(op dataflow.OperatorID) bool { return r.finished[op] }

// Operator implements task.Restored.
func (r *restorer) Operator(ctx context.Context, op dataflow.OperatorID) ([][]byte, error) {
	return r.all(ctx, handleKey{operator: op, kind: controlv1.StateKind_STATE_KIND_OPERATOR})
}

// Task implements task.Restored.
func (r *restorer) Task(ctx context.Context, vertex dataflow.OperatorID) ([][]byte, error) {
	return r.all(ctx, handleKey{operator: vertex, kind: controlv1.StateKind_STATE_KIND_TASK})
}

func (r *restorer) all(ctx context.Context, k handleKey) ([][]byte, error) {
	r.mu.Lock()
	f := r.cache[k]
	if f == nil {
		f = &fetched{}
		r.cache[k] = f
	}
	r.mu.Unlock()
	f.once.Do(func() {
		for _, h := range r.handles[k] {
			b, err := r.fetch(ctx, h)
			if err != nil {
				f.err = err
				return
			}
			f.data = append(f.data, b)
		}
	})
	return f.data, f.err
}

func (r *restorer) fetch(ctx context.Context, h *controlv1.StateHandle) (out []byte, err error) {
	err = r.read(ctx, h, r.open(ctx, h), func(rd io.Reader) error {
		out = make([]byte, h.GetLength())
		_, err := io.ReadFull(rd, out)
		return err
	})
	return out, err
}

// Channels implements task.Restored.
func (r *restorer) Channels(ctx context.Context, op dataflow.OperatorID) ([][]byte, error) {
	return r.all(ctx, handleKey{operator: op, kind: controlv1.StateKind_STATE_KIND_CHANNEL})
}

// Keyed implements task.Restored.
func (r *restorer) Keyed(ctx context.Context, op dataflow.OperatorID, groups dataflow.KeyGroupRange, fn func(io.Reader, state.RestorePart) error) error {
	for files := range r.chains(op) {
		if err := r.chain(ctx, files, groups, fn); err != nil {
			return err
		}
	}
	return nil
}

// Chain implements task.Restored. What another job owns, and what a savepoint
// is, may be deleted when nothing of this job needs it.
func (r *restorer) Chain(op dataflow.OperatorID, groups dataflow.KeyGroupRange) []*controlv1.StateHandle {
	for files := range r.chains(op) {
		if heldBy(files[0]) == groups && !r.foreign {
			return files
		}
	}
	return nil
}

// chains yields the files of keyed state, those of an old subtask at a time.
func (r *restorer) chains(op dataflow.OperatorID) iter.Seq[[]*controlv1.StateHandle] {
	return func(yield func([]*controlv1.StateHandle) bool) {
		files := r.handles[handleKey{operator: op, kind: controlv1.StateKind_STATE_KIND_KEYED}]
		for len(files) > 0 {
			n := 1
			for n < len(files) && files[n].GetSubtask() == files[0].GetSubtask() {
				n++
			}
			if !yield(files[:n:n]) {
				return
			}
			files = files[n:]
		}
	}
}

func heldBy(h *controlv1.StateHandle) dataflow.KeyGroupRange {
	return dataflow.KeyGroupRange{First: dataflow.KeyGroup(h.GetKeyGroupFirst()), Last: dataflow.KeyGroup(h.GetKeyGroupLast())}
}

// chain reads the files of one old subtask, each as far as no newer one holds
// all of a group.
func (r *restorer) chain(ctx context.Context, files []*controlv1.StateHandle, groups dataflow.KeyGroupRange, fn func(io.Reader, state.RestorePart) error) error {
	held := heldBy(files[0]).Intersect(groups)
	if held.Len() == 0 {
		return nil
	}
	if g, missing := chain.Missing(files, held); missing {
		return damaged(files[0], files[0].GetObject(), fmt.Sprintf("no file of the chain holds all of key group %d", g))
	}
	a := r.ahead(ctx)
	defer a.end()
	var parts []state.RestorePart
	for i, read := range chain.Read(files, held) {
		if len(read) > 0 {
			a.files = append(a.files, files[i])
			parts = append(parts, state.RestorePart{Follows: len(parts) > 0, Groups: read})
		}
	}
	for i, part := range parts {
		if err := r.read(ctx, a.files[i], a.next(), func(rd io.Reader) error { return fn(rd, part) }); err != nil {
			return err
		}
	}
	return nil
}

// opened is what a handle names, being read.
type opened struct {
	body io.ReadCloser
	err  error
}

func (o opened) close() {
	if o.body != nil {
		_ = o.body.Close() // only read
	}
}

func (r *restorer) open(ctx context.Context, h *controlv1.StateHandle) opened {
	if h.GetObject() == "" || h.GetLength() == 0 {
		return opened{body: io.NopCloser(bytes.NewReader(h.GetInline()))}
	}
	body, err := r.objects.Get(ctx, h.GetObject(), h.GetOffset(), h.GetLength())
	return opened{body: body, err: err}
}

// aheadMax is how many files of a chain are asked for at a time, so that the
// answers of a store that is far away overlap. What is asked for and not yet
// read is no more than the connection buffers.
const aheadMax = 8

// ahead opens the files of a chain before they are read.
type ahead struct {
	r       *restorer
	ctx     context.Context //nolint:containedctx // of all that is opened
	cancel  context.CancelFunc
	files   []*controlv1.StateHandle
	asked   int // of files
	waiting []chan opened
	wg      sync.WaitGroup
}

func (r *restorer) ahead(ctx context.Context) *ahead {
	a := &ahead{r: r}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// next returns the next file, opened.
func (a *ahead) next() opened {
	for ; a.asked < len(a.files) && len(a.waiting) < aheadMax; a.asked++ {
		file, answer := a.files[a.asked], make(chan opened, 1)
		a.waiting = append(a.waiting, answer)
		a.wg.Go(func() { answer <- a.r.open(a.ctx, file) })
	}
	o := <-a.waiting[0]
	a.waiting = a.waiting[1:]
	return o
}

// end closes what was opened and not read.
func (a *ahead) end() {
	a.cancel()
	a.wg.Wait()
	for _, answer := range a.waiting {
		(<-answer).close()
	}
}

// read gives fn the bytes of a handle and checks their length and checksum.
// Damage is found at the end of what fn reads, so the caller drops what fn
// made of it when there is an error.
func (r *restorer) read(ctx context.Context, h *controlv1.StateHandle, o opened, fn func(io.Reader) error) error {
	where := cmp.Or(h.GetObject(), "the manifest")
	switch {
	case errors.Is(o.err, store.ErrNotFound):
		return missing(h, where)
	case o.err != nil:
		return fmt.Errorf("reading %d bytes at %d of %q: %w", h.GetLength(), h.GetOffset(), where, o.err)
	}
	defer o.close()
	sum := &summer{r: io.LimitReader(o.body, h.GetLength()), table: crc32.MakeTable(crc32.Castagnoli)}
	err := fn(sum)
	// The rest too when fn gave up: damage is the better explanation.
	if _, rest := io.Copy(io.Discard, sum); err == nil {
		err = rest
	}
	switch {
	case errors.Is(sum.err, store.ErrNotFound):
		return missing(h, where)
	case sum.err != nil:
		return fmt.Errorf("reading %q: %w", where, sum.err)
	case err != nil && sum.n < h.GetLength() && ctx.Err() != nil:
		return ctx.Err()
	case sum.n == h.GetLength() && sum.crc != h.GetCrc32C():
		return damaged(h, where, fmt.Sprintf("its checksum is %08x, not %08x", sum.crc, h.GetCrc32C()))
	case err != nil:
		return fmt.Errorf("state of operator %s, subtask %d, at %d of %q: %w", h.GetOperatorId(), h.GetSubtask(), h.GetOffset(), where, err)
	case sum.n != h.GetLength():
		return damaged(h, where, fmt.Sprintf("it has %d bytes, not %d", sum.n, h.GetLength()))
	}
	return nil
}

// fixState is what is left to do about state that is lost: the engine never
// goes back to an older checkpoint by itself, whose output is committed.
const fixState = "bring the object back from a copy of the storage, or start a new job from another savepoint or checkpoint"

// damaged and missing name the object; no retry mends them.
func damaged(h *controlv1.StateHandle, object, why string) error {
	return &connectors.FatalError{
		Code: "LEAT4211", What: fmt.Sprintf("the checkpoint is damaged: state of operator %s, subtask %d, at %d of object %q", h.GetOperatorId(), h.GetSubtask(), h.GetOffset(), object),
		Why: why, Fix: fixState,
	}
}

func missing(h *controlv1.StateHandle, object string) error {
	return &connectors.FatalError{
		Code: "LEAT4212", What: fmt.Sprintf("object %q of the checkpoint is missing: it holds state of operator %s, subtask %d", object, h.GetOperatorId(), h.GetSubtask()),
		Why: "something else than the job has deleted it, or the copy of a savepoint is not whole", Fix: fixState,
	}
}

// summer sums what is read through it.
type summer struct {
	r     io.Reader
	table *crc32.Table
	crc   uint32
	n     int64
	err   error // of r, other than the end
}

// Read implements io.Reader.
func (s *summer) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	s.crc = crc32.Update(s.crc, s.table, b[:n])
	s.n += int64(n)
	if err != nil && err != io.EOF { // the contract of Read is io.EOF itself
		s.err = err
	}
	return n, err
}
