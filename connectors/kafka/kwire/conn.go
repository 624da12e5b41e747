package kwire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/leatstream/leat/internal/clock"
)

const (
	// inFlightMax bounds the requests of one connection that wait for an answer.
	inFlightMax = 64
	// frameBytesMax bounds an answer; a fetch may hold 100 MB of batches.
	frameBytesMax = 1 << 30
	readBufBytes  = 64 << 10
)

// ErrClosed is the error of calls on a connection or client that was closed.
var ErrClosed = errors.New("connection closed")

// Conn is one authenticated connection to a broker. It is safe for concurrent
// use: requests are written in the order of the calls and answered in that
// order. A fault closes it and fails all calls in flight; it is then made
// anew by its Client.
type Conn struct {
	addr     string
	clientID string
	clk      clock.Clock
	timeout  time.Duration // for one answer
	nc       net.Conn
	versions [apiKeyMax]versionRange
	closed   chan struct{} // closed when the reader has ended

	wmu  sync.Mutex // held while a request is written; before qmu
	corr int32      // guarded by wmu
	slot chan struct{}

	qmu      sync.Mutex
	queue    []pending // guarded by qmu; in the order of the requests
	err      error     // guarded by qmu; set once, before the queue is failed
	answered bool      // guarded by qmu; an answer has come on this connection
}

const apiKeyMax = 128

type versionRange struct{ min, max int16 }

type pending struct {
	corr     int32
	deadline time.Time
	alloc    func(n int) []byte
	done     func(frame []byte, err error)
}

// Addr returns the broker's address.
func (c *Conn) Addr() string { return c.addr }

// Close ends the connection and fails the calls in flight. It waits for the
// reader, so that no callback runs after it returns.
func (c *Conn) Close() {
	c.fail(ErrClosed)
	<-c.closed
}

// Err returns the fault that ended the connection, nil while it lives.
func (c *Conn) Err() error {
	c.qmu.Lock()
	defer c.qmu.Unlock()
	return c.err
}

func (c *Conn) fail(err error) {
	c.qmu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.qmu.Unlock()
	_ = c.nc.Close() // the fault that is reported is err
}

// errNotOffered is of a request that a broker does not know.
var errNotOffered = errors.New("the broker does not offer it")

// version picks the version to use for an API: the newest that both know.
func (c *Conn) version(key, lowest, highest int16) (int16, error) {
	r := c.versions[key]
	if r.max < 0 {
		return 0, fmt.Errorf("broker %s: request %s: %w", c.addr, protocol.ApiKey(key), errNotOffered)
	}
	v := min(highest, r.max)
	if v < lowest || v < r.min {
		return 0, fmt.Errorf("broker %s offers versions %d to %d of request %s, versions %d to %d are needed",
			c.addr, r.min, r.max, protocol.ApiKey(key), lowest, highest)
	}
	return v, nil
}

// outgoing is a request to be written. build returns its frame for a
// correlation id, the size left zero.
type outgoing struct {
	build func(corr int32) (net.Buffers, error)
	extra time.Duration // that the broker may hold the answer back
	alloc func(n int) []byte
}

// send writes a request. done is called exactly once, on the reader's
// goroutine, unless send returns an error: then never. The frame that done
// gets starts at the correlation id and belongs to it. done must not block.
func (c *Conn) send(ctx context.Context, o outgoing, done func([]byte, error)) error {
	select {
	case c.slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return c.Err()
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.corr++
	bufs, err := o.build(c.corr)
	if err != nil {
		<-c.slot
		return err
	}
	size := -4
	for _, b := range bufs {
		size += len(b)
	}
	binary.BigEndian.PutUint32(bufs[0], uint32(size))
	now := c.clk.Now()
	p := pending{corr: c.corr, deadline: now.Add(c.timeout + o.extra), alloc: o.alloc, done: done}
	if err := c.push(p); err != nil {
		<-c.slot
		return err
	}
	_ = c.nc.SetWriteDeadline(now.Add(c.timeout))
	if _, err := bufs.WriteTo(c.nc); err != nil {
		// The call is queued: the reader, woken by the close, fails it.
		c.fail(fmt.Errorf("write to broker %s: %w", c.addr, err))
	}
	return nil
}

// push queues a call. The read deadline is that of the oldest call, so it is
// set here only when the queue was empty.
func (c *Conn) push(p pending) error {
	c.qmu.Lock()
	defer c.qmu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.queue = append(c.queue, p)
	if len(c.queue) == 1 {
		_ = c.nc.SetReadDeadline(p.deadline)
	}
	return nil
}

// pop takes the oldest call after its answer has been read.
func (c *Conn) pop() {
	c.qmu.Lock()
	defer c.qmu.Unlock()
	c.answered = true
	c.queue = append(c.queue[:0], c.queue[1:]...)
	if len(c.queue) > 0 {
		_ = c.nc.SetReadDeadline(c.queue[0].deadline)
	} else {
		_ = c.nc.SetReadDeadline(time.Time{})
	}
}

func (c *Conn) head() (pending, bool) {
	c.qmu.Lock()
	defer c.qmu.Unlock()
	if len(c.queue) == 0 {
		return pending{}, false
	}
	return c.queue[0], true
}

// readLoop owns the reading side until the connection ends.
func (c *Conn) readLoop() {
	r := bufio.NewReaderSize(c.nc, readBufBytes)
	var err error
	for err == nil {
		err = c.readOne(r)
	}
	c.fail(c.explain(err))
	c.qmu.Lock()
	rest := c.queue
	c.queue = nil
	final := c.err
	c.qmu.Unlock()
	for _, p := range rest {
		p.done(nil, final)
		<-c.slot
	}
	close(c.closed)
}

func (c *Conn) readOne(r *bufio.Reader) error {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:4])))
	corr := int32(binary.BigEndian.Uint32(head[4:]))
	if size < 4 || size > frameBytesMax {
		return fmt.Errorf("an answer claims %d bytes: not a Kafka broker, or a TLS port", size)
	}
	p, ok := c.head()
	if !ok || p.corr != corr {
		return fmt.Errorf("answer %d does not match request %d", corr, p.corr)
	}
	var frame []byte
	if p.alloc != nil {
		frame = p.alloc(size)[:size]
	} else {
		frame = make([]byte, size)
	}
	copy(frame, head[4:])
	if _, err := io.ReadFull(r, frame[4:]); err != nil {
		return err
	}
	c.pop()
	p.done(frame, nil)
	<-c.slot
	return nil
}

