package exchangegrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/runtime/exchange"
)

const (
	// frameBytesMax is the size at which a frame is sent without looking for
	// more; a frame is smaller when nothing else may be sent.
	frameBytesMax = 256 << 10
	// turnBytesMax is what one channel may put into a frame before the next
	// one has its turn.
	turnBytesMax = 128 << 10
	// elementBytesMax is the size above which a batch is cut into several, as
	// long as it has several rows.
	elementBytesMax = 128 << 10
	// compactAt is the number of consumed elements at the front of a queue at
	// which the rest is moved down.
	compactAt = 64
)

// outbound is the producing end of a connection: one goroutine sends what the
// channels hold and their credits cover, one books grants.
type outbound struct {
	channels []*outChannel
	pool     *bufferPool
	window   int
	signal   chan struct{}

	mu    sync.Mutex
	turns []*outChannel // channels that may send, each once; guarded by mu
	open  int           // channels whose end is not yet on the stream; guarded by mu
	lost  error         // guarded by mu
}

// outChannel is the producing end of one channel.
type outChannel struct {
	conn     *outbound
	index    int
	spec     exchange.OutboundChannel
	rowBytes int // of the last batch, to cut the next; the task's own

	queue  []outElement    // guarded by conn.mu
	head   int             // first element of queue; guarded by conn.mu
	ledger exchange.Ledger // guarded by conn.mu
	queued atomic.Int64    // bytes in queue; written under conn.mu
	free   int             // elements of the queue that need no credit; guarded by conn.mu
	debt   atomic.Int64    // the ledger's; written under conn.mu
	inTurn bool            // in conn.turns; guarded by conn.mu
	waits  bool            // the producer found no room; guarded by conn.mu
	ended  bool            // the end is on the stream; guarded by conn.mu
}

var (
	_ exchange.Sender  = (*outChannel)(nil)
	_ exchange.Encoder = (*outChannel)(nil)
)

// outElement is an encoded element.
type outElement struct {
	kind   exchange.Kind
	length int
	data   *[]byte
}

// open makes the stream, shakes hands and starts the connection's goroutines.
func (e *endpoint) open(ctx context.Context, client *grpc.ClientConn, peer exchange.Peer, out exchange.Outbound) (*outbound, error) {
	life, cancel := context.WithCancel(e.life)
	stop := context.AfterFunc(ctx, cancel) // only while shaking hands
	desc := &grpc.StreamDesc{StreamName: "Channels", ServerStreams: true, ClientStreams: true}
	s, window, err := e.shake(life, client, desc, peer, out)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	c := &outbound{pool: e.pool, window: window, signal: make(chan struct{}, 1), open: len(out.Channels)}
	for i, spec := range out.Channels {
		c.channels = append(c.channels, &outChannel{conn: c, index: i, spec: spec, ledger: exchange.NewLedger(window)})
	}
	e.wg.Add(2)
	go func() {
		defer e.wg.Done()
		c.receive(s, peer.WorkerID)
		cancel()
	}()
	go func() {
		defer e.wg.Done()
		c.send(life, s)
	}()
	return c, nil
}

func (e *endpoint) shake(life context.Context, client *grpc.ClientConn, desc *grpc.StreamDesc, peer exchange.Peer, out exchange.Outbound) (grpc.ClientStream, int, error) {
	s, err := client.NewStream(life, desc, methodName)
	if err != nil {
		return nil, 0, err
	}
	if _, err := s.Header(); err != nil {
		return nil, 0, err
	}
	h := hello{
		job: e.cfg.Job, attempt: e.cfg.Attempt, worker: e.cfg.WorkerID, to: peer.WorkerID,
		token: out.Credentials.Token, fingerprint: out.Credentials.Fingerprint,
	}
	for _, c := range out.Channels {
		h.channels = append(h.channels, c.ID)
	}
	if err := s.SendMsg(&message{out: mem.BufferSlice{mem.SliceBuffer(h.append(nil))}}); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	var m message
	if err := s.RecvMsg(&m); err != nil {
		return nil, 0, err
	}
	window, err := parseWelcome(m.in)
	return s, window, err
}

