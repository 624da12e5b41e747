package worker

import (
	"slices"

	"github.com/leatstream/leat/checkpoint/chain"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/task"
)

// inlineBytesMax is the size up to which the state of a worker travels inside
// the acknowledgement instead of in an object of its own.
const inlineBytesMax = 16 << 10

// gathered is one checkpoint of this worker under way.
type gathered struct {
	id        dataflow.CheckpointID
	dir       string
	triggered bool
	snapshots []*task.Snapshot // by task
	missing   int

	// Set once all are there.
	ack    *controlv1.CheckpointAck
	object string // "": all is inline
	pieces []piece
	chains []*chain.Chain // of which the object has a file
}

// gather returns the checkpoint's account, nil when it is settled.
func (c *core) gather(id dataflow.CheckpointID) *gathered {
	if c.isSettled(id) {
		return nil
	}
	g := c.gathers[id]
	if g == nil {
		if len(c.gathers) >= gathersMax {
			c.decline(slices.Min(keys(c.gathers)), nil, "too many checkpoints are under way")
		}
		g = &gathered{id: id, snapshots: make([]*task.Snapshot, len(c.tasks)), missing: len(c.tasks)}
		c.gathers[id] = g
	}
	return g
}

func (c *core) onSnapshot(i int, s *task.Snapshot) {
	g := c.gather(s.ID)
	switch {
	case g == nil || g.snapshots[i] != nil:
		return
	case s.Err != nil:
		c.decline(s.ID, c.tasks[i].ref, s.Err.Error())
		return
	}
	g.snapshots[i] = s
	g.missing--
	c.completeIfAll(s.ID)
}

// completeIfAll lays the state of all tasks side by side once it is there and
// the place of the object is known.
func (c *core) completeIfAll(id dataflow.CheckpointID) {
	g := c.gathers[id]
	if g == nil || g.missing > 0 || !g.triggered || g.ack != nil {
		return
	}
	c.layOut(g)
	c.act(action{upload: g})
}

func (c *core) layOut(g *gathered) {
	var total int64
	for _, s := range g.snapshots {
		for _, p := range s.Parts {
			total += p.Size()
		}
	}
	g.ack = &controlv1.CheckpointAck{Id: int64(g.id), Bytes: total}
	inline := total <= inlineBytesMax && !inPart(g.snapshots)
	if !inline {
		g.object = g.dir // the driver adds the worker's name
	}
	var offset int64
	for i, s := range g.snapshots {
		sub := &controlv1.SubtaskSnapshot{
			Subtask: c.tasks[i].ref, AlignmentNanos: int64(s.Alignment), SyncNanos: int64(s.Sync), AsyncNanos: int64(s.Async),
			StartDelayNanos: int64(s.StartDelay), Finished: s.Finished, Committables: s.Committables,
		}
		for _, p := range s.Parts {
			h := &controlv1.StateHandle{
				OperatorId: string(p.Operator), Kind: p.Kind, Subtask: c.tasks[i].ref.GetSubtask(),
				Length: p.Size(), Crc32C: p.CRC32C,
				KeyGroupFirst: uint32(p.Groups.First), KeyGroupLast: uint32(p.Groups.Last),
			}
			if inline {
				h.Inline = p.Bytes()
			} else {
				h.Offset = offset
				g.pieces = append(g.pieces, piece{r: p.Reader(), size: p.Size()})
			}
			offset += p.Size()
			if p.Chain == nil {
				sub.Handles = append(sub.Handles, h)
				continue
			}
			h.Written, h.Base = int64(g.id), int64(p.Base)
			h.WholeFirst, h.WholeLast = uint32(p.Plan.Whole.First), uint32(p.Plan.Whole.Last)
			sub.Handles = append(sub.Handles, p.Chain.Written(g.id, p.Plan, h)...)
			g.chains = append(g.chains, p.Chain)
		}
		g.ack.Subtasks = append(g.ack.Subtasks, sub)
	}
	g.snapshots = nil
}

// inPart reports whether state is written that adds to other files. Those of a
// chain lie in objects: inline, every manifest would hold them all.
func inPart(snapshots []*task.Snapshot) bool {
	return slices.ContainsFunc(snapshots, func(s *task.Snapshot) bool {
		return slices.ContainsFunc(s.Parts, func(p task.Part) bool { return p.Base != 0 })
	})
}

// placed names the object in what is new.
func (g *gathered) placed(key string) {
	for _, s := range g.ack.Subtasks {
		for _, h := range s.Handles {
			if h.Object == "" && len(h.Inline) == 0 {
				h.Object = key
			}
		}
	}
	for _, c := range g.chains {
		c.Placed(g.id, key)
	}
}

// onUploaded acknowledges a checkpoint whose object is stored.
func (c *core) onUploaded(u *uploaded) {
	g := c.gathers[u.id]
	if g == nil {
		return // aborted meanwhile
	}
	if u.err != nil {
		c.decline(u.id, nil, u.err.Error())
		return
	}
	c.settle(u.id)
	c.send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CheckpointAck{CheckpointAck: g.ack}})
}

// decline gives up a checkpoint, once.
func (c *core) decline(id dataflow.CheckpointID, ref *controlv1.SubtaskRef, reason string) {
	if c.isSettled(id) {
		return
	}
	c.settle(id)
	c.send(&controlv1.WorkerEvent{Body: &controlv1.WorkerEvent_CheckpointDecline{CheckpointDecline: &controlv1.CheckpointDecline{
		Id: int64(id), Subtask: ref, Reason: reason,
	}}})
}

// isSettled reports whether nothing more is to be said of a checkpoint.
func (c *core) isSettled(id dataflow.CheckpointID) bool {
	return c.voided.has(id) || slices.Contains(c.settled, id)
}

// settle forgets a checkpoint and ignores what still comes of it.
func (c *core) settle(id dataflow.CheckpointID) {
	delete(c.gathers, id)
	if slices.Contains(c.settled, id) {
		return
	}
	if len(c.settled) == settledMax {
		c.settled = append(c.settled[:0], c.settled[1:]...)
	}
	c.settled = append(c.settled, id)
}
