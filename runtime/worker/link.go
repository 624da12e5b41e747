package worker

import (
	"context"
	"io"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Link joins a worker to its jobmaster, through the taskmanager that started
// it. Messages keep their order in each direction.
type Link interface {
	// Send queues an event; it blocks only while the bounded queue is full and
	// fails once the link is gone. Safe for concurrent use.
	Send(ev *controlv1.WorkerEvent) error
	// Recv returns the next command; an error means that the link is gone and
	// the worker must end. Called by one goroutine.
	Recv(ctx context.Context) (*controlv1.WorkerCommand, error)
}

// Objects reaches the job's part of the object store. Keys are relative to
// the job's prefix.
type Objects interface {
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error
	// Get reads length bytes from offset, to the end when length < 0.
	Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
}
