//go:build e2e

package chaos

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// arrivals are the times at which committed rows were read.
type arrivals struct {
	mu sync.Mutex
	at []time.Time // guarded by mu
}

// sameCommit is how far apart rows of one commit are read: its partitions
// become readable one after another.
const sameCommit = 200 * time.Millisecond

// follow reads a topic's committed rows until the test ends.
func follow(t *testing.T, brokers, topic string) *arrivals {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	a := &arrivals{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if fs := cl.PollFetches(ctx); fs.NumRecords() > 0 {
				a.add(time.Now())
			}
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); cl.Close() })
	return a
}

func (a *arrivals) add(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.at); n == 0 || at.Sub(a.at[n-1]) > sameCommit {
		a.at = append(a.at, at)
	}
}

// since returns the times of commits after from.
func (a *arrivals) since(from time.Time) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, _ := slices.BinarySearchFunc(a.at, from, time.Time.Compare)
	return slices.Clone(a.at[i:])
}

// gap returns the longest time without a commit that ends after from.
func (a *arrivals) gap(from time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	longest := time.Duration(0)
	for i := 1; i < len(a.at); i++ {
		if a.at[i].After(from) {
			longest = max(longest, a.at[i].Sub(a.at[i-1]))
		}
	}
	return longest
}
