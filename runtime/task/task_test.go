package task_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/task"
)

func TestRowsAndWatermarksGoThroughTheChain(t *testing.T) {
	t.Parallel()
	second := &op{}
	second.process = func(_ int, b *columnar.Batch) error {
		rows := columnar.Rows[int64](b)
		for i := range rows {
			rows[i] *= 10
		}
		second.ctx.Out.Emit(b)
		return nil
	}
	r := chain(t, 2, &op{}, second).begin()
	r.rows(0, 1, 2)
	r.wm(0, 5)
	r.expect("[10 20]")
	r.wm(1, 3)
	r.expect("[10 20]", "wm 3")
	r.wm(1, 9)
	r.expect("[10 20]", "wm 3", "wm 5")
	if m := r.task.Metrics(); m.GetRecordsIn() != 2 || m.GetRecordsOut() != 2 || m.GetWatermark() != 5 {
		t.Errorf("metrics %v", m)
	}
}

// Rows of the first operator's side output leave on their own stream, which
// gets watermarks, barriers and the end like any other.
func TestSideOutput(t *testing.T) {
	t.Parallel()
	first := &op{}
	first.process = func(_ int, b *columnar.Batch) error {
		if !first.ctx.Out.HasSide("late") || first.ctx.Out.HasSide("other") {
			return errors.New("wrong sides")
		}
		first.ctx.Out.EmitSide("late", b)
		first.ctx.Out.EmitSide("other", b)
		return nil
	}
	r := chain(t, 1, first, &op{}).begin()
	r.rows(0, 7)
	r.wm(0, 1)
	r.barrier(0, 1)
	r.end(0)
	r.expect("wm 1", "barrier 1", "wm max", "end")
	if got := fmt.Sprint(r.side.log); got != "[[7] wm 1 barrier 1 wm max end]" {
		t.Errorf("side stream: %s", got)
	}
}

// An operator that has more to emit at a watermark is called again, and
// nothing comes between: no rows, no barrier, no timer.
func TestWatermarkIsResumed(t *testing.T) {
	t.Parallel()
	first := &op{}
	var calls []string
	left := 3
	first.watermark = func(wm int64) (bool, error) {
		calls = append(calls, fmt.Sprint("wm ", wm))
		if left == 0 {
			return true, nil
		}
		emit(first.ctx, int64(left))
		left--
		return false, nil
	}
	var r *rig
	first.process = func(_ int, b *columnar.Batch) error {
		calls = append(calls, "rows")
		return nil
	}
	first.open = func(ctx *operators.Context) error {
		ctx.At(1500, func() error { calls = append(calls, "timer"); return nil })
		return nil
	}
	r = chain(t, 1, first).begin()
	r.out.full = true
	r.wm(0, 5)
	r.rows(0, 99)
	r.barrier(0, 1)
	r.run()
	r.out.full = false
	r.task.Step()
	r.out.full = true
	r.clock.Advance(time.Second)
	r.run()
	if len(calls) > 3 || slices.Contains(calls, "timer") {
		t.Fatalf("calls while the output is full: %v", calls)
	}
	r.out.full = false
	r.run()
	r.expect("[3]", "[2 1]", "wm 5", "barrier 1 overtakes") // it waited for a second
	if want := []string{"wm 5", "wm 5", "wm 5", "wm 5", "timer", "rows"}; !slices.Equal(calls, want) {
		t.Errorf("calls %v, want %v", calls, want)
	}
}

// An operator that waits for mail at a watermark gets it, and is asked again.
func TestWaveWaitsForMail(t *testing.T) {
	t.Parallel()
	first := &op{}
	answered := false
	first.watermark = func(int64) (bool, error) { return answered, nil }
	r := chain(t, 1, first).begin()
	r.wm(0, 5)
	if w := r.run(); w.Until.IsZero() {
		t.Error("a stalled wave is not asked again by time")
	}
	first.ctx.Mail(func() error { answered = true; emit(first.ctx, 1); return nil })
	r.expect("[1]", "wm 5")
}