// explain adds what a person can do about a connection that ended.
func (c *Conn) explain(err error) error {
	c.qmu.Lock()
	answered := c.answered
	c.qmu.Unlock()
	var ne net.Error
	switch {
	case errors.As(err, &ne) && ne.Timeout():
		return fmt.Errorf("broker %s did not answer in time: %w", c.addr, err)
	case !answered:
		return fmt.Errorf("broker %s closed the connection before its first answer "+
			"(it may want TLS, or SASL, or not be a Kafka broker): %w", c.addr, err)
	default:
		return fmt.Errorf("connection to broker %s: %w", c.addr, err)
	}
}

// roundTrip sends a request and waits for its answer, which starts at the
// correlation id. When ctx ends first the answer is dropped later.
func (c *Conn) roundTrip(ctx context.Context, o outgoing) ([]byte, error) {
	type answer struct {
		frame []byte
		err   error
	}
	got := make(chan answer, 1)
	if err := c.send(ctx, o, func(f []byte, err error) { got <- answer{f, err} }); err != nil {
		return nil, err
	}
	select {
	case a := <-got:
		return a.frame, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call sends a message of kafka-go and returns its decoded answer.
func (c *Conn) call(ctx context.Context, lowest, highest int16, msg protocol.Message) (protocol.Message, error) {
	key := msg.ApiKey()
	v, err := c.version(int16(key), lowest, highest)
	if err != nil {
		return nil, err
	}
	frame, err := c.roundTrip(ctx, outgoing{build: func(corr int32) (net.Buffers, error) {
		var b bytes.Buffer
		if err := protocol.WriteRequest(&b, v, corr, c.clientID, msg); err != nil {
			return nil, fmt.Errorf("encode request %s version %d: %w", key, v, err)
		}
		return net.Buffers{b.Bytes()}, nil
	}})
	if err != nil {
		return nil, err
	}
	return decodeAnswer(key, v, frame)
}

// decodeAnswer decodes with kafka-go, whose decoder panics on some broken
// messages: that becomes an error here, and nothing else is recovered.
func decodeAnswer(key protocol.ApiKey, version int16, frame []byte) (msg protocol.Message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode answer to %s version %d: %v", key, version, p)
		}
	}()
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(frame)))
	r := io.MultiReader(bytes.NewReader(size[:]), bytes.NewReader(frame))
	_, msg, err = protocol.ReadResponse(r, key, version)
	if err != nil {
		return nil, fmt.Errorf("decode answer to %s version %d: %w", key, version, err)
	}
	return msg, nil
}

// callRaw sends a request coded here and returns a cursor after the header of
// the answer.
func (c *Conn) callRaw(ctx context.Context, key, version int16, flexible bool, body []byte) (*cursor, error) {
	frame, err := c.roundTrip(ctx, outgoing{build: func(corr int32) (net.Buffers, error) {
		return net.Buffers{append(appendHeader(nil, key, version, corr, c.clientID, flexible), body...)}, nil
	}})
	if err != nil {
		return nil, err
	}
	cur := &cursor{b: frame[4:], flexible: flexible}
	cur.tags()
	return cur, nil
}

func as[T any](m protocol.Message, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	t, ok := any(m).(*T)
	if !ok {
		return nil, fmt.Errorf("answer decoded as %T: another package replaced kafka-go's message types", m)
	}
	return t, nil
}
