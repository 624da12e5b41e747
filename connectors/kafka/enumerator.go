package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

const (
	enumeratorVersion = 1
	// splitsMax bounds the partitions of one source.
	splitsMax = 1 << 20
)

// enumerator finds partitions and decides, once for each, where it starts.
type enumerator struct {
	cfg     *SourceConfig
	ctx     *connectors.EnumeratorContext
	client  *kwire.Client
	pattern *regexp.Regexp
	// splits holds every partition ever found, at its first position.
	splits map[string]splitState
	// started says that the first discovery is done: partitions found later
	// are new and start at their oldest record.
	started bool
}

var (
	_ connectors.Enumerator = (*enumerator)(nil)
	_ connectors.Momentary  = (*enumerator)(nil)
)

func newEnumerator(cfg *SourceConfig, ctx *connectors.EnumeratorContext) (*enumerator, error) {
	if ctx.Log == nil {
		ctx.Log = slog.New(slog.DiscardHandler)
	}
	e := &enumerator{cfg: cfg, ctx: ctx, splits: map[string]splitState{}}
	var err error
	if e.pattern, err = cfg.pattern(); err != nil {
		return nil, err
	}
	if ctx.Restored != nil {
		if e.splits, e.started, err = decodeEnumerator(ctx.Restored); err != nil {
			return nil, err
		}
	}
	if e.client, err = cfg.Connection.client(ctx.Clock, ctx.Log, ctx.Trouble); err != nil {
		return nil, err
	}
	return e, nil
}

// Interval implements connectors.Enumerator.
func (e *enumerator) Interval() time.Duration {
	if e.cfg.Stop.bounded || e.cfg.DiscoveryInterval < 0 {
		return 0
	}
	return e.cfg.DiscoveryInterval
}

// Momentary implements connectors.Momentary. The offsets of a group count,
// since others may commit to it.
func (e *enumerator) Momentary() bool {
	return e.cfg.Start.kind == atLatest || e.cfg.Start.kind == atGroup
}

// Close implements connectors.Enumerator.
func (e *enumerator) Close() error {
	e.client.Close()
	return nil
}

// Discover implements connectors.Enumerator. New partitions become part of the
// state all together or not at all, so that a discovery that failed half-way
// changes nothing.
func (e *enumerator) Discover(ctx context.Context) ([]connectors.Split, error) {
	if !e.started || !e.cfg.Stop.bounded {
		if err := e.discover(ctx); err != nil {
			return nil, unreachable(&e.cfg.Connection, fatalAuth(err))
		}
	}
	out := make([]connectors.Split, 0, len(e.splits))
	for _, id := range slices.Sorted(maps.Keys(e.splits)) {
		s := e.splits[id]
		out = append(out, connectors.Split{ID: id, Position: s.encode()})
	}
	return out, nil
}

func (e *enumerator) discover(ctx context.Context) error {
	topics, err := e.topics(ctx)
	if err != nil {
		return err
	}
	fresh := map[string]splitState{}
	for _, t := range topics {
		if err := e.resolve(ctx, t, fresh); err != nil {
			return err
		}
	}
	if len(e.splits)+len(fresh) > splitsMax {
		return &connectors.FatalError{What: fmt.Sprintf("the source has more than %d partitions", splitsMax), Fix: "narrow the topic pattern"}
	}
	maps.Copy(e.splits, fresh)
	e.started = true
	return nil
}

// topics returns the topics to read.
func (e *enumerator) topics(ctx context.Context) ([]kwire.Topic, error) {
	all, err := e.client.Metadata(ctx, e.cfg.Topics)
	if err != nil {
		return nil, err
	}
	out := all[:0]
	for _, t := range all {
		if e.pattern != nil && (t.Internal || !e.pattern.MatchString(t.Name)) {
			continue
		}
		if t.Code != kwire.None {
			if e.pattern != nil {
				e.ctx.Log.Warn("a topic is left out of this discovery", "topic", t.Name, "error", t.Code)
				continue
			}
			return nil, fmt.Errorf("topic %q: %w", t.Name, t.Code)
		}
		out = append(out, t)
	}
	if len(out) == 0 && !e.started {
		return nil, fmt.Errorf("no topic matches %q yet", e.cfg.TopicPattern)
	}
	return out, nil
}