// Send implements exchange.Sender: it encodes on the producer's goroutine.
func (c *outChannel) Send(el exchange.Element) (wireBytes int) {
	if el.Kind == exchange.KindBatch {
		return c.sendBatch(el.Batch)
	}
	data := c.conn.pool.Get(0)
	*data = appendControl(*data, el)
	c.put(outElement{kind: el.Kind, length: len(*data), data: data}, el.Kind == exchange.KindBarrier && el.Barrier.MayOvertake())
	return 0
}

// Encodes implements exchange.Encoder.
func (c *outChannel) Encodes() bool { return true }

// sendBatch cuts a batch so that the pieces stay below elementBytesMax and
// half the window.
func (c *outChannel) sendBatch(b *columnar.Batch) (wireBytes int) {
	rt := c.spec.Type
	rows := rt.Len(b.Rows)
	limit := min(elementBytesMax, max(1, c.conn.window/2))
	for from := 0; from < rows; {
		n := rows - from
		if c.rowBytes > 0 {
			n = min(n, max(1, limit/c.rowBytes))
		}
		part := b
		if n < rows {
			part = slice(rt, b, from, from+n)
		}
		data := c.conn.pool.Get(0)
		*data = rt.AppendBatch(*data, part)
		size := len(*data)
		c.rowBytes = max(1, size/n)
		if size > 2*limit && n > 1 {
			c.conn.pool.Put(data) // rows are larger than the last ones: cut again
			continue
		}
		c.put(outElement{kind: exchange.KindBatch, length: size, data: data}, false)
		wireBytes += size
		from += n
	}
	return wireBytes
}

func slice(rt columnar.RowType, b *columnar.Batch, from, to int) *columnar.Batch {
	part := &columnar.Batch{Rows: rt.Slice(b.Rows, from, to)}
	if b.Times != nil {
		part.Times = b.Times[from:to]
	}
	return part
}

// put queues an element; after the connection was lost it is dropped, since
// the task has been told. With free the queue up to the element goes on the
// way at once: no more than a window, which counts as queued until the receiver
// has taken as much.
func (c *outChannel) put(el outElement, free bool) {
	conn := c.conn
	conn.mu.Lock()
	if conn.lost != nil {
		conn.mu.Unlock()
		return
	}
	c.queue = append(c.queue, el)
	c.queued.Add(int64(el.length))
	if free {
		c.free = len(c.queue) - c.head
	}
	signal := c.takeTurn()
	conn.mu.Unlock()
	if signal {
		conn.wake()
	}
}

// Ready implements exchange.Sender: what waits here is at most another window.
func (c *outChannel) Ready() bool {
	window := int64(c.conn.window)
	if c.unsent() < window {
		return true
	}
	c.conn.mu.Lock()
	defer c.conn.mu.Unlock()
	if c.unsent() < window || c.conn.lost != nil {
		return true
	}
	c.waits = true
	return false
}

// unsent are the bytes that are queued, or were sent without credit.
func (c *outChannel) unsent() int64 { return c.queued.Load() + c.debt.Load() }

// room reports, once, that a producer which waits has room. conn.mu is held.
func (c *outChannel) room() bool {
	if !c.waits || c.unsent() > int64(c.conn.window/2) {
		return false
	}
	c.waits = false
	return true
}

// takeTurn puts the channel in line if it may send. conn.mu is held.
func (c *outChannel) takeTurn() bool {
	if c.inTurn || !c.maySend() {
		return false
	}
	c.inTurn = true
	c.conn.turns = append(c.conn.turns, c)
	return true
}

// maySend reports whether the first element is covered. conn.mu is held.
func (c *outChannel) maySend() bool {
	if c.head == len(c.queue) {
		return false
	}
	el := &c.queue[c.head]
	return el.kind != exchange.KindBatch || c.free > 0 || c.ledger.Covers(el.length)
}

