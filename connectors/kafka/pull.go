package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/retry"
)

const (
	// metadataEvery is how often leaders and topic ids are looked at without
	// cause: it finds a topic that was created anew.
	metadataEvery = 30 * time.Second
	// brokersMax bounds the fetchers.
	brokersMax = 4096
	// partitionBytesMin is the least that a fetch asks of a partition.
	partitionBytesMin = 64 << 10
)

// puller fetches ahead for a reader: one goroutine for each leading broker and
// one that looks up leaders. All others of its methods are called on the
// task's goroutine.
type puller struct {
	cfg    *SourceConfig
	client *kwire.Client
	clk    clock.Clock
	log    *slog.Logger
	wake   func()
	// trouble tells people what is tried again, and nil at its end.
	trouble func(error)
	bodies  bodies

	ctx    context.Context //nolint:containedctx // ends with close: the goroutines' life
	cancel context.CancelFunc
	wg     sync.WaitGroup
	lookup chan struct{} // pokes the leader goroutine; one pending is enough

	mu       sync.Mutex
	parts    []*part            // guarded by mu
	fetchers map[int32]*fetcher // guarded by mu
	queued   int                // guarded by mu; bytes fetched and not consumed
	err      error              // guarded by mu; fatal
	skipped  int64              // guarded by mu; records skipped by OutOfRange
}

func newPuller(cfg *SourceConfig, client *kwire.Client, ctx *connectors.ReaderContext) *puller {
	p := &puller{
		cfg: cfg, client: client, clk: ctx.Clock, log: ctx.Log, wake: ctx.Wake, trouble: ctx.Trouble,
		lookup: make(chan struct{}, 1), fetchers: map[int32]*fetcher{},
	}
	if p.trouble == nil {
		p.trouble = func(error) {}
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Go(p.leaders)
	return p
}

// close ends the goroutines and waits for them.
func (p *puller) close() {
	p.cancel()
	p.client.Close()
	p.wg.Wait()
}

// add starts fetching partitions.
func (p *puller) add(parts []*part) {
	p.mu.Lock()
	p.parts = append(p.parts, parts...)
	p.mu.Unlock()
	poke(p.lookup)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fail makes the reader's Next return err.
func (p *puller) fail(err error) {
	if p.ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.wake()
}

// consumed gives back the room of a chunk.
func (p *puller) consumed(pt *part, c *chunk) {
	p.mu.Lock()
	p.queued -= len(c.records)
	pt.bytes -= len(c.records)
	f := p.fetchers[pt.leader]
	p.mu.Unlock()
	c.body.release()
	if f != nil {
		poke(f.wake)
	}
}

// drop gives back what was fetched of a partition that has ended.
func (p *puller) drop(pt *part) {
	p.mu.Lock()
	rest := pt.chunks
	pt.chunks, pt.dropped = nil, true
	p.mu.Unlock()
	for i := range rest {
		p.consumed(pt, &rest[i])
	}
}

// leaders looks up the leaders of partitions that have none.
func (p *puller) leaders() {
	tries := 0
	timer := p.clk.NewTimer(metadataEvery)
	defer timer.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.lookup:
		case <-timer.C():
			timer.Reset(metadataEvery)
		}
		missing, err := p.assign()
		switch {
		case err != nil && p.isFatal(err):
			p.fail(err)
			return
		case err != nil || missing > 0:
			p.trouble(unreachable(&p.cfg.Connection, cmp.Or(err, error(noLeaders(missing)))))
			if tries%8 == 0 {
				p.log.Warn("kafka partitions have no leader that can be reached; retrying", "partitions", missing, "error", err)
			}
			if retry.Wait(p.ctx, p.clk, kwire.Pause(tries)) != nil {
				return
			}
			tries++
			poke(p.lookup)
		case tries > 0:
			tries = 0
			p.trouble(nil)
		}
	}
}

// noLeaders is the number of partitions without a leader.
type noLeaders int

// Error implements error.
func (n noLeaders) Error() string {
	return fmt.Sprintf("%d partitions have no leader that can be reached", int(n))
}

func (p *puller) isFatal(err error) bool {
	var f *connectors.FatalError
	return errors.As(err, &f)
}

// assign refreshes metadata and gives each partition its leader. It returns
// the number of partitions that still have none.
func (p *puller) assign() (missing int, err error) {
	topics := p.topics()
	if len(topics) == 0 {
		return 0, nil
	}
	got, err := p.client.Metadata(p.ctx, topics)
	if err != nil {
		return 0, fatalAuth(err)
	}
	byName := map[string]kwire.Topic{}
	for _, t := range got {
		byName[t.Name] = t
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pt := range p.parts {
		t := byName[pt.tp.Topic]
		if t.Code == kwire.TopicAuthorizationFailed {
			return 0, fatalAuth(fmt.Errorf("topic %q: %w", pt.tp.Topic, t.Code))
		}
		if err := pt.sameTopic(t); err != nil {
			return 0, err
		}
		leader, epoch, lerr := p.client.Leader(pt.tp.Topic, pt.tp.Partition)
		if lerr != nil {
			pt.leader, pt.failing = noLeader, true
			missing, err = missing+1, lerr
			continue
		}
		p.leadLocked(pt, leader, epoch)
	}
	return missing, err
}

func (p *puller) topics() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[string]bool{}
	var out []string
	for _, pt := range p.parts {
		if !seen[pt.tp.Topic] {
			seen[pt.tp.Topic] = true
			out = append(out, pt.tp.Topic)
		}
	}
	return out
}

// sameTopic reports a topic that was deleted and created again: the offsets of
// the state mean nothing in it.
func (pt *part) sameTopic(t kwire.Topic) error {
	var none [16]byte
	if t.Code != kwire.None || t.ID == none {
		return nil
	}
	if pt.topicID == none {
		pt.topicID = t.ID
	}
	if pt.topicID == t.ID {
		return nil
	}
	return &connectors.FatalError{
		Code: codeTopicRecreated,
		What: fmt.Sprintf("topic %q was deleted and created again since the job began to read it", pt.tp.Topic),
		Why:  fmt.Sprintf("its id was %x and is %x: the positions in the job's state belong to the old topic", pt.topicID, t.ID),
		Fix:  "start the job without the state of this source, or give the source another UID",
	}
}

// leadLocked gives pt a leader and makes that leader's fetcher run.
func (p *puller) leadLocked(pt *part, leader, epoch int32) {
	if pt.leader != leader || pt.leaderEpoch != epoch {
		if pt.leaderEpoch >= 0 && pt.leaderEpoch != epoch {
			pt.checkEpoch = max(pt.checkEpoch, pt.leaderEpoch)
		}
		pt.leader, pt.leaderEpoch = leader, epoch
	}
	f := p.fetchers[leader]
	if f == nil && len(p.fetchers) < brokersMax {
		f = &fetcher{p: p, broker: leader, wake: make(chan struct{}, 1)}
		p.fetchers[leader] = f
		p.wg.Go(f.run)
	}
	if f != nil {
		poke(f.wake)
	}
}