// A source that emits behind its own unfinished watermark keeps the order.
func TestSourceEmitsBehindItsWave(t *testing.T) {
	t.Parallel()
	s := &src{}
	slow := &op{}
	left := 2
	slow.watermark = func(wm int64) (bool, error) {
		if wm == 5 && left > 0 {
			emit(slow.ctx, int64(100+left))
			left--
			return false, nil
		}
		return true, nil
	}
	polls := 0
	s.poll = func() (operators.PollStatus, error) {
		polls++
		if polls > 1 {
			return operators.PollWait, nil
		}
		emit(s.ctx, 1)
		s.ctx.Out.EmitWatermark(5)
		emit(s.ctx, 2)
		s.ctx.Out.EmitSide("late", columnar.NewBatch([]int64{3}, nil))
		s.ctx.Out.EmitWatermark(6)
		s.ctx.Out.EmitIdle(true)
		emit(s.ctx, 4)
		s.ctx.Out.EmitWatermark(4) // goes back: dropped
		return operators.PollMore, nil
	}
	r := chain(t, 0, s, slow).begin()
	r.expect("[1 102 101]", "wm 5", "[2]", "wm 6", "idle true", "idle false", "[4]")
	if got := fmt.Sprint(r.side.log); got != "[wm 5 [3] wm 6 idle true idle false]" {
		t.Errorf("side stream: %s", got)
	}
}

// The end of a source comes after all that it emitted, also when its last
// watermark is held up.
func TestSourceEndsBehindItsWave(t *testing.T) {
	t.Parallel()
	s, slow := &src{}, &op{}
	left := 1
	slow.watermark = func(int64) (bool, error) {
		if left > 0 {
			left--
			emit(slow.ctx, 100)
			return false, nil
		}
		return true, nil
	}
	s.poll = func() (operators.PollStatus, error) {
		s.ctx.Out.EmitWatermark(5)
		emit(s.ctx, 1)
		return operators.PollFinished, nil
	}
	chain(t, 0, s, slow).begin().expect("[100]", "wm 5", "[1]", "wm max", "end")
}

func TestEndOfInput(t *testing.T) {
	t.Parallel()
	first, second := &op{}, &op{}
	ends := 0
	first.end = func() (bool, error) { ends++; emit(first.ctx, int64(ends)); return ends == 2, nil }
	second.end = func() (bool, error) { emit(second.ctx, 50); return true, nil }
	r := chain(t, 2, first, second).begin()
	r.rows(0, 9)
	r.end(0)
	r.expect("[9]")
	r.trigger(3, nil) // no barrier comes: it is taken at the end
	r.run()
	if len(r.snapshots) != 0 {
		t.Fatal("a snapshot was taken while a channel is open")
	}
	r.end(1)
	r.expect("[9]", "wm max", "[1 2 50]", "end")
	if r.finished != 1 || len(r.snapshots) != 1 || r.snapshots[0].ID != 3 || !r.snapshots[0].Finished {
		t.Fatalf("finished %d, snapshots %v", r.finished, r.snapshots)
	}
	r.trigger(4, func(tr *task.Trigger) { tr.Barrier.Final = true })
	r.expect("[9]", "wm max", "[1 2 50]", "end")
	if len(r.snapshots) != 2 || r.snapshots[1].ID != 4 {
		t.Errorf("after the end: %d snapshots", len(r.snapshots))
	}
}

// What an operator emits after the end was forwarded is dropped: nothing
// follows an end.
func TestNothingFollowsTheEnd(t *testing.T) {
	t.Parallel()
	o := &op{}
	r := chain(t, 1, o).begin()
	r.end(0)
	r.run()
	o.ctx.Mail(func() error { emit(o.ctx, 1); return nil })
	r.expect("wm max", "end")
}

// The barrier is forwarded after the operators' snapshots, in the order of the
// chain, and rows behind a barrier wait for the others.
func TestBarriersAreAligned(t *testing.T) {
	t.Parallel()
	var order []string
	take := func(name string) *op {
		o := &op{}
		o.snapshot = func(cp operators.Checkpoint) ([]byte, error) {
			order = append(order, fmt.Sprintf("%s %d", name, cp.ID))
			return []byte(name), nil
		}
		return o
	}
	r := chain(t, 3, take("first"), take("second")).begin()
	r.barrier(0, 1)
	r.rows(0, 10)
	r.rows(1, 1)
	r.end(2) // counts as its barrier
	r.expect("[1]")
	r.barrier(1, 1)
	r.rows(1, 11)
	r.run()
	if got := fmt.Sprint(r.out.log); got != "[[1] barrier 1 [10 11]]" {
		t.Errorf("sent %s", got)
	}
	if want := []string{"first 1", "second 1"}; !slices.Equal(order, want) {
		t.Errorf("snapshots %v, want %v", order, want)
	}
	s := r.snapshots[0]
	if len(s.Parts) != 3 || s.Parts[0].Operator != "op0" || string(s.Parts[1].Data) != "second" {
		t.Errorf("parts %v", s.Parts)
	}
}

