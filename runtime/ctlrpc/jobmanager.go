package ctlrpc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// Session is the jobmanager's end of a taskmanager's session. Both methods
// are safe for concurrent use and do not block.
type Session interface {
	// Send queues a message; it fails once the session has ended.
	Send(m *controlv1.JobManagerMessage) error
	// Close ends the session; Disconnect follows.
	Close(reason string)
}

// TaskManagers is what the server needs of the dispatcher.
type TaskManagers interface {
	// Connect admits a taskmanager. An error refuses it, and its text is
	// shown there. s may be used before Connect returns.
	Connect(reg *controlv1.Register, s Session) (*controlv1.Registered, error)
	// Receive is called in order, on one goroutine for each session, between
	// Connect and Disconnect.
	Receive(tmID string, instance uint64, m *controlv1.TaskManagerMessage)
	// Disconnect is called once for each admitted session, after its end.
	Disconnect(tmID string, instance uint64)
}

// JobManagerServer is the JobManager service. While the process is not the
// leader it refuses taskmanagers and names the leader it knows of.
type JobManagerServer struct {
	controlv1.UnimplementedJobManagerServer
	log   *slog.Logger
	clock clock.Clock

	mu       sync.Mutex
	target   TaskManagers          // guarded by mu; nil: not the leader
	hint     string                // guarded by mu; address of the leader
	sessions map[*session]struct{} // guarded by mu
	readers  sync.WaitGroup        // goroutines that call Receive
	serving  sync.WaitGroup        // calls of Session
}

var _ controlv1.JobManagerServer = (*JobManagerServer)(nil)

// NewJobManagerServer returns the service of a standby; Lead makes it lead.
func NewJobManagerServer(c clock.Clock, log *slog.Logger) *JobManagerServer {
	return &JobManagerServer{log: log, clock: c, sessions: make(map[*session]struct{})}
}

// Register adds the service to a server.
func (s *JobManagerServer) Register(g *grpc.Server) { controlv1.RegisterJobManagerServer(g, s) }

// Lead hands sessions to t from now on.
func (s *JobManagerServer) Lead(t TaskManagers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = t
}

// Retire stops admitting taskmanagers, ends all sessions, and returns when no
// call to the TaskManagers of Lead is in progress any more.
func (s *JobManagerServer) Retire(reason string) {
	s.mu.Lock()
	s.target = nil
	for x := range s.sessions {
		x.Close(reason)
	}
	s.mu.Unlock()
	s.readers.Wait()
}

// Wait returns when no session is being served; call it after the server has
// stopped.
func (s *JobManagerServer) Wait() { s.serving.Wait() }

// SetLeaderHint tells refused taskmanagers where the leader is; "" if unknown.
func (s *JobManagerServer) SetLeaderHint(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hint = address
}

// session is one taskmanager's session.
type session struct {
	out      *outbox[*controlv1.JobManagerMessage]
	id       string
	instance uint64
}

var _ Session = (*session)(nil)

// Send implements Session.
func (x *session) Send(m *controlv1.JobManagerMessage) error { return x.out.put(m) }

// Close implements Session.
func (x *session) Close(reason string) { x.out.close(reason) }

// Session implements the JobManager service. Two goroutines send and receive;
// this one, gRPC's, decides when the stream ends, which ends them.
func (s *JobManagerServer) Session(stream grpc.BidiStreamingServer[controlv1.TaskManagerMessage, controlv1.JobManagerMessage]) error {
	s.serving.Add(1)
	defer s.serving.Done()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	reg := first.GetRegister()
	if reg == nil {
		return status.Error(codes.InvalidArgument, "the first message of a session must be Register")
	}
	if why := refuse(reg); why != "" {
		return stream.Send(refusal(why))
	}
	x := &session{out: newOutbox[*controlv1.JobManagerMessage](QueueMax), id: reg.GetId(), instance: reg.GetInstance()}
	target, registered, why := s.admit(reg, x)
	if why != "" {
		return stream.Send(refusal(why))
	}
	go s.receive(stream, target, x)
	// Registered goes before whatever Connect has queued already.
	if err := stream.Send(&controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Registered{Registered: registered}}); err != nil {
		x.Close(err.Error())
		return err
	}
	reason := s.transmit(stream, x)
	s.log.Info("taskmanager's session ended", "taskmanager", x.id, "reason", reason)
	return status.Error(codes.Unavailable, reason)
}

