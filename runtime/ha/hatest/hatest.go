// Package hatest is the conformance suite of ha.Coordination: each
// implementation runs it. It is not for tests of what stands on top of it;
// those use memha.
package hatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/ha"
)

// patience bounds every wait of the suite.
const patience = 20 * time.Second

// Cluster is one fresh coordination service.
type Cluster interface {
	// Contender returns a new way into the service. The suite closes it.
	Contender() ha.Coordination
	// Depose takes the leadership away from outside, as when a lease runs out.
	Depose() error
}

// Run runs the suite. start is called once for each test, which then owns the
// cluster.
func Run(t *testing.T, start func(t *testing.T) Cluster) {
	tests := map[string]func(*suite){
		"LeadsAndWatches":            (*suite).leadsAndWatches,
		"SecondWaitsForTheFirst":     (*suite).secondWaits,
		"CommitIsSeenByLoad":         (*suite).commitAndLoad,
		"DeposedLeaderChangesNone":   (*suite).deposed,
		"ResignLeavesSuccessorAlone": (*suite).resignTwice,
		"RefusesWrongCommits":        (*suite).wrongCommits,
		"LargestCommit":              (*suite).largestCommit,
		"ConcurrentCommits":          (*suite).concurrentCommits,
		"CancelledCampaign":          (*suite).cancelledCampaign,
		"CloseEndsEverything":        (*suite).closeEnds,
		"ManyContenders":             (*suite).manyContenders,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tests[name](&suite{T: t, ctx: ctx, cluster: start(t)})
		})
	}
}

type suite struct {
	*testing.T
	ctx     context.Context //nolint:containedctx // of the test
	cluster Cluster
}

func (s *suite) contender() ha.Coordination {
	c := s.cluster.Contender()
	s.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.Errorf("close: %v", err)
		}
	})
	return c
}

func (s *suite) lead(c ha.Coordination, id string) ha.Leadership {
	s.Helper()
	l, err := c.Campaign(s.ctx, ha.Leader{ID: id, Control: id + ":1", REST: id + ":2"})
	if err != nil {
		s.Fatalf("campaign of %s: %v", id, err)
	}
	return l
}

func (s *suite) commit(l ha.Leadership, writes ...ha.Write) {
	s.Helper()
	if err := l.Commit(s.ctx, writes); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) load(l ha.Leadership, prefix string) map[string]string {
	s.Helper()
	data, err := l.Load(s.ctx, prefix)
	if err != nil {
		s.Fatal(err)
	}
	found := map[string]string{}
	for k, v := range data {
		found[k] = string(v)
	}
	return found
}

// await reads the channel until the leader is as wanted.
func (s *suite) await(ch <-chan *ha.Leader, what string, want func(*ha.Leader) bool) *ha.Leader {
	s.Helper()
	for {
		select {
		case l, ok := <-ch:
			if !ok {
				s.Fatalf("the watch ended before %s", what)
			}
			if want(l) {
				return l
			}
		case <-s.ctx.Done():
			s.Fatalf("the watch did not show %s", what)
		}
	}
}

func (s *suite) awaitDone(l ha.Leadership) {
	s.Helper()
	select {
	case <-l.Done():
	case <-s.ctx.Done():
		s.Fatal("the leadership did not end")
	}
}

func nobody(l *ha.Leader) bool { return l == nil }

