package jobmaster

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/leatstream/leat/checkpoint"
	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

// HistoryMax bounds the checkpoints shown of a job.
const HistoryMax = 100

// history is what people see of past checkpoints, newest first.
type history struct {
	entries                   []jobview.Checkpoint
	completed, failed         int
	latest, savepoint, broken *jobview.Checkpoint
}

// recover shows what a former leader committed; only its place is known.
func (h *history) recover(p checkpoint.Pointer, uri func(string) string) {
	for _, e := range p.Retained {
		h.add(jobview.Checkpoint{ID: e.ID, Savepoint: e.Savepoint, Status: "COMPLETED", Path: uri(e.Manifest)})
	}
	if l := p.Latest; l != nil && h.find(l.ID) == nil {
		h.add(jobview.Checkpoint{ID: l.ID, Savepoint: l.Savepoint, Status: "COMPLETED", Path: uri(l.Manifest)})
	}
	if l := p.Latest; l != nil {
		c := *h.find(l.ID)
		h.latest = &c
		if c.Savepoint {
			h.savepoint = &c
		}
	}
}

func (h *history) add(c jobview.Checkpoint) {
	h.entries = slices.Insert(h.entries, 0, c)
	h.entries = h.entries[:min(len(h.entries), HistoryMax)]
}

func (h *history) find(id dataflow.CheckpointID) *jobview.Checkpoint {
	for i := range h.entries {
		if h.entries[i].ID == id {
			return &h.entries[i]
		}
	}
	return nil
}

func fill(c *jobview.Checkpoint, s checkpoint.Summary) {
	c.ID, c.Savepoint, c.Triggered, c.Completed = s.ID, s.Kind.Savepoint(), s.Triggered, s.Ended
	c.InFlightBytes = s.InFlightBytes
	c.Bytes, c.StateBytes, c.Acked, c.Subtasks, c.AlignmentMax = s.Bytes, s.StateBytes, s.Acked, s.Subtasks, s.AlignmentMax
}

func (h *history) triggered(s checkpoint.Summary) {
	c := jobview.Checkpoint{Status: "IN_PROGRESS"}
	fill(&c, s)
	h.add(c)
}

func (h *history) committed(cmd checkpoint.Committed, uri func(string) string) {
	h.completed++
	c := h.find(cmd.Summary.ID)
	if c == nil {
		c = &jobview.Checkpoint{}
	}
	fill(c, cmd.Summary)
	c.Status, c.Path = "COMPLETED", uri(cmd.Entry.Manifest)
	done := *c
	h.latest = &done
	if done.Savepoint {
		h.savepoint = &done
	}
}

func (h *history) aborted(cmd checkpoint.Abort) {
	h.failed++
	c := h.find(cmd.ID)
	if c == nil {
		c = &jobview.Checkpoint{}
	}
	fill(c, cmd.Summary)
	c.Status, c.Failure, c.Discarded = "FAILED", cmd.Cause.String()+": "+cmd.Reason, true
	failed := *c
	h.broken = &failed
}

func (h *history) discarded(id dataflow.CheckpointID) {
	if c := h.find(id); c != nil {
		c.Discarded = true
	}
}

// view returns copies; active is the one under way.
func (h *history) view(active *checkpoint.Summary, restored int) jobview.Checkpoints {
	out := jobview.Checkpoints{Completed: h.completed, Failed: h.failed, Restored: restored, History: slices.Clone(h.entries)}
	out.Latest, out.LastSavepoint, out.LastFailed = clonePointer(h.latest), clonePointer(h.savepoint), clonePointer(h.broken)
	if active != nil {
		out.InProgress = 1
		for i := range out.History {
			if out.History[i].ID == active.ID {
				fill(&out.History[i], *active)
			}
		}
	}
	return out
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func cloneManifest(m *checkpointv1.Manifest) *checkpointv1.Manifest {
	return proto.Clone(m).(*checkpointv1.Manifest)
}
