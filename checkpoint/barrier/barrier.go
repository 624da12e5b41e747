// Package barrier aligns the checkpoint barriers of one task over all its
// input channels and says when the task may snapshot. It does not read
// channels, take snapshots or look at a clock: it is a pure step function that
// the task's loop drives.
package barrier

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow"
)

// EventKind tells what happened.
type EventKind uint8

// Kinds of events.
const (
	// EventBarrier: a barrier was read from Channel.
	EventBarrier EventKind = iota + 1
	// EventEnd: Channel has ended; it counts as having delivered every
	// barrier that is still to come.
	EventEnd
	// EventTriggered: the worker was told to take checkpoint ID. It matters
	// only once every channel has ended, since no barrier flows then.
	EventTriggered
	// EventAborted: checkpoint ID was given up by the coordinator.
	EventAborted
	// EventVoided: every checkpoint up to ID was given up, whether it is known
	// here or not; later ids are larger.
	EventVoided
	// EventOvertake: the barrier of checkpoint ID has arrived on some channel,
	// and the task does not wait for the rows before it any longer.
	EventOvertake
	// EventReset: the task starts anew; all channels are open again and ids
	// may begin anywhere.
	EventReset
)

// Event is one input of the aligner.
type Event struct {
	Kind EventKind
	// Channel is the number of the channel among all channels of the task,
	// all input gates counted through; never an index within one gate.
	Channel int
	ID      dataflow.CheckpointID
	// Now is a monotonic reading. It is used for Action.Alignment alone.
	Now time.Duration
}

// ActionKind tells what the task has to do.
type ActionKind uint8

// Kinds of actions.
const (
	// ActionBlock: do not read Channel until it is unblocked.
	ActionBlock ActionKind = iota + 1
	// ActionUnblock: Channel may be read again.
	ActionUnblock
	// ActionAligned: snapshot for ID now, before anything more is read, and
	// forward the barrier.
	ActionAligned
	// ActionRecord: what comes on Channel up to the barrier of ID is part of
	// the checkpoint; ActionAligned follows.
	ActionRecord
	// ActionAbort: the alignment of ID that had begun is given up.
	ActionAbort
)

// Action is one output of the aligner.
type Action struct {
	Kind    ActionKind
	Channel int // of block, unblock and record
	ID      dataflow.CheckpointID
	// Alignment is the time from the first barrier to this action, of
	// aligned and abort; never negative.
	Alignment time.Duration
}

// AbortedMax bounds the aborted ids that are remembered although none of
// their barriers has come yet. Forgetting one costs an alignment that the
// next barrier supersedes, no more.
const AbortedMax = 16

// Aligner is the alignment of one task.
//
//	        barrier id > closed                last missing channel
//	idle ───────────────────────▶ aligning id ──────────────────────▶ idle, closed = id
//	                                │      ▲
//	                      abort id  │      │ barrier id' > id: abort id, closed = id
//	                         idle ◀─┘      └─ (aligning id')
//
// Overtaking ends an alignment, or one that has not begun, as if the channels
// that are missing had delivered.
//
// Invariants: a channel is blocked only while aligning, and only if it has
// delivered the barrier that is being aligned and has not ended; every id that
// is aligned is larger than all that were aligned before; missing = number of
// channels that have neither ended nor delivered. It is not safe for
// concurrent use.
type Aligner struct {
	channels []channel
	open     int // channels that have not ended
	pending  dataflow.CheckpointID
	missing  int
	first    time.Duration
	// closed is the largest id that is settled: barriers up to it are late.
	closed    dataflow.CheckpointID
	triggered dataflow.CheckpointID
	aborted   []dataflow.CheckpointID // ids > closed, at most AbortedMax
	actions   []Action
}

type channel struct {
	blocked   bool
	ended     bool
	delivered bool // the barrier of pending
}

// New returns an aligner of a task with this many input channels.
func New(channels int) *Aligner {
	return &Aligner{channels: make([]channel, channels), open: channels}
}

// Step applies one event and returns what the task must do, in order. The
// slice is valid until the next call. Late barriers and those of aborted
// checkpoints give no action. A channel out of range is a bug of the caller
// and panics.
func (a *Aligner) Step(ev Event) []Action {
	a.actions = a.actions[:0]
	switch ev.Kind {
	case EventBarrier:
		a.onBarrier(ev)
	case EventEnd:
		a.onEnd(ev)
	case EventTriggered:
		a.triggered = max(a.triggered, ev.ID)
		a.alignEnded(ev.Now)
	case EventAborted:
		a.onAborted(ev)
	case EventVoided:
		a.onVoided(ev)
	case EventOvertake:
		a.onOvertake(ev)
	case EventReset:
		a.onReset()
	default:
		panic(fmt.Sprintf("barrier: unknown event kind %d", ev.Kind))
	}
	return a.actions
}

// Blocked reports whether a channel must not be read now.
func (a *Aligner) Blocked(channel int) bool { return a.channels[channel].blocked }

