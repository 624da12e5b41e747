package etcdha

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/leatstream/leat/runtime/ha"
)

// Watch implements ha.Coordination. While etcd cannot be reached the last
// known leader stands.
func (c *Coordination) Watch(ctx context.Context) <-chan *ha.Leader { return c.watch(ctx) }

func (c *Coordination) watch(ctx context.Context) <-chan *ha.Leader {
	w := &watcher{c: c, out: make(chan *ha.Leader, 1)}
	ctx, cancel := c.within(ctx)
	c.wg.Go(func() {
		defer cancel()
		defer close(w.out)
		w.run(ctx)
	})
	return w.out
}

type watcher struct {
	c    *Coordination
	out  chan *ha.Leader // room for one; only run sends
	sent bool
	last ha.Leader // zero: none
}

// run reads the leader, then follows changes until they end for whatever
// reason (compaction, a broken stream, the reread interval), and reads again.
func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		leader, revision, err := w.c.readLeader(ctx)
		if err == nil {
			w.send(leader)
			err = w.follow(ctx, revision+1)
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		w.c.cfg.Log.Warn("watch of the leader: reading again", "error", err)
		if w.c.pause(ctx, w.c.cfg.RetryPause) != nil {
			return
		}
	}
}

// follow sends changes from a revision on. It returns nil at the reread
// interval.
func (w *watcher) follow(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	reread := w.c.clock.NewTimer(w.c.cfg.RereadInterval)
	defer reread.Stop()
	events := w.c.client.Watch(ctx, w.c.leaderKey(), clientv3.WithRev(revision))
	for {
		select {
		case <-reread.C():
			return nil
		case resp, ok := <-events:
			if !ok {
				return fmt.Errorf("the watch ended at revision %d", revision)
			}
			if err := resp.Err(); err != nil {
				return fmt.Errorf("watch from revision %d: %w", revision, err)
			}
			for _, ev := range resp.Events {
				leader, err := leaderOf(ev)
				if err != nil {
					return err
				}
				w.send(leader)
			}
		}
	}
}

func leaderOf(ev *clientv3.Event) (*ha.Leader, error) {
	if ev.Type == clientv3.EventTypeDelete {
		return nil, nil
	}
	return decodeLeader(ev.Kv.Value, ev.Kv.CreateRevision)
}

// send replaces a value that was not read yet.
func (w *watcher) send(leader *ha.Leader) {
	value := ha.Leader{}
	if leader != nil {
		value = *leader
	}
	if w.sent && value == w.last {
		return
	}
	w.sent, w.last = true, value
	select {
	case <-w.out:
	default:
	}
	w.out <- leader
}
