package task_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/graph"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/task"
)

// full makes the output stall until the function it returns is called.
func full(r *rig) (drain func()) {
	r.out.full = true
	return func() {
		r.out.full = false
		r.cfg.Mailbox.Wake()
	}
}

// recorded returns the rows on their way in the i-th snapshot, which a restore
// replays, in order.
func recorded(t *testing.T, s *task.Snapshot) (data []byte) {
	t.Helper()
	for _, p := range s.Parts {
		if p.Kind == controlv1.StateKind_STATE_KIND_CHANNEL {
			data = slices.Clone(p.Spool.Bytes())
		}
	}
	return data
}

// replayed returns the rows that a task which starts from the data sends.
func replayed(t *testing.T, data []byte) string {
	t.Helper()
	r := restoredChain(t, oldState{channels: [][]byte{data}}, 2, &op{})
	r.rows(0, 1000)
	r.begin()
	r.run()
	return numbers(r.out.log)
}

// numbers returns what was sent without the bounds of batches.
func numbers(sent []string) string {
	return strings.NewReplacer("[", "", "]", "").Replace(strings.Join(sent, " "))
}

// TestABarrierOvertakes: the output is full, rows and barriers wait. After the
// time-out the task snapshots, sends the barrier on, and the rows before it are
// in the checkpoint; they are processed later, once, all the same.
func TestABarrierOvertakes(t *testing.T) {
	t.Parallel()
	r := chain(t, 2, &op{}).begin()
	drain := full(r)
	r.rows(0, 1, 2)
	r.barrier(0, 1)
	r.rows(0, 3)
	r.rows(1, 10)
	r.run()
	r.clock.Advance(499 * time.Millisecond)
	if r.run(); len(r.snapshots) > 0 || len(r.out.log) > 0 {
		t.Fatalf("%d snapshots before the time-out, sent %v", len(r.snapshots), r.out.log)
	}
	r.clock.Advance(time.Millisecond)
	r.expect("barrier 1 overtakes")
	if len(r.snapshots) > 0 {
		t.Fatal("a snapshot before channel 1 had brought its barrier")
	}
	r.rows(1, 11)
	r.barrier(1, 1)
	r.rows(1, 12)
	r.run()
	if len(r.snapshots) != 1 || r.snapshots[0].ID != 1 {
		t.Fatalf("snapshots %v", r.snapshots)
	}
	if got, want := replayed(t, recorded(t, r.snapshots[0])), "1 2 10 11 1000"; got != want {
		t.Errorf("a restore sends %v, want %v", got, want)
	}
	drain()
	r.run()
	if got := numbers(r.out.log[1:]); got != "1 2 10 11 3 12" && got != "1 2 10 3 11 12" {
		t.Errorf("sent %s", got)
	}
	if len(r.snapshots) != 1 {
		t.Errorf("%d snapshots", len(r.snapshots))
	}
}

// TestABarrierThatOvertookIsNotWaitedFor: it came from a task that did not wait.
func TestABarrierThatOvertookIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	r := chain(t, 2, &op{}).begin()
	full(r)
	r.rows(0, 1)
	r.gate.Channel(0).Send(exchange.Element{Kind: exchange.KindBarrier, Barrier: &exchange.Barrier{ID: 4, Overtakes: true}})
	r.expect("barrier 4 overtakes")
}

// TestSavepointsWait: theirs, and those of a stop, never overtake.
func TestSavepointsWait(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]exchange.Barrier{"savepoint": {ID: 1, Savepoint: true}, "stop": {ID: 1, Stop: true}, "final": {ID: 1, Final: true}} {
		r := chain(t, 2, &op{}).begin()
		r.trigger(1, func(tr *task.Trigger) { tr.Barrier = b })
		full(r)
		r.rows(0, 1)
		r.gate.Channel(0).Send(exchange.Element{Kind: exchange.KindBarrier, Barrier: &b})
		r.run()
		r.clock.Advance(time.Hour)
		if r.run(); len(r.snapshots) > 0 || len(r.out.log) > 0 {
			t.Errorf("%s: %d snapshots, sent %v", name, len(r.snapshots), r.out.log)
		}
	}
}

