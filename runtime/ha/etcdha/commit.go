package etcdha

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/leatstream/leat/runtime/ha"
)

// Commit implements ha.Leadership. Tries without an answer are repeated while
// ctx and the leadership last; the sequence key makes sure that one of them
// takes effect at most. Concurrent calls wait for each other.
func (l *leadership) Commit(ctx context.Context, writes []ha.Write) error {
	if err := ha.CheckWrites(writes); err != nil {
		return err
	}
	ctx, cancel := l.c.within(ctx)
	defer cancel()
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-l.done:
		return l.fenced("commit")
	case <-ctx.Done():
		return fmt.Errorf("commit: %w", l.c.cause(ctx))
	}
	l.number++
	mark := fmt.Sprintf("%d/%d", l.revision, l.number)
	ops := l.ops(writes, mark)
	sent := false // a try may have taken effect unseen
	for {
		if l.ended() {
			return l.lost(sent)
		}
		outcome, err := l.tryCommit(ctx, ops, mark)
		switch outcome {
		case outcomeDone:
			return nil
		case outcomeFenced:
			l.end("another leads")
			return l.lost(sent)
		case outcomeRefused:
			if sent {
				return fmt.Errorf("commit: %w (last error: %w)", ha.ErrUnknown, err)
			}
			return fmt.Errorf("commit, nothing was written: %w", err)
		case outcomeStale:
			continue // the sequence is known again
		case outcomeUnknown:
			sent = true
		}
		l.c.cfg.Log.Warn("commit without an answer, trying again", "commit", mark, "error", err)
		if l.pauseWithin(ctx) != nil {
			return fmt.Errorf("commit: %w: %w (last error: %w)", ha.ErrUnknown, l.c.cause(ctx), err)
		}
	}
}

// pauseWithin waits before the next try; the end of the leadership ends it too.
func (l *leadership) pauseWithin(ctx context.Context) error {
	t := l.c.clock.NewTimer(l.c.cfg.RetryPause)
	defer t.Stop()
	select {
	case <-t.C():
	case <-l.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (l *leadership) lost(sent bool) error {
	if sent {
		return fmt.Errorf("commit: epoch %d: %w, and %w", l.revision, ha.ErrFenced, ha.ErrUnknown)
	}
	return l.fenced("commit")
}

func (l *leadership) ops(writes []ha.Write, mark string) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(writes)+1)
	for _, w := range writes {
		key := l.c.dataPrefix() + w.Key
		if w.Value == nil {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, string(w.Value)))
		}
	}
	return append(ops, clientv3.OpPut(l.c.sequenceKey(), mark))
}

type outcome int

const (
	outcomeDone    outcome = iota
	outcomeFenced          // the leader key is another's, or gone
	outcomeStale           // an earlier commit arrived late; nothing was written now
	outcomeRefused         // etcd will not do it; nothing was written now
	outcomeUnknown
)

func (l *leadership) tryCommit(ctx context.Context, ops []clientv3.Op, mark string) (outcome, error) {
	ctx, cancel := l.c.request(ctx)
	defer cancel()
	resp, err := l.c.client.Txn(ctx).
		If(l.isLeader(), clientv3.Compare(clientv3.ModRevision(l.c.sequenceKey()), "=", l.sequence)).
		Then(ops...).
		Else(clientv3.OpGet(l.c.leaderKey()), clientv3.OpGet(l.c.sequenceKey())).
		Commit()
	if err != nil {
		if refused(err) {
			return outcomeRefused, err
		}
		return outcomeUnknown, err
	}
	if resp.Succeeded {
		l.sequence = resp.Header.Revision
		return outcomeDone, nil
	}
	leader, sequence := resp.Responses[0].GetResponseRange().GetKvs(), resp.Responses[1].GetResponseRange().GetKvs()
	if len(sequence) == 1 && string(sequence[0].Value) == mark {
		l.sequence = sequence[0].ModRevision
		return outcomeDone, nil // an earlier try of this commit
	}
	if len(leader) != 1 || leader[0].CreateRevision != l.revision {
		return outcomeFenced, nil
	}
	if len(sequence) != 1 {
		return outcomeRefused, fmt.Errorf("key %q is gone: somebody else writes under the cluster's prefix", l.c.sequenceKey())
	}
	l.sequence = sequence[0].ModRevision
	return outcomeStale, nil
}

// refused reports whether etcd says that it will not write. Every other error
// leaves open whether it did.
func refused(err error) bool {
	for _, known := range []error{
		rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrDuplicateKey, rpctypes.ErrEmptyKey,
		rpctypes.ErrNoSpace, rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrInvalidAuthToken,
		rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
