package asyncio

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/operators"
)

// pool runs the user's function on goroutines: as many as requests were in
// flight at once so far. They wait for work between requests.
type pool[T, A any] struct {
	ask   func(context.Context, T) (A, error)
	retry Retry
	clock clock.Clock
	ctx   context.Context //nolint:containedctx // the life of the subtask
	// mail asks the task to collect; it is called at most once between two
	// collections.
	mail    func()
	retried func()

	mu     sync.Mutex
	work   *sync.Cond
	queue  []*request[T, A] // guarded by mu
	head   int              // of queue; guarded by mu
	idle   int              // goroutines that wait; guarded by mu
	back   []*request[T, A] // guarded by mu
	mailed bool             // guarded by mu
	closed bool             // guarded by mu
	live   int              // goroutines; guarded by mu
	group  sync.WaitGroup
	gone   chan struct{} // closed with the last goroutine after close
}

func (p *pool[T, A]) init() {
	p.work = sync.NewCond(&p.mu)
	p.gone = make(chan struct{})
}

// put hands requests over.
func (p *pool[T, A]) put(rs []*request[T, A]) {
	if len(rs) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	}
	p.queue = append(p.queue, rs...)
	waiting := len(p.queue) - p.head
	for range min(waiting, p.idle) {
		p.work.Signal()
	}
	for range waiting - p.idle {
		p.idle++ // until it takes its request
		p.live++
		p.group.Go(p.run)
	}
}

// collect appends the requests that came back to dst.
func (p *pool[T, A]) collect(dst []*request[T, A]) []*request[T, A] {
	p.mu.Lock()
	defer p.mu.Unlock()
	dst = append(dst, p.back...)
	clear(p.back)
	p.back, p.mailed = p.back[:0], false
	return dst
}

// close ends the goroutines; each after the request that it is at.
func (p *pool[T, A]) close() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		p.work.Broadcast()
		if p.live == 0 {
			close(p.gone)
		}
	}
	return p.gone
}

func (p *pool[T, A]) run() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for p.head == len(p.queue) && !p.closed {
			p.work.Wait()
		}
		if p.closed {
			break
		}
		r := p.queue[p.head]
		p.queue[p.head] = nil
		p.head++
		p.idle--
		p.mu.Unlock()
		p.answer(r)
		p.mu.Lock()
		p.idle++
		p.back = append(p.back, r)
		if !p.mailed && !p.closed {
			p.mailed = true
			p.mail()
		}
	}
	if p.live--; p.live == 0 {
		close(p.gone)
	}
}

// answer asks until there is an answer, or an error that stays.
func (p *pool[T, A]) answer(r *request[T, A]) {
	ctx := r.ctx
	if ctx == nil {
		ctx = p.ctx
	}
	for n := 1; ; n++ {
		p.once(ctx, r)
		if r.err == nil || r.panicked || ctx.Err() != nil || !p.retry.again(n, r.err) {
			return
		}
		p.retried()
		if !p.pause(ctx, n) {
			return
		}
	}
}

func (p *pool[T, A]) once(ctx context.Context, r *request[T, A]) {
	defer func() {
		if v := recover(); v != nil {
			r.err, r.panicked = &operators.PanicError{Value: v, Place: panicPlace(), Stack: string(debug.Stack())}, true
		}
	}()
	r.answer, r.err = p.ask(ctx, r.row)
}

// pause waits before the next attempt, and reports whether there is one.
func (p *pool[T, A]) pause(ctx context.Context, attempts int) bool {
	d := p.retry.pause(attempts)
	if d <= 0 {
		return true
	}
	timer := p.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// panicPlace is the file and line that panicked. It is called by the deferred
// function that recovers.
func panicPlace() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for panicking := false; ; {
		f, more := frames.Next()
		if panicking && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		panicking = panicking || f.Function == "runtime.gopanic"
		if !more {
			return "an unknown place"
		}
	}
}
