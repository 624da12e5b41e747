package sourceop_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/operatortest"
	"github.com/leatstream/leat/operators/sourceop"
)

// stagedEnumerator returns one of its source's stages after the other.
type stagedEnumerator struct {
	enumerator
	stage int
	ends  []string
	next  bool
}

var _ connectors.StagedEnumerator = (*stagedEnumerator)(nil)

func newStaged(s *scripted, restored []byte) *stagedEnumerator {
	e := &stagedEnumerator{enumerator: enumerator{s}}
	e.stage, _ = strconv.Atoi(string(restored))
	s.splits = s.stages[e.stage]
	return e
}

func (e *stagedEnumerator) More() bool { return e.stage < len(e.src.stages)-1 }

func (e *stagedEnumerator) Advance(ended []connectors.EndedSplit) {
	e.next = true
	e.ends = nil
	for _, s := range ended {
		e.ends = append(e.ends, fmt.Sprintf("%s@%s w%d", s.ID, s.Position, s.Watermark))
	}
}

func (e *stagedEnumerator) Discover(ctx context.Context) ([]connectors.Split, error) {
	if e.next {
		e.next = false
		e.stage++
		e.src.splits = e.src.stages[e.stage]
		e.src.ends = e.ends
	}
	return e.enumerator.Discover(ctx)
}

func (e *stagedEnumerator) Snapshot() ([]byte, error) {
	return strconv.AppendInt(nil, int64(e.stage), 10), nil
}

func stagedSource(stages ...[]string) *scripted {
	return &scripted{stages: stages, feed: make(map[string][]connectors.Fetched)}
}

func ending(times ...int64) connectors.Fetched {
	f := rows(times...)
	f.SplitEnd = true
	return f
}

// settle lets events and mail go to and fro until nothing is left of them.
func settle(h *operatortest.Harness, c operators.Coordinator) {
	for range 8 {
		for i := range h.Subs {
			h.PollAll(i)
		}
		h.Deliver(c)
		h.RunMail()
	}
}

func expectOf(t *testing.T, h *operatortest.Harness, subtask int, want string) {
	t.Helper()
	got := ""
	for _, e := range h.Take() {
		if e.Subtask != subtask {
			continue
		}
		switch {
		case e.Watermark != nil && *e.Watermark == dataflow.TimeMax:
			got += " w=max"
		case e.Watermark != nil:
			got += fmt.Sprintf(" w=%d", *e.Watermark)
		case e.Idle != nil && *e.Idle:
			got += " idle"
		case e.Idle != nil:
			got += " active"
		default:
			got += fmt.Sprint(" ", e.Batch.Rows)
		}
	}
	if want != "" {
		want = " " + want
	}
	if got != want {
		t.Fatalf("subtask %d emitted %q, want %q", subtask, got, want)
	}
}

// TestEndedSplitsHoldUntilTheNextStage: the watermark stays at the least of
// what ended until the next stage's splits have one; a subtask without splits
// of it turns idle only after a while.
func TestEndedSplitsHoldUntilTheNextStage(t *testing.T) {
	t.Parallel()
	src := stagedSource([]string{"s0", "s2", "s1"}, []string{"s4"})
	h, c := start(t, src, sourceop.Config{IdleAfter: time.Second}, 2)
	src.put(0, ending(10))
	src.put(2, ending(50))
	settle(h, c)
	expectOf(t, h, 0, "[10] [50] w=9")
	if src.ends != nil {
		t.Fatalf("the next stage began before subtask 1 had ended: %v", src.ends)
	}
	src.put(1, rows(30), ending(90))
	settle(h, c)
	if want := "[s0@1 w9 s1@2 w89 s2@1 w49]"; fmt.Sprint(src.ends) != want {
		t.Fatalf("ends %v, want %s", src.ends, want)
	}
	expectOf(t, h, 1, "[30] [90] w=89")
	h.Advance(999 * time.Millisecond)
	settle(h, c)
	expectOf(t, h, 1, "")
	h.Advance(2 * time.Millisecond)
	settle(h, c)
	expectOf(t, h, 1, "idle")
	src.put(4, rows(12), rows(60))
	settle(h, c)
	expectOf(t, h, 0, "[12] [60] w=59")
}

// TestAStageWaitsForThoseThatWereIdle: subtask 1 had no split of the first
// stage, so nobody waits for it. What subtask 0 says of the next one, where
// subtask 1 has a split that goes on where the first stage ended, must not come
// before it is heard that subtask 1 is active: neither a watermark nor an end.
func TestAStageWaitsForThoseThatWereIdle(t *testing.T) {
	t.Parallel()
	src := stagedSource([]string{"s0"}, []string{"s2", "s1"})
	src.bounded = true
	h, c := start(t, src, sourceop.Config{IdleAfter: time.Minute}, 2)
	settle(h, c)
	expectOf(t, h, 1, "idle")
	src.put(0, ending(10))
	src.put(2, ending(1000))
	src.put(1, rows(20))
	settle(h, c)
	expectOf(t, h, 0, "[10] w=9 [1000]")
	h.Advance(999 * time.Millisecond)
	settle(h, c)
	expectOf(t, h, 0, "")
	h.Advance(2 * time.Millisecond)
	settle(h, c)
	expectOf(t, h, 0, "w=999 idle active w=max")
}

