package worker

import "sync"

// serialisers is the number of goroutines that write snapshots: the slow half
// of a checkpoint shares the machine with the tasks.
const serialisers = 2

// pool runs functions on a few goroutines, in order of arrival. What waits is
// bounded by the tasks and the checkpoints under way.
type pool struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	some   *sync.Cond
	queue  []func() // guarded by mu
	closed bool     // guarded by mu
}

func newPool(workers int) *pool {
	p := &pool{}
	p.some = sync.NewCond(&p.mu)
	for range workers {
		p.wg.Go(func() {
			for fn := p.next(); fn != nil; fn = p.next() {
				fn()
			}
		})
	}
	return p
}

// do queues fn; it is always run, by the caller once the pool is closed.
func (p *pool) do(fn func()) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		fn()
		return
	}
	p.queue = append(p.queue, fn)
	p.mu.Unlock()
	p.some.Signal()
}

func (p *pool) next() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 {
		if p.closed {
			return nil
		}
		p.some.Wait()
	}
	fn := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return fn
}

// close waits until all that was queued has run.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.some.Broadcast()
	p.wg.Wait()
}
