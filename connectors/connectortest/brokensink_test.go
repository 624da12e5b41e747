package connectortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/dataflow"
)

// shelf is where a sink puts numbers: on it are those that are visible, under
// it those that are prepared, by their name.
type shelf struct {
	mu    sync.Mutex
	on    []int            // guarded by mu
	under map[string][]int // guarded by mu
	names map[string]bool  // guarded by mu; of what was put on it
	stop  chan struct{}    // ends what a fault left behind
	made  int              // guarded by mu
}

// shelfSink writes to a shelf exactly once. With a fault it breaks one promise.
type shelfSink struct {
	connectors.Typed[int]
	*shelf
	fault string
	made  int
}

func (s *shelfSink) is(fault string) bool { return s.fault == fault }

func (s *shelfSink) Name() string { return "shelf" }

func (s *shelfSink) Detail() string {
	if s.is("detail changes") {
		return strconv.Itoa(s.made)
	}
	return ""
}

func (s *shelfSink) Transactional() bool { return !s.is("says it is at least once") }

func (s *shelfSink) RowType() columnar.RowType {
	t, _ := columnar.TypeOf[int]()
	return t
}

func (s *shelfSink) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	if s.is("a goroutine stays") {
		go func() { <-s.stop }()
	}
	return &shelfWriter{shelfSink: s, ctx: ctx}, nil
}

type shelfWriter struct {
	*shelfSink
	ctx  *connectors.WriterContext
	rows []int
}

type prepared struct {
	Version int
	Name    string
}

func (w *shelfWriter) Recover(ctx context.Context, all []connectors.Committable) error {
	keep := make(map[string]bool)
	for _, c := range all {
		p, err := parsePrepared(c)
		if err != nil {
			return err
		}
		keep[p.Name] = true
		mine := c.Owner%w.ctx.Info.Parallelism == w.ctx.Info.Subtask
		if w.is("recovers its own subtask's only") {
			mine = c.Owner == w.ctx.Info.Subtask
		}
		if mine && !w.is("recovers nothing") {
			if err := w.Commit(ctx, []connectors.Committable{c}); err != nil {
				return err
			}
		}
	}
	if w.is("Recover shows what was not committed") {
		w.mu.Lock()
		defer w.mu.Unlock()
		for name, rows := range w.under {
			if !keep[name] {
				w.on = append(w.on, rows...)
				delete(w.under, name)
			}
		}
	}
	return nil
}

func (w *shelfWriter) Write(b *columnar.Batch) error {
	if w.is("wants times") && b.Times == nil {
		return errors.New("no times")
	}
	rows := columnar.Rows[int](b)
	for i, v := range rows {
		if v < 0 {
			switch {
			case w.is("swallows what it refuses"):
			case w.ctx.Reject == nil:
				return errors.New("it is negative")
			default:
				w.ctx.Reject(b, i, errors.New("it is negative"))
			}
			continue
		}
		w.rows = append(w.rows, v)
		if w.is("shows what is written") {
			w.show(v)
		}
	}
	return nil
}

func (w *shelfWriter) show(rows ...int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on = append(w.on, rows...)
}

func (w *shelfWriter) Ready() bool { return !w.is("is never ready") }

func (w *shelfWriter) Flush(context.Context) error { return nil }

func (w *shelfWriter) Prepare(_ context.Context, cp dataflow.CheckpointID, _ bool) ([]connectors.Committable, error) {
	if len(w.rows) == 0 && !w.is("prepares nothing at all") {
		return nil, nil
	}
	life := string(w.ctx.Incarnation)
	if w.is("forgets its life") {
		life = ""
	}
	name := fmt.Sprintf("%s-%d-%d", life, w.ctx.Info.Subtask, cp)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.is("holds one only") && len(w.under) > 0 {
		clear(w.under)
	}
	w.under[name] = w.rows
	if !w.is("adds to what is prepared") {
		w.rows = nil
	}
	data, err := json.Marshal(prepared{1, name})
	return []connectors.Committable{{Owner: w.ctx.Info.Subtask, Data: data}}, err
}

