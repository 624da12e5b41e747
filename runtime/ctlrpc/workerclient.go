package ctlrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// WorkerClient is a worker's way to its taskmanager: its link to the
// jobmaster (worker.Link) and its part of the object store (worker.Objects).
// It does not import those contracts, so that a taskmanager links no engine.
type WorkerClient struct {
	// Welcome is what the taskmanager answered.
	Welcome *controlv1.Welcome

	token   string
	conn    *grpc.ClientConn
	service controlv1.TaskManagerClient
	cancel  context.CancelFunc
	out     *outbox[*controlv1.WorkerMessage]
	in      chan *controlv1.WorkerCommand
	helpers sync.WaitGroup
}

// DialTaskManager opens a worker's session on the taskmanager's unix socket.
// The link lives until Close or until the taskmanager is gone.
func DialTaskManager(ctx context.Context, socket, workerID, token string) (*WorkerClient, error) {
	conn, err := grpc.NewClient("unix://"+socket, dialOptions(nil)...)
	if err != nil {
		return nil, fmt.Errorf("taskmanager's socket %s: %w", socket, err)
	}
	linkCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stopWatching := context.AfterFunc(ctx, cancel) // ctx bounds the handshake only
	defer stopWatching()
	c := &WorkerClient{
		token: token, conn: conn, service: controlv1.NewTaskManagerClient(conn), cancel: cancel,
		out: newOutbox[*controlv1.WorkerMessage](workerQueueMax),
		in:  make(chan *controlv1.WorkerCommand, workerQueueMax),
	}
	stream, err := c.greet(linkCtx, workerID)
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("taskmanager's socket %s: %w", socket, err), conn.Close())
	}
	c.helpers.Go(func() { c.transmit(linkCtx, stream) })
	c.helpers.Go(func() { c.receive(linkCtx, stream) })
	return c, nil
}

type taskManagerStream = grpc.BidiStreamingClient[controlv1.WorkerMessage, controlv1.TaskManagerToWorker]

func (c *WorkerClient) greet(ctx context.Context, workerID string) (taskManagerStream, error) {
	stream, err := c.service.Session(ctx)
	if err != nil {
		return nil, err
	}
	hello := &controlv1.Hello{WorkerId: workerID, Token: c.token, Protocol: release.Protocol, EngineVersion: release.Version}
	if err := stream.Send(&controlv1.WorkerMessage{Body: &controlv1.WorkerMessage_Hello{Hello: hello}}); err != nil {
		return nil, err
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if c.Welcome = m.GetWelcome(); c.Welcome == nil {
		return nil, fmt.Errorf("it answered the greeting with %T: build the bundle with the taskmanager's release", m.GetBody())
	}
	return stream, nil
}

// transmit ends with the link; it then ends receive too.
func (c *WorkerClient) transmit(ctx context.Context, stream taskManagerStream) {
	c.out.pump(ctx, stream.Send)
	_ = stream.CloseSend() // the stream is over either way
}

func (c *WorkerClient) receive(ctx context.Context, stream taskManagerStream) {
	defer close(c.in)
	for {
		m, err := stream.Recv()
		if err != nil {
			c.out.close("the taskmanager is gone: " + err.Error())
			return
		}
		select {
		case c.in <- m.GetCommand():
		case <-ctx.Done():
			return
		}
	}
}

// Send implements worker.Link.
func (c *WorkerClient) Send(ev *controlv1.WorkerEvent) error {
	CutTexts(ev)
	return c.out.putWait(&controlv1.WorkerMessage{Body: &controlv1.WorkerMessage_Event{Event: ev}})
}

// Recv implements worker.Link.
func (c *WorkerClient) Recv(ctx context.Context) (*controlv1.WorkerCommand, error) {
	select {
	case cmd, ok := <-c.in:
		if !ok {
			return nil, gone(c.out.why)
		}
		return cmd, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Flush ends sending and waits until what is queued was written, so that a
// worker's last words arrive; ctx bounds it.
func (c *WorkerClient) Flush(ctx context.Context) {
	c.out.close("the worker has ended")
	done := make(chan struct{})
	go func() {
		c.helpers.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		c.cancel()
		<-done
	}
}

// Close ends the link at once.
func (c *WorkerClient) Close() error {
	c.out.close("the worker has ended")
	c.cancel()
	c.helpers.Wait()
	return c.conn.Close()
}

// Put implements worker.Objects.
func (c *WorkerClient) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.service.PutObject(ctx)
	if err != nil {
		return objectError(key, err)
	}
	if err := c.putChunks(stream, key, r, size); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("object %q: %w", key, err)
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return objectError(key, err)
	}
	return nil
}

// putChunks sends the object; io.EOF means that the server has answered
// already. Each chunk has its own buffer: gRPC may hold on to it.
func (c *WorkerClient) putChunks(stream grpc.ClientStreamingClient[controlv1.PutObjectRequest, controlv1.PutObjectResponse], key string, r io.Reader, size int64) error {
	req := &controlv1.PutObjectRequest{Token: c.token, Key: key, Size: size}
	for left := size; ; {
		buf := make([]byte, min(left, ChunkBytes))
		if _, err := io.ReadFull(r, buf); err != nil {
			return fmt.Errorf("%d of %d bytes are missing: %w", left, size, errors.Join(io.ErrUnexpectedEOF, err))
		}
		req.Data = buf
		if err := stream.Send(req); err != nil {
			return err
		}
		if left -= int64(len(buf)); left == 0 {
			return nil
		}
		req = &controlv1.PutObjectRequest{}
	}
}

// Get implements worker.Objects.
func (c *WorkerClient) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.service.GetObject(ctx, &controlv1.GetObjectRequest{Token: c.token, Key: key, Offset: offset, Length: length})
	if err != nil {
		cancel()
		return nil, objectError(key, err)
	}
	r := &objectReader{key: key, stream: stream, cancel: cancel, want: length}
	// The first chunk tells whether the object exists.
	if err := r.next(); err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, err
	}
	return r, nil
}

// objectReader reads the chunks of GetObject; it never ends early.
type objectReader struct {
	key    string
	stream grpc.ServerStreamingClient[controlv1.GetObjectResponse]
	cancel context.CancelFunc
	rest   []byte
	want   int64 // bytes asked for; negative: to the end
	got    int64
	err    error
}

var _ io.ReadCloser = (*objectReader)(nil)

// Read implements io.Reader.
func (r *objectReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *objectReader) next() error {
	if r.err != nil {
		return r.err
	}
	m, err := r.stream.Recv()
	switch {
	case err == nil:
		r.rest = m.GetData()
		r.got += int64(len(r.rest))
		return nil
	case !errors.Is(err, io.EOF):
		r.err = objectError(r.key, err)
	case r.want >= 0 && r.got != r.want:
		r.err = fmt.Errorf("object %q: %d of %d bytes arrived: %w", r.key, r.got, r.want, io.ErrUnexpectedEOF)
	default:
		r.err = io.EOF
	}
	return r.err
}

// Close implements io.Closer.
func (r *objectReader) Close() error {
	r.cancel()
	return nil
}

// Refused reports whether a taskmanager turned a worker away, which no retry
// can mend.
func Refused(err error) bool { return status.Code(unwrapStatus(err)) == codes.PermissionDenied }

func unwrapStatus(err error) error {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Err()
	}
	return err
}
