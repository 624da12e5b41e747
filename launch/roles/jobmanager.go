// Package roles puts the processes of a cluster together from their parts:
// a jobmanager that stands by, leads and stands by again, and a taskmanager
// with real worker processes. The programs of cmd and local clusters share
// it. It reads no configuration and decides nothing.
package roles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/release"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/ctlrpc"
	"github.com/leatstream/leat/runtime/dispatcher"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/rest"
)

const (
	// shutdownGrace is how long open requests may take when a role ends.
	shutdownGrace = 2 * time.Second
	// campaignPause is the time between two tries to stand for election.
	campaignPause = 500 * time.Millisecond
	// headerTimeout bounds how long a client may take to say what it wants.
	headerTimeout = 10 * time.Second
)

// JobManager is a jobmanager process. All fields but Extra are needed.
type JobManager struct {
	// ID names it among the jobmanagers of the cluster.
	ID string
	// Control and REST are listened on; they are closed when Run returns.
	Control, REST net.Listener
	// AdvertisedControl is host:port, AdvertisedREST a URL: where others find it.
	AdvertisedControl, AdvertisedREST string
	Coordination                      ha.Coordination
	Store                             store.Store
	// TempDir holds uploads; it is made if it does not exist.
	TempDir string
	// Extra serves further paths beside the API ("/metrics"), given the
	// control of the leader (nil while standing by).
	Extra func(control func() jobview.Control) map[string]http.Handler
	// Dispatcher overrides times; what Run fills is ignored.
	Dispatcher dispatcher.Config
	Clock      clock.Clock
	Log        *slog.Logger
}

// jobManager is a running JobManager.
type jobManager struct {
	JobManager
	control *ctlrpc.JobManagerServer

	mu     sync.Mutex
	leads  jobview.Control // guarded by mu; nil while standing by
	leader *ha.Leader      // guarded by mu; as last heard of
}

// Run serves until ctx ends. It leads whenever it is elected and stands by
// otherwise; an election that cannot be held is tried again for ever.
func (cfg JobManager) Run(ctx context.Context) error {
	if err := os.MkdirAll(cfg.TempDir, 0o755); err != nil {
		return fmt.Errorf("folder for uploads: %w", err)
	}
	j := &jobManager{JobManager: cfg, control: ctlrpc.NewJobManagerServer(cfg.Clock, cfg.Log)}
	grpcServer := ctlrpc.NewServer(nil)
	j.control.Register(grpcServer)
	serving := ctlrpc.Serve(grpcServer, cfg.Control)
	web := &http.Server{Handler: j.handler(), ReadHeaderTimeout: headerTimeout}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	wg.Go(func() {
		if err := web.Serve(cfg.REST); !errors.Is(err, http.ErrServerClosed) {
			cancel(fmt.Errorf("REST: %w", err))
		}
	})
	wg.Go(func() { j.followLeader(ctx) })
	err := j.lead(ctx)
	cancel(err)
	serving.Stop(cfg.Clock, shutdownGrace)
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer done()
	if closeErr := web.Shutdown(stopping); closeErr != nil {
		_ = web.Close() // clients that do not end are cut off
	}
	wg.Wait()
	return err
}

func (j *jobManager) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", rest.NewHandler(rest.Config{Control: j.controlOrLeader, TempDir: j.TempDir, Clock: j.Clock, Log: j.Log}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /leader", func(w http.ResponseWriter, _ *http.Request) {
		if c, _ := j.controlOrLeader(); c == nil {
			http.Error(w, "standby", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("leader\n")) // the client may have gone
	})
	if j.Extra != nil {
		for path, h := range j.Extra(func() jobview.Control { c, _ := j.controlOrLeader(); return c }) {
			mux.Handle(path, h)
		}
	}
	return mux
}

// controlOrLeader returns the control while leading, else where the leader is.
func (j *jobManager) controlOrLeader() (jobview.Control, string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.leads != nil {
		return j.leads, ""
	}
	if j.leader != nil && j.leader.ID != j.ID {
		return nil, j.leader.REST
	}
	return nil, ""
}

// followLeader keeps what standbys tell those who ask them.
func (j *jobManager) followLeader(ctx context.Context) {
	for l := range j.Coordination.Watch(ctx) {
		j.mu.Lock()
		j.leader = l
		j.mu.Unlock()
		hint := ""
		if l != nil && l.ID != j.ID {
			hint = l.Control
		}
		j.control.SetLeaderHint(hint)
	}
}

func (j *jobManager) lead(ctx context.Context) error {
	me := ha.Leader{ID: j.ID, Control: j.AdvertisedControl, REST: j.AdvertisedREST}
	for ctx.Err() == nil {
		leadership, err := j.Coordination.Campaign(ctx, me)
		if err != nil {
			if ctx.Err() == nil {
				j.Log.Warn("no election is possible; trying again", "error", err)
				j.Clock.Sleep(campaignPause)
			}
			continue
		}
		if err := j.reign(ctx, leadership, me); err != nil && ctx.Err() == nil {
			j.Log.Warn("the leadership has ended", "epoch", leadership.Epoch(), "reason", err)
		}
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// reign leads until the leadership or ctx ends.
func (j *jobManager) reign(ctx context.Context, l ha.Leadership, me ha.Leader) error {
	me.Epoch = l.Epoch()
	j.Log.Info("leading", "epoch", me.Epoch)
	defer func() {
		resigning, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer done()
		if err := l.Resign(resigning); err != nil {
			j.Log.Debug("resigning", "error", err)
		}
	}()
	cfg := j.Dispatcher
	cfg.Leadership, cfg.Store, cfg.Bundles = l, j.Store, bundle.NewRepository(j.Store, j.Clock)
	cfg.Clock, cfg.Log, cfg.Leader, cfg.Version = j.Clock, j.Log, me, release.Version
	d := dispatcher.New(cfg)
	j.setControl(d)
	j.control.Lead(sessions{d})
	err := d.Run(ctx)
	j.setControl(nil)
	j.control.Retire("this jobmanager no longer leads")
	return err
}

func (j *jobManager) setControl(c *dispatcher.Dispatcher) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leads = nil
	if c != nil {
		j.leads = c
	}
}

// sessions hands the sessions of ctlrpc to the dispatcher: the two packages
// do not know each other.
type sessions struct{ *dispatcher.Dispatcher }

var _ ctlrpc.TaskManagers = sessions{}

// Connect implements ctlrpc.TaskManagers.
func (s sessions) Connect(reg *controlv1.Register, session ctlrpc.Session) (*controlv1.Registered, error) {
	return s.Dispatcher.Connect(reg, session)
}