func TestAbortUnblocks(t *testing.T) {
	t.Parallel()
	r := chain(t, 2, &op{}).begin()
	r.barrier(0, 1)
	r.rows(0, 10)
	r.expect()
	r.task.Abort(1)
	r.expect("[10]")
	r.barrier(1, 1) // late
	r.rows(1, 11)
	r.expect("[10]", "[11]")
	if len(r.snapshots) != 0 {
		t.Error("an aborted checkpoint was taken")
	}
}

// Checkpoints that nobody leads any more hold nothing up, known or not.
func TestVoidUnblocks(t *testing.T) {
	t.Parallel()
	r := chain(t, 2, &op{}).begin()
	r.barrier(0, 4)
	r.rows(0, 10)
	r.expect()
	r.task.Void(3, 32)
	r.expect("[10]")
	r.barrier(1, 4) // late
	r.barrier(1, 5) // of a checkpoint that the task had not heard of
	r.rows(1, 11)
	r.expect("[10]", "[11]")
	if len(r.snapshots) != 0 {
		t.Error("a void checkpoint was taken")
	}
	r.barrier(0, 33)
	r.barrier(1, 33)
	r.run()
	if len(r.snapshots) != 1 || r.snapshots[0].ID != 33 {
		t.Errorf("the next checkpoint: snapshots %v", r.snapshots)
	}
}

// A declined checkpoint takes no snapshot, fails nothing, and its barrier goes
// on so that others are not held up.
func TestDecline(t *testing.T) {
	t.Parallel()
	o := &op{decline: func() error { return errors.New("four sealed") }}
	o.snapshot = func(operators.Checkpoint) ([]byte, error) { return nil, errors.New("must not be asked") }
	r := chain(t, 1, o).begin()
	r.barrier(0, 1)
	r.expect("barrier 1")
	if len(r.snapshots) != 0 || len(r.declined) != 1 || r.declined[0] != "1 op0: four sealed" {
		t.Errorf("declined %v, snapshots %v", r.declined, r.snapshots)
	}
}

// While a sink takes no rows, barriers that no rows stand before are taken.
func TestInputLimiterLetsBarriersPass(t *testing.T) {
	t.Parallel()
	ready := false
	o := &op{ready: func() bool { return ready }}
	r := chain(t, 1, o).begin()
	r.barrier(0, 1)
	r.rows(0, 1)
	r.barrier(0, 2)
	r.expect("barrier 1")
	ready = true
	o.ctx.Wake()
	r.expect("barrier 1", "[1]", "barrier 2")
}

func TestBackPressureStopsInput(t *testing.T) {
	t.Parallel()
	r := chain(t, 1, &op{}).begin()
	r.out.full = true
	r.rows(0, 1)
	r.expect()
	r.clock.Advance(3 * time.Second)
	r.run()
	r.out.full = false
	r.expect("[1]")
	r.clock.Advance(2 * time.Second)
	r.run()
	m := r.task.Metrics()
	if m.GetBackPressuredMillis() != 3000 || m.GetIdleMillis() != 2000 || m.GetBusyMillis() != 0 {
		t.Errorf("back-pressured %d, idle %d, busy %d", m.GetBackPressuredMillis(), m.GetIdleMillis(), m.GetBusyMillis())
	}
}

func TestSourceLife(t *testing.T) {
	t.Parallel()
	var events []string
	s := &src{event: func(b []byte) error { events = append(events, string(b)); return nil }}
	n := int64(0)
	status := operators.PollWait
	s.poll = func() (operators.PollStatus, error) {
		n++
		emit(s.ctx, n)
		return status, nil
	}
	r := chain(t, 0, s).begin()
	r.expect("[1]")
	r.expect("[1]") // not polled without a wake
	s.ctx.Wake()
	r.expect("[1]", "[2]")
	r.task.Event([]byte("split"))
	r.expect("[1]", "[2]", "[3]")
	if !slices.Equal(events, []string{"split"}) {
		t.Errorf("events %v", events)
	}
	s.ctx.SendEvent([]byte("hello"))
	if !slices.Equal(r.events, []string{"hello"}) {
		t.Errorf("sent events %v", r.events)
	}
	r.trigger(1, nil)
	status = operators.PollFinished
	s.ctx.Wake()
	r.expect("[1]", "[2]", "[3]", "barrier 1", "[4]", "wm max", "end")
	if r.finished != 1 || len(r.snapshots) != 1 {
		t.Errorf("finished %d, snapshots %d", r.finished, len(r.snapshots))
	}
}

