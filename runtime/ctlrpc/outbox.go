package ctlrpc

import (
	"context"
	"sync"
)

// outbox is the sending half of a session: a bounded queue that one goroutine
// (the one in pump) empties. put never blocks: a peer that lets the queue run
// full loses the session instead of stopping its sender.
type outbox[M any] struct {
	queue chan M
	done  chan struct{}
	once  sync.Once
	why   string // set before done is closed
}

func newOutbox[M any](size int) *outbox[M] {
	return &outbox[M]{queue: make(chan M, size), done: make(chan struct{})}
}

// put queues a message; it fails once the session has ended.
func (o *outbox[M]) put(m M) error {
	select {
	case <-o.done:
		return gone(o.why)
	default:
	}
	select {
	case o.queue <- m:
		return nil
	default:
		o.close("the peer does not keep up: its queue is full")
		return gone(o.why)
	}
}

// putWait is put that waits for room instead of ending the session.
func (o *outbox[M]) putWait(m M) error {
	select {
	case <-o.done:
		return gone(o.why)
	default:
	}
	select {
	case o.queue <- m:
		return nil
	case <-o.done:
		return gone(o.why)
	}
}

// close ends the session; what is queued is still sent if the peer takes it.
func (o *outbox[M]) close(reason string) {
	o.once.Do(func() {
		o.why = reason
		close(o.done)
	})
}

// pump sends what is queued until close, ctx's end or a broken stream, and
// returns why.
func (o *outbox[M]) pump(ctx context.Context, send func(M) error) string {
	for {
		select {
		case m := <-o.queue:
			if err := send(m); err != nil {
				o.close(err.Error())
				return o.why
			}
		case <-o.done:
			o.drain(send)
			return o.why
		case <-ctx.Done():
			o.close("the stream was closed by the peer")
			return o.why
		}
	}
}

func (o *outbox[M]) drain(send func(M) error) {
	for {
		select {
		case m := <-o.queue:
			if send(m) != nil {
				return
			}
		default:
			return
		}
	}
}
