package jobmaster

import "context"

// executorMax bounds the I/O a job has waiting in one executor. The core has
// few commands of a kind under way; only deletions could be more, and those
// may be dropped.
const executorMax = 256

// executor carries out I/O in order, one at a time, on one goroutine.
type executor struct {
	queue chan func(context.Context)
}

func newExecutor() *executor { return &executor{queue: make(chan func(context.Context), executorMax)} }

// run works until close and the queue is empty; once ctx has ended the rest
// is skipped.
func (x *executor) run(ctx context.Context) {
	for fn := range x.queue {
		if ctx.Err() == nil {
			fn(ctx)
		}
	}
}

func (x *executor) do(fn func(context.Context)) { x.queue <- fn }

// try is do that drops fn when the queue is full.
func (x *executor) try(fn func(context.Context)) {
	select {
	case x.queue <- fn:
	default:
	}
}

func (x *executor) close() { close(x.queue) }