func (c *outbound) wake() {
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// frame is a data message that is being put together.
type frame struct {
	heads   []head
	data    []*[]byte
	bytes   int
	wakes   []func()
	allDone bool // the last channel has ended
}

// gather takes from the channels in turn what may be sent, up to a frame.
func (c *outbound) gather(f *frame) {
	f.heads, f.data, f.bytes, f.wakes = f.heads[:0], f.data[:0], 0, f.wakes[:0]
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.turns) > 0 && f.bytes < frameBytesMax {
		ch := c.turns[0]
		c.turns = c.turns[1:]
		ch.inTurn = false
		ch.gather(f)
		ch.takeTurn()
	}
	if len(c.turns) == 0 {
		c.turns = nil // let the consumed front go
	}
	f.allDone = c.open == 0
}

// gather takes one channel's turn. conn.mu is held.
func (c *outChannel) gather(f *frame) {
	taken := 0
	for taken < turnBytesMax && f.bytes < frameBytesMax && c.maySend() {
		el := c.queue[c.head]
		c.queue[c.head] = outElement{}
		c.head++
		c.free = max(0, c.free-1)
		switch el.kind {
		case exchange.KindBatch:
			c.ledger.Spend(el.length)
			c.debt.Store(int64(c.ledger.Debt()))
		case exchange.KindEnd:
			c.ended = true
			c.conn.open--
		case exchange.KindWatermark, exchange.KindBarrier, exchange.KindStatus:
		}
		c.queued.Add(-int64(el.length))
		taken += el.length
		f.heads = append(f.heads, head{channel: c.index, kind: el.kind, length: el.length})
		f.data = append(f.data, el.data)
		f.bytes += el.length
	}
	switch {
	case c.head == len(c.queue):
		c.queue, c.head = c.queue[:0], 0
	case c.head >= compactAt:
		c.queue = c.queue[:copy(c.queue, c.queue[c.head:])]
		c.head = 0
	}
	if c.room() {
		f.wakes = append(f.wakes, c.spec.Wake)
	}
}

// send is the sending goroutine. After the last end it closes its half.
func (c *outbound) send(life context.Context, s grpc.ClientStream) {
	var f frame
	for {
		c.gather(&f)
		for _, wake := range f.wakes {
			wake()
		}
		if len(f.heads) > 0 {
			if s.SendMsg(&message{out: c.message(&f)}) != nil {
				return // the receiving goroutine learns why
			}
			if f.allDone {
				_ = s.CloseSend()
				return
			}
			continue
		}
		select {
		case <-life.Done():
			return
		case <-c.signal:
		}
	}
}

// message lays the head of a frame before its payloads. The transport frees
// the buffers, each once.
func (c *outbound) message(f *frame) mem.BufferSlice {
	h := c.pool.Get(0)
	*h = appendHeads(*h, f.heads)
	out := make(mem.BufferSlice, 0, 1+len(f.data))
	out = append(out, mem.NewBuffer(h, c.pool))
	for _, d := range f.data {
		if len(*d) > 0 {
			out = append(out, mem.NewBuffer(d, c.pool))
		}
	}
	return out
}

// receive is the receiving goroutine: it books grants until the stream ends.
func (c *outbound) receive(s grpc.ClientStream, peer string) {
	var m message
	for {
		err := s.RecvMsg(&m)
		if err == nil {
			err = parseGrants(m.in, len(c.channels), c.granted)
		}
		if err != nil {
			c.fail(fmt.Errorf("connection to worker %q lost: %w", peer, err))
			return
		}
	}
}

func (c *outbound) granted(g grant) error {
	ch := c.channels[g.channel]
	c.mu.Lock()
	err := ch.ledger.Grant(g.bytes)
	ch.debt.Store(int64(ch.ledger.Debt()))
	signal := err == nil && ch.takeTurn()
	room := ch.room()
	c.mu.Unlock()
	if signal {
		c.wake()
	}
	if room {
		ch.spec.Wake()
	}
	return err
}

// fail breaks the channels whose end was not sent; with none it was the clean
// end of the stream.
func (c *outbound) fail(err error) {
	c.mu.Lock()
	c.lost = err
	var broken []*outChannel
	for _, ch := range c.channels {
		if !ch.ended {
			broken = append(broken, ch)
		}
		ch.queue, ch.head = nil, 0
		ch.queued.Store(0)
	}
	c.turns = nil
	c.mu.Unlock()
	for _, ch := range broken {
		ch.spec.Fail(err)
	}
}
