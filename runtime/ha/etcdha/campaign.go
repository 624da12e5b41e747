package etcdha

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/leatstream/leat/runtime/ha"
)

// Campaign implements ha.Coordination.
func (c *Coordination) Campaign(ctx context.Context, me ha.Leader) (ha.Leadership, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	for {
		if err := c.awaitVacancy(ctx); err != nil {
			return nil, fmt.Errorf("campaign of %q: %w", me.ID, err)
		}
		l, err := c.tryLead(ctx, me)
		if l != nil {
			return l, nil
		}
		if err != nil {
			c.cfg.Log.Warn("campaign: etcd did not answer", "id", me.ID, "error", err)
			if err := c.pause(ctx, c.cfg.RetryPause); err != nil {
				return nil, fmt.Errorf("campaign of %q: %w", me.ID, err)
			}
		}
	}
}

// awaitVacancy returns nil when there is no leader.
func (c *Coordination) awaitVacancy(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for leader := range c.watch(ctx) {
		if leader == nil {
			return nil
		}
	}
	return c.cause(ctx)
}

// tryLead makes one try at the leader key. It returns nil, nil when another
// was faster. The lease that a failed try leaves runs out by itself.
func (c *Coordination) tryLead(ctx context.Context, me ha.Leader) (*leadership, error) {
	sent := c.clock.Now()
	lease, err := c.grant(ctx)
	if err != nil {
		return nil, err
	}
	me.Epoch = 0 // readers take the create revision
	value, err := json.Marshal(me)
	if err != nil {
		return nil, fmt.Errorf("encode leader: %w", err)
	}
	ttl := time.Duration(lease.TTL) * time.Second
	for c.clock.Since(sent) < ttl/2 {
		revision, won, err := c.putLeader(ctx, lease.ID, string(value))
		switch {
		case err == nil && won:
			l := newLeadership(c, me, lease.ID, revision, sent, ttl)
			return l, nil
		case err == nil:
			c.revoke(ctx, lease.ID)
			return nil, nil
		case ctx.Err() != nil:
			c.revoke(context.WithoutCancel(ctx), lease.ID)
			return nil, c.cause(ctx)
		}
		// The try may have taken effect: the next one recognises its own lease.
		if err := c.pause(ctx, c.cfg.RetryPause); err != nil {
			return nil, err
		}
	}
	c.revoke(ctx, lease.ID)
	return nil, errors.New("no answer within half of the lease")
}

func (c *Coordination) grant(ctx context.Context) (*clientv3.LeaseGrantResponse, error) {
	ctx, cancel := c.request(ctx)
	defer cancel()
	lease, err := c.client.Grant(ctx, int64(c.cfg.LeaseTTL/time.Second))
	if err != nil {
		return nil, fmt.Errorf("grant a lease: %w", err)
	}
	return lease, nil
}

// putLeader makes the leader key if it is absent, together with the first
// sequence value, and returns the key's create revision.
func (c *Coordination) putLeader(ctx context.Context, lease clientv3.LeaseID, value string) (int64, bool, error) {
	ctx, cancel := c.request(ctx)
	defer cancel()
	resp, err := c.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(c.leaderKey()), "=", 0)).
		Then(clientv3.OpPut(c.leaderKey(), value, clientv3.WithLease(lease)),
			clientv3.OpPut(c.sequenceKey(), fmt.Sprintf("lease %x", int64(lease)))).
		Else(clientv3.OpGet(c.leaderKey())).
		Commit()
	if err != nil {
		return 0, false, fmt.Errorf("put the leader key: %w", err)
	}
	if resp.Succeeded {
		return resp.Header.Revision, true, nil
	}
	kvs := resp.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 1 && kvs[0].Lease == int64(lease) {
		return kvs[0].CreateRevision, true, nil
	}
	return 0, false, nil
}

// revoke gives a lease back early. It belongs to one try or leadership alone,
// so that nothing of a later one goes with it.
func (c *Coordination) revoke(ctx context.Context, lease clientv3.LeaseID) {
	ctx, cancel := c.request(ctx)
	defer cancel()
	if _, err := c.client.Revoke(ctx, lease); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		c.cfg.Log.Warn("lease not revoked, it runs out by itself", "lease", int64(lease), "error", err)
	}
}
