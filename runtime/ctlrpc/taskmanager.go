package ctlrpc

import (
	"fmt"
	"log/slog"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// WorkerHost is what the server needs of the taskmanager.
type WorkerHost interface {
	// Attach admits a worker that shows the token it was started with; each
	// worker is admitted once. send queues a command and never blocks, drop
	// ends the session. An error refuses the worker.
	Attach(hello *controlv1.Hello, send func(*controlv1.WorkerCommand) error, drop func(reason string)) (*controlv1.Welcome, error)
	// WorkerEvent is called in order, between Attach and Detach; it may block
	// to slow a worker down.
	WorkerEvent(workerID string, ev *controlv1.WorkerEvent)
	// Detach is called once after Attach, at the end of the session.
	Detach(workerID string)
	// JobOf returns the job of the live worker that holds the token. It
	// compares in constant time.
	JobOf(token string) (dataflow.JobID, bool)
	// MayRead reports whether the worker may read an object outside its job's
	// prefix: a part of the savepoint that the job starts from.
	MayRead(token, uri string) bool
}

// TaskManagerServer is the TaskManager service for the workers of one
// taskmanager, on its unix socket.
type TaskManagerServer struct {
	controlv1.UnimplementedTaskManagerServer
	host     WorkerHost
	objects  store.Store
	uriBase  string
	spoolDir string
	clock    clock.Clock
	log      *slog.Logger
	puts     chan struct{} // bounds the objects in transit
	readers  sync.WaitGroup
}

var _ controlv1.TaskManagerServer = (*TaskManagerServer)(nil)

// NewTaskManagerServer returns the service; large objects pass through files
// in spoolDir.
func NewTaskManagerServer(host WorkerHost, objects store.Store, spoolDir string, c clock.Clock, log *slog.Logger) *TaskManagerServer {
	return &TaskManagerServer{
		host: host, objects: objects, uriBase: URIBase(objects), spoolDir: spoolDir,
		clock: c, log: log, puts: make(chan struct{}, putsMax),
	}
}

// Register adds the service to a server.
func (s *TaskManagerServer) Register(g *grpc.Server) { controlv1.RegisterTaskManagerServer(g, s) }

// Wait returns when no call to the host is in progress; call it after the
// server has stopped.
func (s *TaskManagerServer) Wait() { s.readers.Wait() }

type workerStream = grpc.BidiStreamingServer[controlv1.WorkerMessage, controlv1.TaskManagerToWorker]

// Session implements the TaskManager service.
func (s *TaskManagerServer) Session(stream workerStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message of a session must be Hello")
	}
	out := newOutbox[*controlv1.WorkerCommand](QueueMax)
	welcome, err := s.host.Attach(hello, out.put, out.close)
	if err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	s.readers.Go(func() { s.receive(stream, hello.GetWorkerId(), out) })
	if err := stream.Send(&controlv1.TaskManagerToWorker{Body: &controlv1.TaskManagerToWorker_Welcome{Welcome: welcome}}); err != nil {
		out.close(err.Error())
		return err
	}
	reason := s.transmit(stream, out)
	s.log.Debug("worker's session ended", "worker", hello.GetWorkerId(), "reason", reason)
	return status.Error(codes.Unavailable, reason)
}

// transmit is JobManagerServer.transmit for commands.
func (s *TaskManagerServer) transmit(stream workerStream, out *outbox[*controlv1.WorkerCommand]) string {
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		out.pump(stream.Context(), func(c *controlv1.WorkerCommand) error {
			return stream.Send(&controlv1.TaskManagerToWorker{Body: &controlv1.TaskManagerToWorker_Command{Command: c}})
		})
	}()
	<-out.done
	timer := s.clock.NewTimer(flushMax)
	defer timer.Stop()
	select {
	case <-pumped:
	case <-timer.C():
	}
	return out.why
}

// receive hands events on until the stream ends; it owns the call to Detach.
func (s *TaskManagerServer) receive(stream workerStream, workerID string, out *outbox[*controlv1.WorkerCommand]) {
	defer s.host.Detach(workerID)
	for {
		m, err := stream.Recv()
		if err != nil {
			out.close(streamReason(err))
			return
		}
		ev := m.GetEvent()
		if ev == nil {
			out.close(fmt.Sprintf("worker %s sent %T after its greeting, only events are expected: build the bundle with the taskmanager's release", workerID, m.GetBody()))
			return
		}
		CutTexts(ev)
		s.host.WorkerEvent(workerID, ev)
	}
}