// TestAnAnnouncedBarrierOvertakes: senders that have ended send none, and a
// sender may be stuck. What was taken since the snapshot is recorded, too.
func TestAnAnnouncedBarrierOvertakes(t *testing.T) {
	t.Parallel()
	r := chain(t, 2, &op{}).begin()
	drain := full(r)
	r.rows(0, 1)
	r.end(0)
	r.rows(1, 10)
	r.trigger(3, nil)
	r.run()
	r.clock.Advance(500 * time.Millisecond)
	r.expect("barrier 3 overtakes")
	drain()
	r.run()
	r.rows(1, 11)
	r.run()
	if got := numbers(r.out.log); got != "barrier 3 overtakes 1 10 11" {
		t.Errorf("sent %s", got)
	}
	if len(r.snapshots) > 0 {
		t.Fatal("a snapshot before channel 1 had brought its barrier")
	}
	r.barrier(1, 3)
	r.run()
	if len(r.snapshots) != 1 {
		t.Fatalf("%d snapshots", len(r.snapshots))
	}
	if got, want := replayed(t, recorded(t, r.snapshots[0])), "1 10 11 1000"; got != want {
		t.Errorf("a restore sends %v, want %v", got, want)
	}
}

// TestRowsAreRecordedAnew by each checkpoint that they are on their way in,
// those that are replayed among them.
func TestRowsAreRecordedAnew(t *testing.T) {
	t.Parallel()
	r := chain(t, 1, &op{}).begin()
	full(r)
	r.rows(0, 1)
	r.barrier(0, 1)
	r.run()
	r.clock.Advance(time.Second)
	r.run()
	r.rows(0, 2)
	r.barrier(0, 2)
	r.run()
	r.clock.Advance(time.Second)
	r.run()
	if len(r.snapshots) != 2 {
		t.Fatalf("%d snapshots", len(r.snapshots))
	}
	for i, want := range []string{"1 1000", "1 2 1000"} {
		if got := replayed(t, recorded(t, r.snapshots[i])); got != want {
			t.Errorf("checkpoint %d: a restore sends %s, want %s", i+1, got, want)
		}
	}
	second := restoredChain(t, oldState{channels: [][]byte{recorded(t, r.snapshots[1])}}, 1, &op{}).open()
	full(second)
	second.rows(0, 3)
	second.barrier(0, 5)
	second.run()
	second.clock.Advance(time.Second)
	second.run()
	if len(second.snapshots) != 1 {
		t.Fatalf("%d snapshots", len(second.snapshots))
	}
	if got, want := replayed(t, recorded(t, second.snapshots[0])), "1 2 3 1000"; got != want {
		t.Errorf("rows that were to be replayed: a restore sends %s, want %s", got, want)
	}
}

// TestARecordingIsGivenUp when its checkpoint is, and for a later one.
func TestARecordingIsGivenUp(t *testing.T) {
	t.Parallel()
	r := chain(t, 2, &op{}).begin()
	full(r)
	r.rows(0, 1)
	r.barrier(0, 1)
	r.run()
	r.clock.Advance(time.Second)
	r.expect("barrier 1 overtakes")
	r.task.Abort(1)
	r.run()
	r.barrier(1, 1)
	if r.run(); len(r.snapshots) > 0 {
		t.Fatal("a checkpoint that was given up has a snapshot")
	}
	r.barrier(0, 2)
	r.run()
	r.clock.Advance(time.Second)
	r.expect("barrier 1 overtakes", "barrier 2 overtakes")
	r.barrier(0, 3)
	r.run()
	r.clock.Advance(time.Second)
	r.expect("barrier 1 overtakes", "barrier 2 overtakes", "barrier 3 overtakes")
	r.barrier(1, 2)
	r.barrier(1, 3)
	r.run()
	if len(r.snapshots) != 1 || r.snapshots[0].ID != 3 {
		t.Errorf("snapshots %+v", r.snapshots)
	}
}