// Stop: the barrier is the last that a source sends.
func TestStop(t *testing.T) {
	t.Parallel()
	s := &src{}
	polls := 0
	var final bool
	s.snapshot = func(cp operators.Checkpoint) ([]byte, error) { final = cp.Final; return nil, nil }
	s.poll = func() (operators.PollStatus, error) { polls++; return operators.PollWait, nil }
	r := chain(t, 0, s).begin()
	before := polls
	r.trigger(1, func(tr *task.Trigger) { tr.Barrier.Stop, tr.Barrier.Savepoint = true, true })
	r.run()
	s.ctx.Wake()
	r.expect("barrier 1")
	if polls != before || !final {
		t.Errorf("%d polls after the barrier, final %v", polls-before, final)
	}
}

// Pause: the barrier is the last that a source sends, until the checkpoint is
// given up.
func TestPause(t *testing.T) {
	t.Parallel()
	for name, goOn := range map[string]func(*task.Task){
		"aborted":            func(x *task.Task) { x.Abort(5) },
		"void":               func(x *task.Task) { x.Void(4, 32) },
		"under a new leader": func(x *task.Task) { x.Void(5, 32) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &src{}
			polls := 0
			s.poll = func() (operators.PollStatus, error) { polls++; return operators.PollWait, nil }
			r := chain(t, 0, s).begin()
			before := polls
			r.trigger(5, func(tr *task.Trigger) { tr.Pause = true })
			r.run()
			s.ctx.Wake()
			r.expect("barrier 5")
			if polls != before {
				t.Errorf("%d polls after the barrier", polls-before)
			}
			goOn(r.task)
			r.run()
			if polls == before {
				t.Error("the source does not go on")
			}
		})
	}
}

// Drain: a source acts as if its input had ended and takes the checkpoint
// then; what is behind it takes it at its own end.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := &src{poll: func() (operators.PollStatus, error) { return operators.PollWait, nil }}
	r := chain(t, 0, s).begin()
	r.trigger(1, func(tr *task.Trigger) { tr.Drain, tr.Barrier.Stop = true, true })
	r.expect("wm max", "end")
	if r.finished != 1 || len(r.snapshots) != 1 || !r.snapshots[0].Finished {
		t.Errorf("finished %d, snapshots %v", r.finished, r.snapshots)
	}
	q := chain(t, 1, &op{}).begin()
	q.trigger(1, func(tr *task.Trigger) { tr.Drain = true })
	q.rows(0, 1)
	q.expect("[1]")
	q.wm(0, dataflow.TimeMax)
	q.end(0)
	q.expect("[1]", "wm max", "end")
	if len(q.snapshots) != 1 {
		t.Errorf("%d snapshots", len(q.snapshots))
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	var fired []int64
	o := &op{}
	o.open = func(ctx *operators.Context) error {
		for _, at := range []int64{1200, 1100, 1300} {
			cancel := ctx.At(at, func() error { fired = append(fired, at); emit(ctx, at); return nil })
			if at == 1300 {
				cancel()
			}
		}
		return nil
	}
	r := chain(t, 1, o).begin()
	if w := r.run(); w.Until != time.UnixMilli(1101) {
		t.Errorf("next wake-up at %v", w.Until)
	}
	r.clock.Advance(100 * time.Millisecond)
	r.expect() // rows stamped 1100 may still come
	r.clock.Advance(time.Millisecond)
	r.expect("[1100]")
	r.clock.Advance(time.Second)
	r.expect("[1100]", "[1200]")
	if !slices.Equal(fired, []int64{1100, 1200}) {
		t.Errorf("fired %v", fired)
	}
}

func TestFailureNamesOperatorAndRow(t *testing.T) {
	t.Parallel()
	for how, fails := range map[string]func() error{
		"error": func() error { return errors.New("boom") },
		"panic": func() error { panic("boom") },
		"panic on another goroutine": func() error {
			return fmt.Errorf("asking: %w", &operators.PanicError{Value: "boom", Stack: "its stack"})
		},
	} {
		panics := how != "error"
		second := &op{process: func(int, *columnar.Batch) error { return fails() }}
		first := &op{position: "orders-7@1882031"}
		r := chain(t, 1, first, second).begin()
		r.rows(0, 1)
		w := r.run()
		f := r.task.Failure()
		if !w.Done || f == nil || f.GetPanic() != panics || f.GetOperatorName() != "op1" || f.GetRecord() != "orders-7@1882031" || (f.GetStack() != "") != panics {
			t.Errorf("%s: done %v, failure %v", how, w.Done, f)
		}
		r.rows(0, 2)
		if w := r.task.Step(); !w.Done {
			t.Error("a failed task goes on")
		}
		r.task.Close()
		if first.closed != 1 || second.closed != 1 {
			t.Errorf("closed %d and %d times", first.closed, second.closed)
		}
	}
}

