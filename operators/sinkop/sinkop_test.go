package sinkop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/sinkop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// outside is where the sink under test writes: it keeps what was committed
// and can hold commits back or refuse them.
type outside struct {
	connectors.Typed[int64]
	mu        sync.Mutex
	committed []string // guarded by mu
	recovered []string // guarded by mu
	refuse    error    // guarded by mu
	hold      chan struct{}
	full      bool
}

func (o *outside) Name() string        { return "outside" }
func (o *outside) Detail() string      { return "" }
func (o *outside) Transactional() bool { return true }
func (o *outside) RowType() columnar.RowType {
	t, err := columnar.TypeOf[int64]()
	if err != nil {
		panic(err)
	}
	return t
}

func (o *outside) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	return &writer{to: o, ctx: ctx}, nil
}

func (o *outside) read() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.committed)
}

type writer struct {
	to   *outside
	ctx  *connectors.WriterContext
	rows []int64
}

func (w *writer) Recover(_ context.Context, prepared []connectors.Committable) error {
	for _, c := range prepared {
		if c.Owner%w.ctx.Info.Parallelism == w.ctx.Info.Subtask {
			w.to.recovered = append(w.to.recovered, string(c.Data))
		}
	}
	return nil
}

func (w *writer) Write(b *columnar.Batch) error {
	w.rows = append(w.rows, columnar.Rows[int64](b)...)
	return nil
}

func (w *writer) Ready() bool                 { return !w.to.full }
func (w *writer) Flush(context.Context) error { return nil }

func (w *writer) Prepare(_ context.Context, cp dataflow.CheckpointID, _ bool) ([]connectors.Committable, error) {
	if len(w.rows) == 0 {
		return nil, nil
	}
	c := connectors.Committable{Owner: w.ctx.Info.Subtask, Data: fmt.Appendf(nil, "%d:%v", cp, w.rows)}
	w.rows = nil
	return []connectors.Committable{c}, nil
}

