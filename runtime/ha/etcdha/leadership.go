package etcdha

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/ha"
)

// pageMax is how many keys Load reads at a time.
const pageMax = 500

type leadership struct {
	c        *Coordination
	me       ha.Leader
	lease    clientv3.LeaseID
	revision int64 // create revision of the leader key: the epoch

	endOnce sync.Once
	done    chan struct{}

	// turn holds one token; who has it may commit. Commits are ordered by it.
	turn chan struct{}
	// sequence is the expected revision of the sequence key, and number counts
	// the commits. Both belong to the holder of the turn.
	sequence int64
	number   int64
}

var _ ha.Leadership = (*leadership)(nil)

// newLeadership starts the goroutine that renews the lease. sent is a time
// before the lease was granted.
func newLeadership(c *Coordination, me ha.Leader, lease clientv3.LeaseID, revision int64, sent time.Time, ttl time.Duration) *leadership {
	l := &leadership{c: c, me: me, lease: lease, revision: revision, sequence: revision,
		done: make(chan struct{}), turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	l.me.Epoch = l.Epoch()
	c.wg.Go(func() { l.renew(sent, ttl) })
	return l
}

func (l *leadership) Epoch() dataflow.Epoch { return dataflow.Epoch(l.revision) }

func (l *leadership) Done() <-chan struct{} { return l.done }

func (l *leadership) end(why string) {
	l.endOnce.Do(func() {
		l.c.cfg.Log.Warn("leadership ended", "id", l.me.ID, "epoch", l.revision, "why", why)
		close(l.done)
	})
}

// renew keeps the lease until the leadership ends. The deadline counts from
// before the last renewal that etcd confirmed was sent, so it lies before the
// lease's end whatever happens to the messages; an eighth is kept for clocks
// of unequal speed. Renewals run beside it: one that hangs does not hold up
// the deadline.
func (l *leadership) renew(confirmed time.Time, ttl time.Duration) {
	ctx, cancel := context.WithCancel(l.c.ctx)
	defer cancel()
	results := make(chan renewal, 1)
	inFlight := false
	defer func() {
		cancel()
		if inFlight {
			<-results
		}
	}()
	next := l.c.clock.NewTimer(ttl / 3)
	defer next.Stop()
	for {
		left := ttl - ttl/8 - l.c.clock.Since(confirmed)
		if left <= 0 {
			l.end("the lease could not be renewed in time")
			return
		}
		deadline := l.c.clock.NewTimer(left)
		select {
		case <-deadline.C():
		case <-next.C():
			inFlight = true
			go func() { results <- l.renewOnce(ctx) }()
		case r := <-results:
			inFlight = false
			if r.lost != "" {
				deadline.Stop()
				l.end(r.lost)
				return
			}
			pause := ttl / 3
			if r.err != nil {
				l.c.cfg.Log.Warn("lease not renewed", "epoch", l.revision, "error", r.err)
				pause = l.c.cfg.RetryPause
			} else {
				confirmed, ttl = r.sent, r.ttl
			}
			next.Reset(pause)
		case <-l.done:
			deadline.Stop()
			return
		case <-ctx.Done():
			deadline.Stop()
			l.end("coordination was closed")
			return
		}
		deadline.Stop()
	}
}

type renewal struct {
	sent time.Time
	ttl  time.Duration
	lost string // why the leadership has ended
	err  error
}

// renewOnce renews the lease and looks whether the key is still ours, which a
// person with etcdctl may have changed. It uses the lease API directly: the
// client's KeepAliveOnce repeats without a pause while etcd is away.
func (l *leadership) renewOnce(ctx context.Context) renewal {
	ctx, cancel := l.c.request(ctx)
	defer cancel()
	r := renewal{sent: l.c.clock.Now()}
	stream, err := etcdserverpb.NewLeaseClient(l.c.client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err == nil {
		err = stream.Send(&etcdserverpb.LeaseKeepAliveRequest{ID: int64(l.lease)})
	}
	if err != nil {
		return renewal{err: fmt.Errorf("renew lease %x: %w", int64(l.lease), err)}
	}
	resp, err := stream.Recv()
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound), err == nil && resp.TTL <= 0:
		r.lost = "the lease has run out"
		return r
	case err != nil:
		return renewal{err: fmt.Errorf("renew lease %x: %w", int64(l.lease), err)}
	}
	r.ttl = time.Duration(resp.TTL) * time.Second
	leader, _, err := l.c.readLeader(ctx)
	if err == nil && (leader == nil || leader.Epoch != l.Epoch()) {
		r.lost = "the leader key is gone"
	}
	return r
}

