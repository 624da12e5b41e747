package exchange

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/leatstream/leat/columnar"
)

const (
	// channelElementsMax is the number of elements in a channel at which its
	// producer stops to take input, when the gate has few channels; with many
	// it shrinks down to channelElementsMin so that a gate holds about
	// gateElementsMax.
	channelElementsMax = 16
	channelElementsMin = 2
	gateElementsMax    = 1024
)

// ChannelSpec describes one channel of a gate.
type ChannelSpec struct {
	ID    ChannelID
	Input int // of the head operator
	Type  columnar.RowType
}

// Gate gathers all input channels of one task. Next, Block and Unblock belong
// to the task's goroutine; producers use the channels.
type Gate struct {
	channels []*Channel
	byID     map[ChannelID]*Channel
	wake     func()
	// ready has a bit for each channel that may hold an element, blocked one
	// for each that must not be read (the task's own).
	ready   []atomic.Uint64
	blocked []uint64
	cursor  int
	wire    int64 // bytes decoded
	err     atomic.Pointer[error]
	// queued is the newest barrier that arrived, whether it was taken or not.
	queued atomic.Pointer[Barrier]
	// replay goes before what the channels hold.
	replay []replayed
}

type replayed struct {
	channel int
	batch   *columnar.Batch
}

// NewGate makes a gate. wake is called from any goroutine when an element
// arrives or a channel breaks; it must be cheap when the task is not waiting.
func NewGate(specs []ChannelSpec, wake func()) *Gate {
	words := (len(specs) + 63) / 64
	g := &Gate{wake: wake, byID: make(map[ChannelID]*Channel, len(specs)), ready: make([]atomic.Uint64, words), blocked: make([]uint64, words)}
	limit := channelElementsMax
	if len(specs) > 0 {
		limit = min(channelElementsMax, max(channelElementsMin, gateElementsMax/len(specs)))
	}
	for i, s := range specs {
		c := &Channel{spec: s, gate: g, index: i, ring: newRing(), limit: limit}
		g.channels = append(g.channels, c)
		g.byID[s.ID] = c
	}
	return g
}

// Len returns the number of channels.
func (g *Gate) Len() int { return len(g.channels) }

// Channel returns channel i.
func (g *Gate) Channel(i int) *Channel { return g.channels[i] }

// Find returns the channel of that name, or nil.
func (g *Gate) Find(id ChannelID) *Channel { return g.byID[id] }

// WireBytes returns the bytes that came from other processes so far; for the
// task's goroutine.
func (g *Gate) WireBytes() int64 { return g.wire }

// Block stops reading a channel, for the alignment of barriers.
func (g *Gate) Block(i int) { g.blocked[i/64] |= 1 << (i % 64) }

// Unblock resumes it.
func (g *Gate) Unblock(i int) { g.blocked[i/64] &^= 1 << (i % 64) }

// Fail breaks the gate: Next returns the error from now on. The first error
// counts. Safe from any goroutine.
func (g *Gate) Fail(err error) {
	if g.err.CompareAndSwap(nil, &err) {
		g.wake()
	}
}

// Next returns the next element and its channel, going round the channels
// that hold one; ok is false when none of those that may be read does. Rows
// from another process are decoded here, on the task's goroutine. An error
// means that a channel broke or holds bytes that are no batch.
func (g *Gate) Next() (channel int, el Element, ok bool, err error) {
	if p := g.err.Load(); p != nil {
		return 0, Element{}, false, *p
	}
	if len(g.replay) > 0 {
		first := g.replay[0]
		g.replay[0] = replayed{}
		if g.replay = g.replay[1:]; len(g.replay) == 0 {
			g.replay = nil
		}
		return first.channel, Element{Kind: KindBatch, Batch: first.batch}, true, nil
	}
	for {
		i, found := g.nextReady()
		if !found {
			return 0, Element{}, false, nil
		}
		c := g.channels[i]
		el, ok := c.take()
		if !ok {
			g.clear(c)
			continue
		}
		g.cursor = i + 1
		if el.Bytes != nil {
			g.wire += int64(len(el.Bytes))
			el, err = c.decode(el)
		}
		return i, el, err == nil, err
	}
}

