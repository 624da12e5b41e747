package points

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
)

// Sink writes games to the service, exactly once: it stages batches under ids
// of its own making and commits them after their checkpoint. The service does
// a second commit of an id without effect; that is all that it has to offer.
type Sink struct {
	connectors.Typed[Game]
	URL string
}

// Name, Detail, Transactional and RowType describe the sink.
func (s *Sink) Name() string        { return "scores" }
func (s *Sink) Detail() string      { return s.URL }
func (s *Sink) Transactional() bool { return true }
func (s *Sink) RowType() columnar.RowType {
	return (&Source{}).RowType()
}

// Fault is asked when the program is built.
func (s *Sink) Fault() error { return (&Source{URL: s.URL}).Fault() }

// NewWriter makes the writer of one subtask.
func (s *Sink) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	return &writer{client: newClient(s.URL), ctx: ctx}, nil
}

const (
	batchBytes = 256 << 10 // staged when larger
	sealedMax  = 64        // batches prepared and not committed
)

type writer struct {
	*client
	ctx    *connectors.WriterContext
	lines  []byte
	made   int
	staged []string // since the last Prepare
}

// family begins the ids of all subtasks in one life of the job: what another
// job or another life has staged is not ours to abort.
func (w *writer) family() string {
	return fmt.Sprintf("%.8s-%s-", w.ctx.Info.Operator, w.ctx.Incarnation)
}

func (w *writer) owns(owner int) bool { return owner%w.ctx.Info.Parallelism == w.ctx.Info.Subtask }

// Recover gets what all old subtasks had prepared for the checkpoint: this one
// commits its part and aborts what else its predecessors have left behind.
func (w *writer) Recover(ctx context.Context, prepared []connectors.Committable) error {
	keep := make(map[string]bool)
	for _, c := range prepared {
		id, err := parse(c)
		if err != nil {
			return err
		}
		keep[id] = true
		if w.owns(c.Owner) {
			if err := w.Commit(ctx, []connectors.Committable{c}); err != nil {
				return err
			}
		}
	}
	var ids []string
	if err := w.get(ctx, "/batches?prefix="+url.QueryEscape(w.family()), &ids); err != nil {
		return err
	}
	for _, id := range ids {
		owner, _, _ := strings.Cut(strings.TrimPrefix(id, w.family()), "-")
		if n, err := strconv.Atoi(owner); err != nil || !w.owns(n) || keep[id] {
			continue
		}
		if _, err := w.do(ctx, http.MethodDelete, "/batches/"+id, nil); err != nil {
			return err
		}
	}
	return nil
}

// Write buffers a bounded amount.
func (w *writer) Write(b *columnar.Batch) error {
	for i, g := range columnar.Rows[Game](b) {
		line, err := encode(g)
		if err != nil && w.ctx.Reject != nil {
			w.ctx.Reject(b, i, err) // the program's policy says what becomes of it
			continue
		}
		if err != nil {
			return err
		}
		w.lines = append(append(w.lines, line...), '\n')
	}
	if len(w.lines) < batchBytes {
		return nil
	}
	return w.Flush(context.Background()) // bounded by the client's time-out
}

func encode(g Game) ([]byte, error) {
	if g.Player == "" {
		return nil, errors.New("a score without a player")
	}
	return json.Marshal(g)
}

// Ready says that Write has room; a writer that sends in the background says
// no while it is behind, and calls Wake.
func (w *writer) Ready() bool { return true }

// Flush stages what is buffered. The id has the subtask, so that its owner is
// known at any parallelism, and the attempt, so that it was never used before.
func (w *writer) Flush(ctx context.Context) error {
	if len(w.lines) == 0 {
		return nil
	}
	w.made++
	id := w.family() + fmt.Sprintf("%d-%d-%d", w.ctx.Info.Subtask, w.ctx.Info.Attempt, w.made)
	if _, err := w.do(ctx, http.MethodPut, "/batches/"+id, w.lines); err != nil {
		return err
	}
	w.lines, w.staged = nil, append(w.staged, id)
	return nil
}

// Prepare stages the rest and names all of it: the checkpoint keeps the names.
func (w *writer) Prepare(ctx context.Context, _ dataflow.CheckpointID, _ bool) ([]connectors.Committable, error) {
	if err := w.Flush(ctx); err != nil {
		return nil, err
	}
	var out []connectors.Committable
	for _, id := range w.staged {
		out = append(out, connectors.Committable{Owner: w.ctx.Info.Subtask, Data: append([]byte{version}, id+"."...)})
	}
	w.staged = nil
	return out, nil
}

func parse(c connectors.Committable) (id string, err error) {
	id, whole := strings.CutSuffix(string(c.Data), ".")
	if !whole || id == "" || id[0] != version {
		return "", fmt.Errorf("committable %q of scores is not of version %d", c.Data, version)
	}
	return id[1:], nil
}

// Commit runs beside Write, on a goroutine of its own. What may pass is tried
// again until ctx ends; a batch that is gone is lost, and said to be.
func (w *writer) Commit(ctx context.Context, all []connectors.Committable) error {
	for _, c := range all {
		id, err := parse(c)
		if err != nil {
			return err
		}
		for {
			_, err := w.do(ctx, http.MethodPost, "/batches/"+id+"/commit", nil)
			w.ctx.Trouble(err)
			if err == nil {
				break
			}
			if s := (*status)(nil); errors.As(err, &s) && s.code == http.StatusNotFound {
				return &connectors.FatalError{Code: "GAMES02", What: fmt.Sprintf("batch %s of a committed checkpoint is gone", id), Fix: "start from an older savepoint"}
			}
			if sleep(ctx, w.ctx.Clock, time.Second); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// SealedMax bounds what may wait for its commit.
func (w *writer) SealedMax() int { return sealedMax }