// TestEmptySplitsHoldNothing: without rows there is no time to hold back.
func TestEmptySplitsHoldNothing(t *testing.T) {
	t.Parallel()
	src := stagedSource([]string{"s0", "s1"}, []string{"s2"})
	h, c := start(t, src, sourceop.Config{}, 2)
	src.put(0, connectors.Fetched{SplitEnd: true})
	src.put(1, rows(30))
	settle(h, c)
	expectOf(t, h, 0, "idle")
}

// TestARestoreBetweenStages goes on from a checkpoint in each stage of three:
// what was held before it is held after it, and what is passed is not.
func TestARestoreBetweenStages(t *testing.T) {
	t.Parallel()
	src := stagedSource([]string{"s0"}, []string{"s1"}, []string{"s3"})
	h, c := start(t, src, sourceop.Config{IdleAfter: time.Second}, 2)
	src.put(0, ending(10))
	settle(h, c)
	expectOf(t, h, 0, "[10] w=9")
	// Subtask 0 has what it had in stage 0, subtask 1 is in stage 1.
	restore := func(state string) {
		h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 2)
		h.Take()
		c = connect(t, h, []byte(state))
	}
	restore("1")
	src.put(0, connectors.Fetched{SplitEnd: true}) // ends again
	src.put(1, ending(40))
	settle(h, c)
	if want := "[s1@1 w39]"; fmt.Sprint(src.ends) != want {
		t.Fatalf("ends %v, want %s", src.ends, want)
	}
	expectOf(t, h, 0, "w=9 idle")
}

// TestARestoreWithinAStage: what had ended in a stage that is not over holds
// back the watermark after a restore as it did before.
func TestARestoreWithinAStage(t *testing.T) {
	t.Parallel()
	src := stagedSource([]string{"s0", "s1"}, []string{"s2"})
	h, c := start(t, src, sourceop.Config{IdleAfter: time.Second}, 2)
	src.put(0, ending(10))
	settle(h, c)
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 2)
	h.Take()
	src.put(0, connectors.Fetched{SplitEnd: true}) // ends again
	c = connect(t, h, []byte("0"))
	settle(h, c)
	h.Advance(time.Hour)
	settle(h, c)
	expectOf(t, h, 0, "w=9")
}

// alone is the context of a coordinator without subtasks, which notes what it
// sends and how often it wants a checkpoint.
func alone(t *testing.T, sent *[]string, wishes *int) *operators.CoordinatorContext {
	return &operators.CoordinatorContext{
		Parallelism: 1, Async: func(fn func() error, done func(error) error) {
			if err := done(fn()); err != nil {
				t.Error(err)
			}
		},
		Send:           func(_ int, payload []byte) { *sent = append(*sent, string(payload)) },
		After:          func(int64, func() error) {},
		WantCheckpoint: func() { *wishes++ },
	}
}

// TestALaterStageIsInACheckpointFirst drives the coordinator alone.
func TestALaterStageIsInACheckpointFirst(t *testing.T) {
	t.Parallel()
	src := stagedSource([]string{"s0"}, []string{"s1"})
	var sent []string
	wishes := 0
	ctx := alone(t, &sent, &wishes)
	c, err := sourceop.New(sourceop.Config{Source: src}).NewCoordinator(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	commit := func(cp dataflow.CheckpointID) {
		t.Helper()
		if err := c.(operators.CheckpointListener).CheckpointCommitted(cp); err != nil {
			t.Error(err)
		}
	}
	snapshot := func(cp dataflow.CheckpointID, want string) {
		t.Helper()
		if b, err := c.Snapshot(cp); err != nil || string(b) != want {
			t.Errorf("snapshot %q, %v; want %q", b, err, want)
		}
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.HandleEvent(0, []byte(`{"held":[]}`)); err != nil || len(sent) != 1 || wishes != 0 {
		t.Fatalf("sent %v, %d wishes, %v", sent, wishes, err)
	}
	snapshot(1, "0")
	if err := c.HandleEvent(0, []byte(`{"ended":[{"ID":"s0","Position":"MQ==","Watermark":9}]}`)); err != nil {
		t.Fatal(err)
	}
	commit(1) // without the decision
	if len(sent) != 1 || wishes != 1 {
		t.Fatalf("sent %v, %d wishes before a checkpoint has the decision", sent, wishes)
	}
	snapshot(2, "1")
	commit(2)
	if len(sent) != 2 || !strings.Contains(sent[1], `"begins":true`) {
		t.Fatalf("sent %v after the checkpoint", sent)
	}
	// The first checkpoint after that may have begun before; one more must be
	// committed until the subtask is surely heard.
	snapshot(3, "1")
	if err := c.HandleEvent(0, []byte(`{"took":true}`)); err != nil || wishes != 2 {
		t.Fatalf("%d wishes, %v", wishes, err)
	}
	commit(3)
	snapshot(4, "1")
	commit(4)
	if len(sent) != 2 || wishes != 3 {
		t.Fatalf("sent %v, %d wishes, before a checkpoint that began later", sent, wishes)
	}
	snapshot(5, "1")
	commit(5)
	if len(sent) != 3 || sent[2] != `{"release":{"heard":true}}` {
		t.Fatalf("sent %v", sent)
	}
	commit(6)
	if len(sent) != 3 {
		t.Fatalf("sent %v: released twice", sent)
	}
}
