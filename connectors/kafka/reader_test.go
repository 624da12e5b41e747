package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/clock"
)

type row struct {
	Key, Value string
}

type rowDecoder struct{}

func (rowDecoder) Decode(rec *formats.Record, dst *row, arena *codec.Arena) error {
	if string(rec.Value) == "bad" {
		return errors.New("it is bad")
	}
	dst.Key, dst.Value = arena.String(rec.Key), arena.String(rec.Value)
	return nil
}

func newRowDecoder() (formats.Decoder[row], error) { return rowDecoder{}, nil }

// reading drives a source as a task would.
type reading struct {
	t      *testing.T
	src    *kafka.Source[row]
	enum   connectors.Enumerator
	reader connectors.Reader
	wake   chan struct{}
	got    []got
	caught map[string]bool
	ended  map[string]bool
	bad    []connectors.DeadLetter
}

type got struct {
	split  string
	offset int64
	time   int64
	row    row
}

func source(t *testing.T, cfg kafka.SourceConfig) *kafka.Source[row] {
	t.Helper()
	src, err := kafka.NewSource(cfg, newRowDecoder)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// start begins to read; enumState and splits continue an earlier reading.
func start(t *testing.T, cfg kafka.SourceConfig, enumState []byte, splits []connectors.Split, deadLetters bool) *reading {
	t.Helper()
	r := &reading{t: t, src: source(t, cfg), wake: make(chan struct{}, 1), caught: map[string]bool{}, ended: map[string]bool{}}
	var err error
	if r.enum, err = r.src.NewEnumerator(&connectors.EnumeratorContext{Restored: enumState, Clock: clock.Real{}}); err != nil {
		t.Fatal(err)
	}
	found, err := discover(t, r.enum)
	if err != nil {
		t.Fatal(err)
	}
	if splits == nil {
		splits = found
	}
	r.reader, err = r.src.NewReader(&connectors.ReaderContext{
		Info: dataflow.TaskInfo{Name: "in", Parallelism: 1}, Clock: clock.Real{}, DeadLetters: deadLetters,
		Wake: func() {
			select {
			case r.wake <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	if err := r.reader.AddSplits(splits); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *reading) close() {
	_ = r.reader.Close()
	_ = r.enum.Close()
}

// step takes one piece; false when there was none.
func (r *reading) step() (bool, error) {
	f, ok, err := r.reader.Next()
	if err != nil || !ok {
		return false, err
	}
	r.caught[f.Split] = f.CaughtUp
	if f.SplitEnd {
		r.ended[f.Split] = true
	}
	r.bad = append(r.bad, f.Bad...)
	if f.Batch != nil {
		rows := columnar.Rows[row](f.Batch)
		if len(rows) > columnar.BatchRowsMax || len(rows) == 0 {
			r.t.Fatalf("a batch of %d rows", len(rows))
		}
		for i, v := range rows {
			r.got = append(r.got, got{f.Split, f.Batch.Origin.At(i), f.Batch.Time(i), v})
		}
	}
	return true, nil
}

// until reads until cond holds.
func (r *reading) until(cond func() bool) {
	r.t.Helper()
	if err := r.try(cond); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reading) try(cond func() bool) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	for !cond() {
		ok, err := r.step()
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return fmt.Errorf("waited too long: %d records, caught up %v, ended %v", len(r.got), r.caught, r.ended)
		}
	}
	return nil
}

func (r *reading) allCaught(n int) func() bool {
	return func() bool {
		c := 0
		for _, ok := range r.caught {
			if ok {
				c++
			}
		}
		return c == n
	}
}

func TestReadsAllPartitionsInOrder(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 3)
	for p := range int32(3) {
		kafkatest.Produce(t, brokers, topic, p, fmt.Sprintf("p%d-", p), 3000)
	}
	r := start(t, kafka.SourceConfig{Connection: kafka.Connection{Brokers: brokers}, Topics: []string{topic}}, nil, nil, false)
	r.until(r.allCaught(3))
	if len(r.got) != 9000 {
		t.Fatalf("%d records, want 9000", len(r.got))
	}
	next := map[string]int64{}
	for _, g := range r.got {
		n := next[g.split]
		next[g.split]++
		tp := g.split[len(g.split)-1:]
		if g.offset != n || g.row.Value != fmt.Sprintf("p%s-%d", tp, n) || g.time <= 0 {
			t.Fatalf("record %d of split %s: %+v", n, g.split, g)
		}
	}
	// More records end the state of being caught up, then it comes back.
	kafkatest.Produce(t, brokers, topic, 1, "more-", 10)
	r.until(func() bool { return len(r.got) == 9010 && r.allCaught(3)() })
}

func TestGoesOnFromEverySnapshot(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	kafkatest.Produce(t, brokers, topic, 0, "a", 5000)
	kafkatest.Produce(t, brokers, topic, 1, "b", 5000)
	cfg := kafka.SourceConfig{Connection: kafka.Connection{Brokers: brokers}, Topics: []string{topic}, Stop: kafka.StopLatest()}
	var enumState []byte
	var splits []connectors.Split
	seen := map[string]bool{}
	ended := map[string]bool{}
	for round := 0; len(ended) < 2; round++ {
		if round > 100 {
			t.Fatal("it does not end")
		}
		r := start(t, cfg, enumState, splits, false)
		r.until(func() bool { return len(r.got) > 0 || len(r.ended) == 2 })
		for _, g := range r.got {
			k := fmt.Sprint(g.split, "@", g.offset)
			if seen[k] {
				t.Fatalf("%s was read twice", k)
			}
			seen[k] = true
		}
		ended = r.ended
		var err error
		if enumState, err = r.enum.Snapshot(); err != nil {
			t.Fatal(err)
		}
		splits = r.reader.Snapshot()
		r.close()
	}
	if len(seen) != 10000 {
		t.Fatalf("%d records, want 10000", len(seen))
	}
}

// discover discovers as the engine does: an error is retried.
func discover(t *testing.T, e connectors.Enumerator) ([]connectors.Split, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		splits, err := e.Discover(ctx)
		if err == nil || ctx.Err() != nil {
			return splits, err
		}
	}
}