// resolve adds the partitions of t that are new to fresh.
func (e *enumerator) resolve(ctx context.Context, t kwire.Topic, fresh map[string]splitState) error {
	var parts []int32
	for _, p := range t.Partitions {
		id := TopicPartition{t.Name, p.Index}.String()
		if _, known := e.splits[id]; !known && e.wanted(TopicPartition{t.Name, p.Index}) {
			parts = append(parts, p.Index)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	starts, err := e.starts(ctx, t.Name, parts)
	if err != nil {
		return err
	}
	stops, err := e.stops(ctx, t.Name, parts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		s := splitState{topicID: t.ID, next: starts[p], stop: noStop, epoch: -1}
		if e.cfg.Stop.bounded {
			s.stop = stops[p]
		}
		fresh[TopicPartition{t.Name, p}.String()] = s
	}
	return nil
}

func (e *enumerator) wanted(tp TopicPartition) bool {
	if e.cfg.Stop.kind != atSpecific {
		return true
	}
	_, ok := e.cfg.Stop.offsets[tp]
	return ok
}

func (e *enumerator) starts(ctx context.Context, topic string, parts []int32) (map[int32]int64, error) {
	if e.started {
		return e.client.ListOffset(ctx, topic, parts, kwire.EarliestOffset, e.cfg.isolation())
	}
	switch s := e.cfg.Start; s.kind {
	case atLatest:
		return e.client.ListOffset(ctx, topic, parts, kwire.LatestOffset, e.cfg.isolation())
	case atTimestamp:
		return e.byTime(ctx, topic, parts, s.millis)
	case atGroup:
		return e.fromGroup(ctx, topic, parts)
	case atSpecific:
		out, err := e.client.ListOffset(ctx, topic, parts, kwire.EarliestOffset, e.cfg.isolation())
		for _, p := range parts {
			if o, ok := s.offsets[TopicPartition{topic, p}]; ok && err == nil {
				out[p] = o
			}
		}
		return out, err
	}
	return e.client.ListOffset(ctx, topic, parts, kwire.EarliestOffset, e.cfg.isolation())
}

// byTime returns the first offsets not older than a time; the end where there
// is none.
func (e *enumerator) byTime(ctx context.Context, topic string, parts []int32, millis int64) (map[int32]int64, error) {
	out, err := e.client.ListOffset(ctx, topic, parts, max(0, millis), e.cfg.isolation())
	if err != nil {
		return nil, err
	}
	ends, err := e.client.ListOffset(ctx, topic, parts, kwire.LatestOffset, e.cfg.isolation())
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if out[p] < 0 {
			out[p] = ends[p]
		}
	}
	return out, nil
}

func (e *enumerator) fromGroup(ctx context.Context, topic string, parts []int32) (map[int32]int64, error) {
	at := kwire.EarliestOffset
	if e.cfg.Start.fallback == atLatest {
		at = kwire.LatestOffset
	}
	out, err := e.client.ListOffset(ctx, topic, parts, at, e.cfg.isolation())
	if err != nil {
		return nil, err
	}
	committed, err := e.client.FetchOffsets(ctx, e.cfg.Group, []kwire.TopicPartitions{{Topic: topic, Partitions: parts}})
	if err != nil {
		return nil, err
	}
	for _, c := range committed {
		if c.Offset >= 0 {
			out[c.Partition] = c.Offset
		}
	}
	return out, nil
}

func (e *enumerator) stops(ctx context.Context, topic string, parts []int32) (map[int32]int64, error) {
	switch s := e.cfg.Stop; {
	case !s.bounded:
		return nil, nil
	case s.kind == atTimestamp:
		return e.byTime(ctx, topic, parts, s.millis)
	case s.kind == atSpecific:
		out := map[int32]int64{}
		for _, p := range parts {
			out[p] = s.offsets[TopicPartition{topic, p}]
		}
		return out, nil
	}
	return e.client.ListOffset(ctx, topic, parts, kwire.LatestOffset, e.cfg.isolation())
}

// Snapshot implements connectors.Enumerator. docs/formats/kafka-splits.md.
func (e *enumerator) Snapshot() ([]byte, error) {
	b := []byte{enumeratorVersion, 0}
	if e.started {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(len(e.splits)))
	for _, id := range slices.Sorted(maps.Keys(e.splits)) {
		s := e.splits[id]
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
		p := s.encode()
		b = append(append(b, byte(len(p))), p...)
	}
	return b, nil
}

var errEnumerator = errors.New("state of the Kafka enumerator is broken")

func decodeEnumerator(b []byte) (map[string]splitState, bool, error) {
	if len(b) < 2 || b[0] != enumeratorVersion {
		return nil, false, fmt.Errorf("%w: %d bytes, version %v; want version %d", errEnumerator, len(b), b[:min(1, len(b))], enumeratorVersion)
	}
	started := b[1] == 1
	r := bytes.NewReader(b[2:])
	n, err := binary.ReadUvarint(r)
	if err != nil || n > splitsMax {
		return nil, false, errEnumerator
	}
	out := map[string]splitState{}
	for range n {
		l, err := binary.ReadUvarint(r)
		if err != nil || l > uint64(r.Len()) {
			return nil, false, errEnumerator
		}
		id := make([]byte, l)
		_, _ = r.Read(id) // as long as checked
		pl, err := r.ReadByte()
		if err != nil || int(pl) > r.Len() {
			return nil, false, errEnumerator
		}
		p := make([]byte, pl)
		_, _ = r.Read(p)
		s, err := decodeSplit(p)
		if err != nil {
			return nil, false, fmt.Errorf("%w: split %q: %w", errEnumerator, id, err)
		}
		out[string(id)] = s
	}
	return out, started, nil
}
