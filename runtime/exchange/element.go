// Package exchange moves stream elements between tasks: channels and the
// gates that gather them, the outputs that partition rows over channels, the
// credit accounts of remote channels, and the contract of networks between
// workers. It does not run tasks, align barriers or merge watermarks.
package exchange

import (
	"fmt"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
)

// Kind tells what an element is.
type Kind uint8

// Kinds of elements. The numbers are part of the frame format.
const (
	KindBatch     Kind = 1 // rows
	KindWatermark Kind = 2 // no row at or before Time follows
	KindBarrier   Kind = 3 // the cut of a checkpoint
	KindStatus    Kind = 4 // the channel turns idle or active
	KindEnd       Kind = 5 // nothing follows, and all went well
)

// String implements fmt.Stringer.
func (k Kind) String() string {
	switch k {
	case KindBatch:
		return "batch"
	case KindWatermark:
		return "watermark"
	case KindBarrier:
		return "barrier"
	case KindStatus:
		return "status"
	case KindEnd:
		return "end"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Barrier separates the rows before a checkpoint from those after it.
type Barrier struct {
	ID              dataflow.CheckpointID
	TimestampMillis int64
	Savepoint       bool
	// Stop: the job ends after it. Final: all subtasks have reached the end.
	Stop, Final bool
	// Overtakes: the sender did not wait for the rows before it, and the
	// receiver does not either: they are part of the checkpoint.
	Overtakes bool
}

// MayOvertake reports whether rows on their way may be part of the checkpoint.
// Savepoints have none, so that they fit other graphs, and ends have passed all.
func (b *Barrier) MayOvertake() bool { return !b.Savepoint && !b.Stop && !b.Final }

// Element is one thing on a channel. Which fields are set follows from Kind.
type Element struct {
	Kind Kind
	Idle bool // of a status
	// Batch holds the rows; Bytes holds them encoded instead when they came
	// from another process, until the gate decodes them.
	Batch   *columnar.Batch
	Bytes   []byte
	Time    int64    // of a watermark
	Barrier *Barrier // read-only: all channels share it
}

// Sender is the producing end of a channel. One goroutine uses it, the
// producing task's.
type Sender interface {
	// Send takes an element; it never blocks. What a channel has no room for
	// waits in it: the task must not take more input until Ready, so that is
	// bounded by what one step emits. It returns the bytes that go on a wire,
	// 0 within a process.
	Send(el Element) (wireBytes int)
	// Ready reports whether there is room. After false the producer's wake is
	// called once there is.
	Ready() bool
}

// Encoder is implemented by senders that encode a batch within Send: its rows
// may be used again afterwards.
type Encoder interface {
	Encodes() bool
}

// ChannelID names a channel of the job: subtask From of the stream's sending
// vertex to subtask To of its receiving one.
type ChannelID struct {
	Stream, From, To int
}

// String implements fmt.Stringer.
func (c ChannelID) String() string {
	return fmt.Sprintf("stream %d, subtask %d to %d", c.Stream, c.From, c.To)
}