// Nothing is processed or sent after an operator failed, not even the rest of
// what the operator before it emits.
func TestNothingAfterAFailure(t *testing.T) {
	t.Parallel()
	first, second := &op{}, &op{}
	seen := 0
	first.process = func(_ int, b *columnar.Batch) error {
		first.ctx.Out.Emit(b)
		emit(first.ctx, 2)
		return nil
	}
	second.process = func(int, *columnar.Batch) error { seen++; return errors.New("no") }
	r := chain(t, 1, first, second).begin()
	r.rows(0, 1)
	r.run()
	if seen != 1 || len(r.out.log) != 0 {
		t.Errorf("%d batches processed, sent %v", seen, r.out.log)
	}
}

// Effects are reported as committed in order, when those prepared up to the
// checkpoint are confirmed, also while later ones wait.
func TestCommitsAreReported(t *testing.T) {
	t.Parallel()
	o := &op{}
	o.snapshot = func(operators.Checkpoint) ([]byte, error) { o.left++; return nil, nil }
	r := chain(t, 1, o).begin()
	for id := range dataflow.CheckpointID(3) {
		r.barrier(0, id+1)
	}
	r.run()
	r.task.Commit(1)
	r.task.Commit(2)
	r.run()
	if len(r.committed) != 0 {
		t.Fatalf("committed %v while %d are open", r.committed, o.left)
	}
	confirm := func() { o.ctx.Mail(func() error { o.left--; return nil }) }
	confirm()
	r.run()
	if !slices.Equal(r.committed, []dataflow.CheckpointID{1}) {
		t.Fatalf("committed %v", r.committed)
	}
	confirm()
	r.run()
	if !slices.Equal(r.committed, []dataflow.CheckpointID{1, 2}) {
		t.Fatalf("committed %v", r.committed)
	}
	if r.snapshots[2].Committables != 3 {
		t.Errorf("%d committables in the third snapshot", r.snapshots[2].Committables)
	}
}

// After a restore the watermark starts at the minimum of the old subtasks and
// never goes back.
func TestRestoredWatermark(t *testing.T) {
	t.Parallel()
	var old oldState
	for _, wm := range []int64{70, 50} {
		r := chain(t, 1, &op{}).begin()
		r.wm(0, wm)
		r.barrier(0, 1)
		r.run()
		old.tasks = append(old.tasks, taskPart(t, r.snapshots[0]))
	}
	r := restoredChain(t, old, 1, &op{}).begin()
	r.wm(0, 40)
	r.wm(0, 60)
	r.expect("wm 50", "wm 60")
}

// A subtask that had finished does not act on the end again.
func TestRestoredFinished(t *testing.T) {
	t.Parallel()
	first := chain(t, 1, &op{}).begin()
	first.end(0)
	first.run()
	first.trigger(1, nil)
	first.run()
	ended := 0
	o := &op{end: func() (bool, error) { ended++; return true, nil }}
	r := restoredChain(t, oldState{tasks: [][]byte{taskPart(t, first.snapshots[0])}}, 1, o).begin()
	r.expect("wm max", "end")
	r.wm(0, dataflow.TimeMax)
	r.end(0)
	r.trigger(2, nil)
	r.expect("wm max", "end")
	if ended != 0 || r.finished != 1 || len(r.snapshots) != 1 || !r.snapshots[0].Finished {
		t.Errorf("ended %d times, finished %d, snapshots %v", ended, r.finished, r.snapshots)
	}
	r.rows(0, 1)
	if w := r.run(); !w.Done {
		t.Error("rows for a finished subtask were dropped silently")
	}
}

// Drive runs a task on a goroutine of its own and ends with its context.
func TestDrive(t *testing.T) {
	t.Parallel()
	got := make(chan int64, 10)
	o := &op{}
	o.process = func(_ int, b *columnar.Batch) error { got <- columnar.Rows[int64](b)[0]; return nil }
	r := chain(t, 1, o).begin()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		task.Drive(done, r.task, r.clock)
	}()
	for i := range int64(100) {
		r.rows(0, i)
		if x := <-got; x != i {
			t.Fatalf("got %d, want %d", x, i)
		}
	}
	close(done)
	<-ended
	r.task.Close()
}

var _ exchange.Sender = (*sender)(nil)