func (s *suite) leadsAndWatches() {
	a, b := s.contender(), s.contender()
	ctx, cancel := context.WithCancel(s.ctx)
	ch := b.Watch(ctx)
	s.await(ch, "that nobody leads", nobody)
	l := s.lead(a, "a")
	got := s.await(ch, "leader a", func(x *ha.Leader) bool { return x != nil })
	if want := (ha.Leader{Epoch: l.Epoch(), ID: "a", Control: "a:1", REST: "a:2"}); *got != want {
		s.Errorf("watch shows %+v, want %+v", *got, want)
	}
	late := b.Watch(s.ctx)
	s.await(late, "leader a to a late watcher", func(x *ha.Leader) bool { return x != nil && x.ID == "a" })
	if err := l.Resign(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.awaitDone(l)
	s.await(ch, "that nobody leads any more", nobody)
	cancel()
	for range ch {
	}
}

func (s *suite) secondWaits() {
	a, b := s.contender(), s.contender()
	first := s.lead(a, "a")
	won := make(chan ha.Leadership, 1)
	go func() {
		l, err := b.Campaign(s.ctx, ha.Leader{ID: "b"})
		if err != nil {
			s.Errorf("campaign of b: %v", err)
		}
		won <- l
	}()
	s.commit(first, ha.Write{Key: "k", Value: []byte("a")})
	select {
	case l := <-won:
		s.Fatalf("b leads with epoch %d while a does with %d", l.Epoch(), first.Epoch())
	default:
	}
	if err := first.Resign(s.ctx); err != nil {
		s.Fatal(err)
	}
	second := <-won
	if second == nil {
		return
	}
	if second.Epoch() <= first.Epoch() {
		s.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
	}
	if got := s.load(second, "k"); got["k"] != "a" {
		s.Errorf("the successor sees %v", got)
	}
	if err := first.Commit(s.ctx, []ha.Write{{Key: "k", Value: []byte("late")}}); !errors.Is(err, ha.ErrFenced) {
		s.Errorf("commit after resigning: %v", err)
	}
}

func (s *suite) commitAndLoad() {
	l := s.lead(s.contender(), "a")
	if got := s.load(l, ""); len(got) != 0 {
		s.Fatalf("a fresh service holds %v", got)
	}
	s.commit(l, ha.Write{Key: "jobs/1/record", Value: []byte("r1")}, ha.Write{Key: "jobs/10/record", Value: []byte("r10")},
		ha.Write{Key: "other", Value: []byte{}})
	s.expect(l, "", map[string]string{"jobs/1/record": "r1", "jobs/10/record": "r10", "other": ""})
	s.expect(l, "jobs/1/", map[string]string{"jobs/1/record": "r1"})
	s.expect(l, "jobs/1", map[string]string{"jobs/1/record": "r1", "jobs/10/record": "r10"})
	s.commit(l, ha.Write{Key: "jobs/1/record"}, ha.Write{Key: "jobs/2/record", Value: []byte("r2")}, ha.Write{Key: "never/there"})
	s.expect(l, "jobs/", map[string]string{"jobs/10/record": "r10", "jobs/2/record": "r2"})
	value := []byte("mine")
	s.commit(l, ha.Write{Key: "v", Value: value})
	copy(value, "XXXX")
	s.expect(l, "v", map[string]string{"v": "mine"})
}

func (s *suite) expect(l ha.Leadership, prefix string, want map[string]string) {
	s.Helper()
	if got := s.load(l, prefix); !maps.Equal(got, want) {
		s.Errorf("load %q: %v, want %v", prefix, got, want)
	}
}

func (s *suite) deposed() {
	a, b := s.contender(), s.contender()
	old := s.lead(a, "a")
	s.commit(old, ha.Write{Key: "x", Value: []byte("old")})
	if err := s.cluster.Depose(); err != nil {
		s.Fatal(err)
	}
	l := s.lead(b, "b")
	s.commit(l, ha.Write{Key: "x", Value: []byte("new")})
	err := old.Commit(s.ctx, []ha.Write{{Key: "x", Value: []byte("stale")}, {Key: "y", Value: []byte("stale")}})
	if !errors.Is(err, ha.ErrFenced) || errors.Is(err, ha.ErrUnknown) {
		s.Errorf("commit of the deposed leader: %v", err)
	}
	if _, err := old.Load(s.ctx, ""); !errors.Is(err, ha.ErrFenced) {
		s.Errorf("load of the deposed leader: %v", err)
	}
	s.awaitDone(old)
	if err := old.Resign(s.ctx); err != nil {
		s.Errorf("resign of the deposed leader: %v", err)
	}
	s.expect(l, "", map[string]string{"x": "new"})
	s.commit(l, ha.Write{Key: "z", Value: []byte("still leading")})
}

func (s *suite) resignTwice() {
	a := s.contender()
	first := s.lead(a, "a")
	if err := first.Resign(s.ctx); err != nil {
		s.Fatal(err)
	}
	second := s.lead(a, "a")
	if second.Epoch() <= first.Epoch() {
		s.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
	}
	if err := first.Resign(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.commit(second, ha.Write{Key: "k", Value: []byte("v")})
	select {
	case <-second.Done():
		s.Error("a repeated resignation ended the next leadership")
	default:
	}
}

func (s *suite) wrongCommits() {
	l := s.lead(s.contender(), "a")
	tooMany := make([]ha.Write, ha.WritesMax+1)
	for i := range tooMany {
		tooMany[i] = ha.Write{Key: fmt.Sprint("k", i), Value: []byte("v")}
	}
	for name, writes := range map[string][]ha.Write{
		"none": nil, "too many": tooMany, "empty key": {{Key: "", Value: []byte("v")}},
		"slash":   {{Key: "/k", Value: []byte("v")}},
		"twice":   {{Key: "k", Value: []byte("v")}, {Key: "k"}},
		"too big": {{Key: "k", Value: make([]byte, ha.CommitBytesMax)}},
	} {
		err := l.Commit(s.ctx, writes)
		if err == nil || errors.Is(err, ha.ErrFenced) || errors.Is(err, ha.ErrUnknown) {
			s.Errorf("%s: %v", name, err)
		}
	}
	s.expect(l, "", map[string]string{})
}

func (s *suite) largestCommit() {
	l := s.lead(s.contender(), "a")
	writes := make([]ha.Write, ha.WritesMax)
	for i := range writes {
		writes[i] = ha.Write{Key: fmt.Sprintf("k/%03d", i), Value: make([]byte, ha.CommitBytesMax/ha.WritesMax-10)}
	}
	s.commit(l, writes...)
	if got := s.load(l, "k/"); len(got) != len(writes) {
		s.Errorf("%d keys, want %d", len(got), len(writes))
	}
}

func (s *suite) concurrentCommits() {
	const writers, rounds = 8, 10
	l := s.lead(s.contender(), "a")
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for r := range rounds {
				if err := l.Commit(s.ctx, []ha.Write{{Key: fmt.Sprintf("w/%d/%d", w, r), Value: []byte("v")}}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.load(l, "w/"); len(got) != writers*rounds {
		s.Errorf("%d keys, want %d", len(got), writers*rounds)
	}
}

func (s *suite) cancelledCampaign() {
	a, b := s.contender(), s.contender()
	l := s.lead(a, "a")
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := b.Campaign(ctx, ha.Leader{ID: "b"})
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		s.Errorf("cancelled campaign: %v", err)
	}
	s.commit(l, ha.Write{Key: "k", Value: []byte("v")})
	if err := l.Resign(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.lead(a, "a") // nothing of b stands in the way
}

func (s *suite) closeEnds() {
	a, b := s.cluster.Contender(), s.contender()
	l := s.lead(a, "a")
	ch := a.Watch(s.ctx)
	if err := a.Close(); err != nil {
		s.Fatal(err)
	}
	s.awaitDone(l)
	for range ch {
	}
	if _, err := a.Campaign(s.ctx, ha.Leader{ID: "a"}); err == nil {
		s.Error("a closed contender campaigned")
	}
	if err := l.Commit(s.ctx, []ha.Write{{Key: "k", Value: []byte("v")}}); err == nil {
		s.Error("a closed contender committed")
	}
	s.lead(b, "b")
}

// Many contenders lead in turns, each adds its epoch to a list. No epoch is
// lost or overwritten and they only grow.
func (s *suite) manyContenders() {
	const contenders, turns = 4, 3
	var wg sync.WaitGroup
	for i := range contenders {
		c := s.contender()
		wg.Go(func() {
			for range turns {
				s.addEpoch(c, fmt.Sprint("c", i))
			}
		})
	}
	wg.Wait()
	l := s.lead(s.contender(), "reader")
	got := s.load(l, "epochs/")
	if len(got) != contenders*turns {
		s.Fatalf("%d epochs, want %d: %v", len(got), contenders*turns, got)
	}
	last := dataflow.Epoch(0)
	for _, key := range slices.Sorted(maps.Keys(got)) {
		var epoch dataflow.Epoch
		if _, err := fmt.Sscan(got[key], &epoch); err != nil || epoch <= last {
			s.Errorf("epoch %s at %s follows %d", got[key], key, last)
		}
		last = epoch
	}
}

func (s *suite) addEpoch(c ha.Coordination, id string) {
	l, err := c.Campaign(s.ctx, ha.Leader{ID: id})
	if err != nil {
		s.Error(err)
		return
	}
	found, err := l.Load(s.ctx, "epochs/")
	if err == nil {
		key := fmt.Sprintf("epochs/%04d", len(found))
		err = l.Commit(s.ctx, []ha.Write{{Key: key, Value: fmt.Append(nil, l.Epoch())}})
	}
	if err != nil {
		s.Error(err)
	}
	if err := l.Resign(s.ctx); err != nil {
		s.Error(err)
	}
}