func parsePrepared(c connectors.Committable) (p prepared, err error) {
	if err = json.Unmarshal(c.Data, &p); err == nil && p.Version != 1 {
		err = fmt.Errorf("version %d", p.Version)
	}
	return p, err
}

func (w *shelfWriter) Commit(_ context.Context, all []connectors.Committable) error {
	for _, c := range all {
		p, err := parsePrepared(c)
		if err != nil {
			if w.is("skips what it cannot read") {
				continue
			}
			return err
		}
		w.mu.Lock()
		rows := w.under[p.Name]
		if w.is("adds to what is prepared") {
			rows = append(rows[:len(rows):len(rows)], w.rows...)
		}
		if !w.names[p.Name] || w.is("commits twice") {
			w.on = append(w.on, rows...)
			w.names[p.Name] = true
		}
		w.mu.Unlock()
	}
	return nil
}

func (w *shelfWriter) SealedMax() int {
	if w.is("holds none") {
		return 0
	}
	return 4
}

func (w *shelfWriter) Close() error {
	if w.is("Close shows what is written") {
		w.show(w.rows...)
	}
	return nil
}

// sinkFaults says which checks find a fault, by a part of their message.
var sinkFaults = map[string]map[string]string{
	"detail changes":                       {"describes itself the same each time": "Detail"},
	"says it is at least once":             {"describes itself the same each time": "Transactional"},
	"recovers nothing":                     {"keeps rows once through crashes at every step": "0 times, want 1", "recovers at any parallelism": "0 times"},
	"Recover shows what was not committed": {"keeps rows once through crashes at every step": "2 times, want 1"},
	"recovers its own subtask's only":      {"recovers at any parallelism": "0 times, want 1"},
	"shows what is written":                {"shows nothing before its commit": "after Write"},
	"adds to what is prepared":             {"adds nothing to what is prepared": "2 times, want 1"},
	"commits twice":                        {"commits again without effect": "2 times, want 1"},
	"prepares nothing at all":              {"prepares nothing without rows": "returned 2 committables"},
	"holds one only":                       {"commits what an aborted checkpoint had prepared with the next one": "0 times, want 1", "holds as many prepared checkpoints as it says": "0 times"},
	"holds none":                           {"holds as many prepared checkpoints as it says": "SealedMax"},
	"is never ready":                       {"commits while rows are written": "not Ready"},
	"forgets its life":                     {"tells the lives of a job apart": "0 times, want 1"},
	"wants times":                          {"takes batches of any size": "no times"},
	"skips what it cannot read":            {"refuses committables that it did not write": "took a committable"},
	"swallows what it refuses":             {"sets aside rows that it refuses": "Reject was called 0 times"},
	"Close shows what is written":          {"closes at any time": "after Close"},
	"a goroutine stays":                    {"closes at any time": "goroutines are left"},
}

func shelfCase(t *testing.T, fault string) connectortest.SinkCase[int] {
	t.Helper()
	s := &shelf{under: make(map[string][]int), names: make(map[string]bool), stop: make(chan struct{})}
	t.Cleanup(func() { close(s.stop) })
	return connectortest.SinkCase[int]{
		New: func() connectors.SinkOf[int] {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.made++
			return &shelfSink{shelf: s, fault: fault, made: s.made}
		},
		Row: func(i int) int { return i },
		Visible: func() []int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return append([]int(nil), s.on...)
		},
		Key: strconv.Itoa, Refused: func() int { return -1 },
	}
}

func TestASoundSinkPasses(t *testing.T) {
	t.Parallel()
	connectortest.TestSink(t, shelfCase(t, ""))
}

// TestEachFaultOfASinkIsFound: no check is there that a broken sink does not
// fail.
func TestEachFaultOfASinkIsFound(t *testing.T) {
	t.Parallel()
	checks := connectortest.SinkChecks(0)
	for fault, by := range sinkFaults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			finds(t, checks, shelfCase(t, fault), by)
		})
	}
	covers(t, checks, sinkFaults)
}
