package sourceop_test

import (
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/sourceop"
)

// A subtask that had reached its end is not polled after a restore, but the
// others are told that no split follows only when it has reported what it
// holds (FLINK-35522).
func TestSubtaskThatHadEndedReports(t *testing.T) {
	t.Parallel()
	src := newScripted(2)
	src.bounded = true
	h, _ := start(t, src, sourceop.Config{}, 2)
	src.put(0, connectors.Fetched{SplitEnd: true})
	h.PollAll(0)
	snap := h.Checkpoint(operators.Checkpoint{ID: 1})
	h.Restore(snap, 2)
	ended, ok := h.Subs[0].Operator.(operators.EndRestorer)
	if !ok {
		t.Fatalf("%T is not told of an end before the restore", h.Subs[0].Operator)
	}
	if err := ended.RestoredEnd(); err != nil {
		t.Fatal(err)
	}
	h.Take()
	c := h.NewCoordinator(nil)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	h.Poll(1)
	h.Deliver(c)
	h.RunMail()
	src.put(1, connectors.Fetched{SplitEnd: true})
	if s := h.PollAll(1); s != operators.PollFinished {
		t.Fatalf("subtask 1 says %v", s)
	}
	expect(t, h, "w=max")
}

// A split that appears only then has no reader any more: its rows must not be
// lost silently.
func TestSplitForASubtaskThatHadEnded(t *testing.T) {
	t.Parallel()
	src := newScripted(1)
	src.bounded = true
	h, _ := start(t, src, sourceop.Config{}, 1)
	src.put(0, connectors.Fetched{SplitEnd: true})
	h.PollAll(0)
	h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 1)
	ended, _ := h.Subs[0].Operator.(operators.EndRestorer)
	if err := ended.RestoredEnd(); err != nil {
		t.Fatal(err)
	}
	s, ok := h.Subs[0].Operator.(operators.SourceOperator)
	if !ok {
		t.Fatal("no source")
	}
	err := s.HandleEvent([]byte(`{"assign":{"splits":[{"ID":"s7"}],"noMore":true}}`))
	if err == nil || !strings.Contains(err.Error(), `"s7" was found only after`) {
		t.Fatalf("error %v", err)
	}
	if err := s.HandleEvent([]byte(`{"assign":{"splits":null,"noMore":true}}`)); err != nil {
		t.Fatal(err)
	}
}