// transmit sends what is queued until the session ends. After Close the peer
// has a moment to take what is left; then the stream goes, whatever it does.
func (s *JobManagerServer) transmit(stream grpc.BidiStreamingServer[controlv1.TaskManagerMessage, controlv1.JobManagerMessage], x *session) string {
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		x.out.pump(stream.Context(), stream.Send)
	}()
	<-x.out.done
	timer := s.clock.NewTimer(flushMax)
	defer timer.Stop()
	select {
	case <-pumped:
	case <-timer.C():
	}
	return x.out.why
}

// admit registers the session with the dispatcher; readers is raised under mu
// so that Retire waits for the goroutine that follows.
func (s *JobManagerServer) admit(reg *controlv1.Register, x *session) (TaskManagers, *controlv1.Registered, string) {
	s.mu.Lock()
	target, hint := s.target, s.hint
	if target == nil {
		s.mu.Unlock()
		return nil, nil, notLeader(hint)
	}
	s.readers.Add(1)
	s.sessions[x] = struct{}{}
	s.mu.Unlock()
	registered, err := target.Connect(reg, x)
	if err == nil && registered.GetRefused() != "" {
		err = fmt.Errorf("%s", registered.GetRefused())
	}
	if err != nil {
		s.forget(x)
		s.readers.Done()
		return nil, nil, err.Error()
	}
	return target, registered, ""
}

func (s *JobManagerServer) forget(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, x)
}

// receive hands messages on until the stream or the session ends. It owns the
// call to Disconnect, so that none of its Receive calls can follow it.
func (s *JobManagerServer) receive(stream grpc.BidiStreamingServer[controlv1.TaskManagerMessage, controlv1.JobManagerMessage], target TaskManagers, x *session) {
	defer s.readers.Done()
	defer s.forget(x)
	defer target.Disconnect(x.id, x.instance)
	for {
		m, err := stream.Recv()
		if err != nil {
			x.Close(streamReason(err))
			return
		}
		select {
		case <-x.out.done:
			return
		default:
			target.Receive(x.id, x.instance, m)
		}
	}
}

func streamReason(err error) string {
	if s, ok := status.FromError(err); ok && s.Code() == codes.Canceled {
		return "the connection was closed"
	}
	return err.Error()
}

func refuse(reg *controlv1.Register) string {
	switch {
	case reg.GetId() == "":
		return "the taskmanager has no id"
	case reg.GetProtocol() < release.ProtocolMin || reg.GetProtocol() > release.Protocol:
		return fmt.Sprintf("the taskmanager speaks protocol %d (release %s), this jobmanager %d to %d (release %s): run the same release",
			reg.GetProtocol(), reg.GetVersion(), release.ProtocolMin, release.Protocol, release.Version)
	}
	return ""
}

// standbyMark lets the client tell a standby's answer from a real refusal.
const standbyMark = "not the leader"

func notLeader(hint string) string {
	if hint == "" {
		return standbyMark + "; the leader is unknown"
	}
	return standbyMark + "; the leader is " + hint
}

func refusal(why string) *controlv1.JobManagerMessage {
	return &controlv1.JobManagerMessage{Body: &controlv1.JobManagerMessage_Registered{
		Registered: &controlv1.Registered{Refused: why},
	}}
}

// Shutdown ends a server: gracefully while ctx lasts, then by force.
func Shutdown(ctx context.Context, g *grpc.Server) {
	done := make(chan struct{})
	go func() {
		g.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		g.Stop()
		<-done
	}
}