// Settled reports whether a checkpoint was aligned, given up or overtaken by a
// later one, so that its barriers mean nothing any more.
func (a *Aligner) Settled(id dataflow.CheckpointID) bool { return id <= a.closed || a.isAborted(id) }

// Aligning returns the checkpoint whose barriers are being awaited, or 0.
func (a *Aligner) Aligning() dataflow.CheckpointID { return a.pending }

func (a *Aligner) onBarrier(ev Event) {
	ch := &a.channels[ev.Channel]
	switch {
	case ch.ended, ev.ID <= a.closed, ev.ID < a.pending, a.isAborted(ev.ID):
		return
	case ev.ID > a.pending:
		if a.pending != 0 {
			a.giveUp(ev.Now)
		}
		a.begin(ev)
	case ch.delivered:
		return // the same barrier twice
	}
	ch.delivered = true
	a.missing--
	if a.missing > 0 {
		ch.blocked = true
		a.act(Action{Kind: ActionBlock, Channel: ev.Channel, ID: ev.ID})
		return
	}
	a.finish(ev.Now)
}

func (a *Aligner) onOvertake(ev Event) {
	if ev.ID <= a.closed || ev.ID < a.pending || a.isAborted(ev.ID) {
		return
	}
	if a.pending != 0 && ev.ID > a.pending {
		a.giveUp(ev.Now)
	}
	if a.pending == 0 {
		a.begin(ev)
	}
	for i := range a.channels {
		if ch := &a.channels[i]; !ch.ended && !ch.delivered {
			a.act(Action{Kind: ActionRecord, Channel: i, ID: ev.ID})
		}
	}
	a.finish(ev.Now)
}

func (a *Aligner) onEnd(ev Event) {
	ch := &a.channels[ev.Channel]
	if ch.ended {
		return
	}
	ch.ended = true
	a.open--
	if ch.blocked {
		ch.blocked = false
		a.act(Action{Kind: ActionUnblock, Channel: ev.Channel, ID: a.pending})
	}
	if a.pending != 0 && !ch.delivered {
		if a.missing--; a.missing == 0 {
			a.finish(ev.Now)
		}
	}
	a.alignEnded(ev.Now)
}

func (a *Aligner) onAborted(ev Event) {
	switch {
	case ev.ID <= a.closed:
		return
	case ev.ID == a.pending:
		a.giveUp(ev.Now)
		return
	case ev.ID < a.pending, a.isAborted(ev.ID):
		return
	}
	if len(a.aborted) == AbortedMax {
		a.aborted = append(a.aborted[:0], a.aborted[1:]...)
	}
	a.aborted = append(a.aborted, ev.ID)
}

func (a *Aligner) onVoided(ev Event) {
	if a.pending != 0 && a.pending <= ev.ID {
		a.giveUp(ev.Now)
	}
	a.settle(ev.ID)
}

func (a *Aligner) onReset() {
	for i := range a.channels {
		if a.channels[i].blocked {
			a.act(Action{Kind: ActionUnblock, Channel: i, ID: a.pending})
		}
		a.channels[i] = channel{}
	}
	*a = Aligner{channels: a.channels, open: len(a.channels), actions: a.actions, aborted: a.aborted[:0]}
}

// alignEnded takes a triggered checkpoint once no channel can bring its
// barrier any more.
func (a *Aligner) alignEnded(now time.Duration) {
	if a.open > 0 || a.triggered <= a.closed || a.isAborted(a.triggered) {
		return
	}
	a.settle(a.triggered)
	a.act(Action{Kind: ActionAligned, ID: a.triggered})
}

func (a *Aligner) begin(ev Event) {
	a.pending = ev.ID
	a.first = ev.Now
	a.missing = a.open
}

func (a *Aligner) finish(now time.Duration) {
	a.act(Action{Kind: ActionAligned, ID: a.pending, Alignment: max(0, now-a.first)})
	a.release()
}

func (a *Aligner) giveUp(now time.Duration) {
	a.act(Action{Kind: ActionAbort, ID: a.pending, Alignment: max(0, now-a.first)})
	a.release()
}

// release ends the pending alignment, whatever came of it.
func (a *Aligner) release() {
	for i := range a.channels {
		ch := &a.channels[i]
		ch.delivered = false
		if ch.blocked {
			ch.blocked = false
			a.act(Action{Kind: ActionUnblock, Channel: i, ID: a.pending})
		}
	}
	id := a.pending
	a.pending, a.missing, a.first = 0, 0, 0
	a.settle(id)
}

func (a *Aligner) settle(id dataflow.CheckpointID) {
	a.closed = max(a.closed, id)
	keep := a.aborted[:0]
	for _, x := range a.aborted {
		if x > a.closed {
			keep = append(keep, x)
		}
	}
	a.aborted = keep
}

func (a *Aligner) isAborted(id dataflow.CheckpointID) bool {
	for _, x := range a.aborted {
		if x == id {
			return true
		}
	}
	return false
}

func (a *Aligner) act(x Action) { a.actions = append(a.actions, x) }