// TestSlowRowsAreTakenInSlices, so that a barrier is looked for in between; the
// rest of the batch is in the checkpoint.
func TestSlowRowsAreTakenInSlices(t *testing.T) {
	t.Parallel()
	var r *rig
	slow := &op{}
	slow.process = func(_ int, b *columnar.Batch) error {
		r.clock.Advance(time.Duration(len(columnar.Rows[int64](b))) * 10 * time.Millisecond)
		slow.ctx.Out.Emit(b)
		return nil
	}
	r = chain(t, 1, slow).begin()
	r.rows(0, seq(0, 20)...)
	r.rows(0, seq(20, 50)...)
	r.run()
	if got, want := numbers(r.out.log), numbers([]string{fmt.Sprint(seq(0, 50))}); got != want {
		t.Errorf("sent %s", got)
	}
	r.out.log = nil
	r.rows(0, seq(50, 150)...)
	r.barrier(0, 1)
	for range 100 {
		if r.task.Step(); len(r.snapshots) > 0 {
			break
		}
	}
	done, left := 0, 0
	for _, l := range r.out.log {
		if strings.HasPrefix(l, "barrier") {
			break
		}
		done += len(strings.Fields(l))
	}
	if len(r.snapshots) > 0 {
		left = len(strings.Fields(replayed(t, recorded(t, r.snapshots[0])))) - 1
	}
	if done+left != 100 || done == 0 || left == 0 {
		t.Errorf("%d rows were sent before the barrier and %d are in the checkpoint, of 100: %v", done, left, r.out.log)
	}
}

func seq(from, to int64) (rows []int64) {
	for ; from < to; from++ {
		rows = append(rows, from)
	}
	return rows
}

// TestRowsOfAnEdgeThatIsGone are refused with what to do.
func TestRowsOfAnEdgeThatIsGone(t *testing.T) {
	t.Parallel()
	r := chain(t, 1, &op{}).begin()
	full(r)
	r.rows(0, 1)
	r.gate.Channel(0).Send(exchange.Element{Kind: exchange.KindBarrier, Barrier: &exchange.Barrier{ID: 1, Overtakes: true}})
	r.run()
	data := recorded(t, r.snapshots[0])
	changed := slices.Clone(data)
	copy(changed[3:], "behind") // the sender is "before"
	for name, x := range map[string]struct {
		data []byte
		want string
	}{
		"another sender":  {changed, "start the changed program from a savepoint"},
		"another version": {append([]byte{9}, data[1:]...), "version 9"},
		"cut":             {data[:len(data)-1], "damaged"},
	} {
		r := restoredChain(t, oldState{channels: [][]byte{x.data}}, 1, &op{})
		err := r.task.Open(t.Context())
		f := r.task.Failure()
		if err == nil || !strings.Contains(fmt.Sprint(err, f), x.want) {
			t.Errorf("%s: %v, %v", name, err, f)
		}
		r.task.Close()
	}
}

// TestBroadcastInputsWait: subtasks may have gone further in what each of them
// has a copy of, so rows on their way to one are not those of another. So do
// tasks of a job that wants no overtaking.
func TestBroadcastInputsWait(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*graph.Plan){
		"broadcast": func(p *graph.Plan) { p.Streams[inStream].Edge.Partitioning = graph.Broadcast },
		"never":     func(p *graph.Plan) { p.Graph.Config.AlignedTimeout = -1 },
	} {
		r := chain(t, 2, &op{})
		change(r.cfg.Plan)
		var err error
		if r.task, err = task.New(r.cfg); err != nil {
			t.Fatal(err)
		}
		r.begin()
		drain := full(r)
		r.rows(0, 1)
		r.barrier(0, 1)
		r.barrier(1, 1)
		r.run()
		r.clock.Advance(time.Hour)
		if r.run(); len(r.snapshots) > 0 || len(r.out.log) > 0 {
			t.Errorf("%s: %d snapshots, sent %v", name, len(r.snapshots), r.out.log)
		}
		drain()
		r.expect("[1]", "barrier 1")
	}
}