func (l *leadership) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

func (l *leadership) fenced(op string) error {
	return fmt.Errorf("%s: epoch %d: %w", op, l.revision, ha.ErrFenced)
}

func (l *leadership) isLeader() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(l.c.leaderKey()), "=", l.revision)
}

// Load implements ha.Leadership. The keys are those of one revision, at which
// the leadership was valid.
func (l *leadership) Load(ctx context.Context, prefix string) (map[string][]byte, error) {
	ctx, cancel := l.c.within(ctx)
	defer cancel()
	for {
		if l.ended() {
			return nil, l.fenced("load")
		}
		found, err := l.loadOnce(ctx, prefix)
		if err == nil || errors.Is(err, ha.ErrFenced) {
			return found, err
		}
		if pauseErr := l.c.pause(ctx, l.c.cfg.RetryPause); pauseErr != nil {
			return nil, fmt.Errorf("load %q: %w (last error: %w)", prefix, pauseErr, err)
		}
	}
}

func (l *leadership) loadOnce(ctx context.Context, prefix string) (map[string][]byte, error) {
	base := l.c.dataPrefix()
	start, end := base+prefix, clientv3.GetPrefixRangeEnd(base+prefix)
	found := map[string][]byte{}
	for revision := int64(0); ; {
		resp, at, err := l.loadPage(ctx, start, end, revision)
		if err != nil {
			return nil, err
		}
		for _, kv := range resp.Kvs {
			found[strings.TrimPrefix(string(kv.Key), base)] = kv.Value
		}
		if !resp.More {
			return found, nil
		}
		revision, start = at, string(resp.Kvs[len(resp.Kvs)-1].Key)+"\x00"
	}
}

func (l *leadership) loadPage(ctx context.Context, start, end string, revision int64) (*etcdserverpb.RangeResponse, int64, error) {
	ctx, cancel := l.c.request(ctx)
	defer cancel()
	resp, err := l.c.client.Txn(ctx).If(l.isLeader()).
		Then(clientv3.OpGet(start, clientv3.WithRange(end), clientv3.WithLimit(pageMax), clientv3.WithRev(revision))).
		Commit()
	if err != nil {
		return nil, 0, err
	}
	if !resp.Succeeded {
		l.end("another leads")
		return nil, 0, l.fenced("load")
	}
	if revision == 0 {
		revision = resp.Header.Revision
	}
	return resp.Responses[0].GetResponseRange(), revision, nil
}

// Resign implements ha.Leadership. The key is deleted only if it is still the
// one of this leadership.
func (l *leadership) Resign(ctx context.Context) error {
	l.end("resigned")
	for {
		err := l.deleteKey(ctx)
		if err == nil {
			l.c.revoke(ctx, l.lease)
			return nil
		}
		if pauseErr := l.c.pause(ctx, l.c.cfg.RetryPause); pauseErr != nil {
			return fmt.Errorf("resign epoch %d: %w (last error: %w)", l.revision, pauseErr, err)
		}
	}
}

func (l *leadership) deleteKey(ctx context.Context) error {
	ctx, cancel := l.c.request(ctx)
	defer cancel()
	_, err := l.c.client.Txn(ctx).If(l.isLeader()).Then(clientv3.OpDelete(l.c.leaderKey())).Commit()
	return err
}