func (w *writer) Commit(ctx context.Context, all []connectors.Committable) error {
	if w.to.hold != nil {
		select {
		case <-w.to.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	if w.to.refuse != nil {
		return w.to.refuse
	}
	for _, c := range all {
		w.to.committed = append(w.to.committed, string(c.Data))
	}
	return nil
}

func (w *writer) SealedMax() int { return 3 }
func (w *writer) Close() error   { return nil }

func harness(t *testing.T, o *outside, parallelism int) *operatortest.Harness {
	t.Helper()
	return operatortest.New(t, operatortest.Config{Factory: sinkop.New(o), Rows: o.RowType(), Parallelism: parallelism})
}

func feed(h *operatortest.Harness, subtask int, rows ...int64) {
	h.FeedTo(subtask, columnar.NewBatch(rows, nil))
}

func uncommitted(h *operatortest.Harness) int {
	n := 0
	for _, s := range h.Subs {
		n += s.Operator.(operators.Committer).Uncommitted()
	}
	return n
}

func checkpoint(h *operatortest.Harness, id dataflow.CheckpointID) *operatortest.Snapshot {
	return h.Checkpoint(operators.Checkpoint{ID: id})
}

// TestCommitFollowsTheCheckpoint checks order and idempotence: nothing is
// visible before the checkpoint is committed, skipped ones come with the
// next, and telling twice commits once.
func TestCommitFollowsTheCheckpoint(t *testing.T) {
	t.Parallel()
	o := &outside{}
	h := harness(t, o, 1)
	feed(h, 0, 1, 2)
	checkpoint(h, 1)
	feed(h, 0, 3)
	checkpoint(h, 2)
	feed(h, 0, 4)
	h.RunMail()
	if got := o.read(); len(got) != 0 {
		t.Fatalf("committed %v too early", got)
	}
	h.Committed(2) // 1 was skipped, or its message lost
	h.Committed(2)
	h.Await(func() bool { return uncommitted(h) == 0 })
	h.Committed(2)
	h.RunMail()
	if got, want := o.read(), []string{"1:[1 2]", "2:[3]"}; !slices.Equal(got, want) {
		t.Fatalf("committed %v, want %v", got, want)
	}
}

// TestSnapshotHoldsAllThatIsNotConfirmed restores at another parallelism with
// commits under way: each committable goes to its owner.
func TestSnapshotHoldsAllThatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	o := &outside{hold: make(chan struct{})}
	h := harness(t, o, 2)
	feed(h, 0, 1)
	feed(h, 1, 2)
	checkpoint(h, 1)
	h.Committed(1) // not confirmed: commits are held
	feed(h, 1, 3)
	snap := checkpoint(h, 2)
	h.Restore(snap, 3)
	slices.Sort(o.recovered)
	if want := []string{"1:[1]", "1:[2]", "2:[3]"}; !slices.Equal(o.recovered, want) {
		t.Fatalf("recovered %v, want %v", o.recovered, want)
	}
	// What Recover settled is not in the next snapshot.
	o.recovered = nil
	h.Restore(checkpoint(h, 3), 1)
	if len(o.recovered) != 0 {
		t.Fatalf("recovered %v again", o.recovered)
	}
}

func TestSavepointOfAnotherJobIsLeftAlone(t *testing.T) {
	t.Parallel()
	o := &outside{}
	h := harness(t, o, 1)
	feed(h, 0, 1)
	snap := checkpoint(h, 1)
	h.FromSavepoint = true
	h.Restore(snap, 1)
	if len(o.recovered) != 0 {
		t.Fatalf("recovered %v", o.recovered)
	}
}

func TestDeclinesAtTheLimit(t *testing.T) {
	t.Parallel()
	o := &outside{}
	h := harness(t, o, 1)
	d := h.Subs[0].Operator.(operators.SnapshotDecliner)
	for id := range dataflow.CheckpointID(3) {
		if err := d.CanSnapshot(); err != nil {
			t.Fatalf("checkpoint %d: %v", id+1, err)
		}
		feed(h, 0, int64(id))
		checkpoint(h, id+1)
	}
	if err := d.CanSnapshot(); err == nil || !strings.Contains(err.Error(), "3 sealed") {
		t.Fatalf("error %v at the limit", err)
	}
	h.Committed(3)
	h.Await(func() bool { return uncommitted(h) == 0 })
	if err := d.CanSnapshot(); err != nil {
		t.Fatal(err)
	}
}

// Checkpoints that fail after a sink has sealed leave transactions that only a
// later checkpoint could commit. At the limit none is taken any more: the
// attempt must fail over instead of declining for ever.
func TestSealedOfFailedCheckpointsFailOver(t *testing.T) {
	t.Parallel()
	o := &outside{}
	arrived := make(chan func() error, 1)
	op := sinkop.New(o).New()
	if err := op.Open(&operators.Context{
		Info: dataflow.TaskInfo{Parallelism: 1}, Metrics: operatortest.NewMetrics(),
		Mail: func(fn func() error) { arrived <- fn },
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = op.Close() }()
	d, _ := op.(operators.SnapshotDecliner)
	for id := range dataflow.CheckpointID(3) {
		if err := op.Process(0, columnar.NewBatch([]int64{1}, nil)); err != nil {
			t.Fatal(err)
		}
		if err := d.CanSnapshot(); err != nil {
			t.Fatalf("checkpoint %d: %v", id+1, err)
		}
		if _, err := op.(operators.Snapshotter).Snapshot(operators.Checkpoint{ID: id + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.CanSnapshot(); err == nil || len(arrived) > 0 {
		t.Fatalf("error %v, %d mails: the word of a commit may be on its way", err, len(arrived))
	}
	if err := d.CanSnapshot(); err == nil || len(arrived) != 1 {
		t.Fatalf("error %v, %d mails", err, len(arrived))
	}
	if err := (<-arrived)(); err == nil || !strings.Contains(err.Error(), "3 sealed transactions belong to checkpoints that were not completed") {
		t.Fatalf("error %v", err)
	}
	_ = d.CanSnapshot()
	if len(arrived) > 0 {
		t.Fatal("failed twice")
	}
}

func TestRefusedCommitFailsTheAttempt(t *testing.T) {
	t.Parallel()
	o := &outside{refuse: errors.New("transaction was aborted")}
	var mail []func() error
	arrived := make(chan func() error, 1)
	op := sinkop.New(o).New()
	if err := op.Open(&operators.Context{
		Info: dataflow.TaskInfo{Parallelism: 1}, Metrics: operatortest.NewMetrics(),
		Mail: func(fn func() error) { arrived <- fn },
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = op.Close() }()
	if err := op.Process(0, columnar.NewBatch([]int64{1}, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := op.(operators.Snapshotter).Snapshot(operators.Checkpoint{ID: 4}); err != nil {
		t.Fatal(err)
	}
	if err := op.(operators.CheckpointListener).CheckpointCommitted(4); err != nil {
		t.Fatal(err)
	}
	mail = append(mail, <-arrived)
	err := mail[0]()
	if err == nil || !strings.Contains(err.Error(), `sink "outside": commit of checkpoint 4: transaction was aborted`) {
		t.Fatalf("error %v", err)
	}
}

func TestInputIsHeldWhileTheWriterIsFull(t *testing.T) {
	t.Parallel()
	o := &outside{}
	h := harness(t, o, 1)
	l := h.Subs[0].Operator.(operators.InputLimiter)
	if !l.InputReady() {
		t.Fatal("an empty writer takes no input")
	}
	o.full = true
	if l.InputReady() {
		t.Fatal("a full writer takes input")
	}
}

// TestManyCheckpointsQueue commits more checkpoints than the queue holds.
func TestManyCheckpointsQueue(t *testing.T) {
	t.Parallel()
	o := &outside{hold: make(chan struct{})}
	h := harness(t, o, 1)
	const n = 200
	for id := range dataflow.CheckpointID(n) {
		feed(h, 0, int64(id+1))
		checkpoint(h, id+1)
	}
	h.Committed(n)
	close(o.hold)
	h.Await(func() bool { return uncommitted(h) == 0 })
	got := o.read()
	if len(got) != n {
		t.Fatalf("%d commits, want %d", len(got), n)
	}
	for i, c := range got {
		if want := strconv.Itoa(i + 1); !strings.HasPrefix(c, want+":") {
			t.Fatalf("commit %d is %q", i, c)
		}
	}
}