// NextControl is Next for a task that cannot take rows now: it returns only
// elements that no batch stands before.
func (g *Gate) NextControl() (channel int, el Element, ok bool, err error) {
	if p := g.err.Load(); p != nil {
		return 0, Element{}, false, *p
	}
	if len(g.replay) > 0 {
		return 0, Element{}, false, nil
	}
	for w := range g.ready {
		set := g.ready[w].Load() &^ g.blocked[w]
		for ; set != 0; set &= set - 1 {
			c := g.channels[w*64+bits.TrailingZeros64(set)]
			switch kind, ok := c.ring.peek(); {
			case !ok:
				g.clear(c)
			case kind != KindBatch:
				el, _ := c.take()
				return c.index, el, true, nil
			}
		}
	}
	return 0, Element{}, false, nil
}

// nextReady finds the first channel at or after the cursor, going round,
// that may hold an element and may be read.
func (g *Gate) nextReady() (int, bool) {
	words := len(g.ready)
	if words == 0 {
		return 0, false
	}
	if g.cursor >= len(g.channels) {
		g.cursor = 0
	}
	first := g.cursor / 64
	mask := ^uint64(0) << (g.cursor % 64)
	for k := 0; k <= words; k++ {
		w := (first + k) % words
		set := g.ready[w].Load() &^ g.blocked[w]
		switch k {
		case 0:
			set &= mask
		case words:
			set &= ^mask
		}
		if set != 0 {
			return w*64 + bits.TrailingZeros64(set), true
		}
	}
	return 0, false
}

// clear takes the channel's bit away. A producer that pushed before it saw
// the bit gone is seen by the second look at the ring.
func (g *Gate) clear(c *Channel) {
	word, bit := &g.ready[c.index/64], uint64(1)<<(c.index%64)
	word.And(^bit)
	if c.ring.len() > 0 {
		word.Or(bit)
	}
}

// Channel is the receiving end of a channel and, within a process, its
// producing end too.
type Channel struct {
	spec  ChannelSpec
	gate  *Gate
	index int
	ring  *ring
	limit int
	// producerWaits is set by a producer that found no room.
	producerWaits atomic.Bool
	wakeProducer  func()
	consumed      func(bytes int)
	// looked is the number of the first element that LookAhead has not seen.
	looked int64
}

var _ Sender = (*Channel)(nil)

// ID names the channel.
func (c *Channel) ID() ChannelID { return c.spec.ID }

// RowType handles the channel's rows.
func (c *Channel) RowType() columnar.RowType { return c.spec.Type }

// Input is the input of the head operator that the channel leads to.
func (c *Channel) Input() int { return c.spec.Input }

// SetProducer sets what is called when there is room again after Ready said
// no. It is called before the first Send.
func (c *Channel) SetProducer(wake func()) { c.wakeProducer = wake }

// SetConsumed sets what is called, on the task's goroutine, with the size of
// each encoded batch that was taken out. It is called before the first Send.
func (c *Channel) SetConsumed(fn func(bytes int)) { c.consumed = fn }

// Fail breaks the channel and so its gate.
func (c *Channel) Fail(err error) { c.gate.Fail(fmt.Errorf("%s: %w", c.spec.ID, err)) }

// Send implements Sender.
func (c *Channel) Send(el Element) int {
	c.ring.push(el)
	if el.Kind == KindBarrier {
		c.gate.queued.Store(el.Barrier)
	}
	word, bit := &c.gate.ready[c.index/64], uint64(1)<<(c.index%64)
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
	c.gate.wake()
	return 0
}

// Ready implements Sender. The flag is set before the second look, and the
// consumer looks at the flag after it took an element, so that one of the two
// sees the other.
func (c *Channel) Ready() bool {
	if c.ring.len() < c.limit {
		return true
	}
	c.producerWaits.Store(true)
	return c.ring.len() < c.limit
}

func (c *Channel) decode(el Element) (Element, error) {
	b, err := c.spec.Type.DecodeBatch(el.Bytes)
	if err != nil {
		return Element{}, fmt.Errorf("%s: batch of %d bytes: %w", c.spec.ID, len(el.Bytes), err)
	}
	return Element{Kind: KindBatch, Batch: b}, nil
}

func (c *Channel) take() (Element, bool) {
	el, ok := c.ring.pop()
	if !ok {
		return el, false
	}
	if c.producerWaits.Load() && c.ring.len() <= c.limit/2 && c.producerWaits.Swap(false) && c.wakeProducer != nil {
		c.wakeProducer()
	}
	if el.Bytes != nil && c.consumed != nil {
		c.consumed(len(el.Bytes))
	}
	return el, true
}
