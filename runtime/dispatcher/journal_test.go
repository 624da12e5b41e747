package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/memha"
)

// gate holds up the first commit, so that others gather behind it.
type gate struct {
	ha.Leadership
	mu      sync.Mutex
	release chan struct{}
	batches [][]ha.Write
	refuse  string // key whose batch is refused
}

func (g *gate) Commit(ctx context.Context, w []ha.Write) error {
	<-g.release
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range w {
		if x.Key == g.refuse {
			return errors.New("value too large")
		}
	}
	g.batches = append(g.batches, w)
	return g.Leadership.Commit(ctx, w)
}

func journalOn(t *testing.T) (*gate, *journal) {
	t.Helper()
	l, err := memha.NewService().Contender().Campaign(t.Context(), ha.Leader{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Leadership: l, release: make(chan struct{})}
	return g, newJournal(g)
}

func TestJournalGathersCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, j := journalOn(t)
		go j.run(t.Context())
		const commits = 2*ha.WritesMax + 10
		results := make(chan error, commits)
		for i := range commits {
			go func() {
				results <- j.Commit(t.Context(), []ha.Write{{Key: fmt.Sprintf("jobs/%d/record", i), Value: []byte("x")}})
			}()
		}
		synctest.Wait()
		close(g.release)
		for range commits {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		if n := len(g.batches); n > 5 {
			t.Fatalf("%d commits took %d transactions", commits, n)
		}
		for _, b := range g.batches {
			if len(b) > ha.WritesMax {
				t.Fatalf("a transaction has %d writes, more than %d", len(b), ha.WritesMax)
			}
		}
		all, err := j.Load(t.Context(), "jobs/")
		if err != nil || len(all) != commits {
			t.Fatalf("%d keys are stored, want %d; error %v", len(all), commits, err)
		}
	})
}

// One refused write does not fail the others of its batch, and no key is
// written twice in one transaction.
func TestJournalKeepsCommitsApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, j := journalOn(t)
		g.refuse = "bad"
		go j.run(t.Context())
		results := map[string]chan error{}
		for i, key := range []string{"first", "good", "bad", "good"} {
			ch := make(chan error, 1)
			results[fmt.Sprint(i, key)] = ch
			go func() { ch <- j.Commit(t.Context(), []ha.Write{{Key: key, Value: []byte{byte(i)}}}) }()
			synctest.Wait()
		}
		close(g.release)
		for name, ch := range results {
			if err := <-ch; (err != nil) != (name == "2bad" || name == "2 bad") {
				t.Errorf("commit %s: %v", name, err)
			}
		}
		all, _ := j.Load(t.Context(), "good")
		if v := all["good"]; len(v) != 1 || v[0] != 3 {
			t.Fatalf("the later of two values is lost: %v", v)
		}
	})
}

func TestJournalAfterItsEnd(t *testing.T) {
	t.Parallel()
	l, err := memha.NewService().Contender().Campaign(t.Context(), ha.Leader{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	j := newJournal(l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j.run(ctx)
	if err := j.Commit(t.Context(), []ha.Write{{Key: "k"}}); !errors.Is(err, ha.ErrUnknown) && !errors.Is(err, ha.ErrFenced) {
		t.Fatalf("commit after the end: %v", err)
	}
}
