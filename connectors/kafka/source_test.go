package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kadmin"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/devbroker"
)

func config(brokers []string, topics ...string) kafka.SourceConfig {
	return kafka.SourceConfig{Connection: kafka.Connection{Brokers: brokers}, Topics: topics}
}

func bounded(brokers []string, topics ...string) kafka.SourceConfig {
	c := config(brokers, topics...)
	c.Stop = kafka.StopLatest()
	return c
}

func (r *reading) allEnded(n int) func() bool {
	return func() bool { return len(r.ended) == n }
}

func admin(t *testing.T, brokers []string) *kadmin.Admin {
	t.Helper()
	cl, err := kwire.NewClient(kwire.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return kadmin.New(cl)
}

func TestAbortedRecordsAreLeftOut(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	kafkatest.Mess(t, brokers, topic, 4, 3000, 7)
	for _, committed := range []bool{true, false} {
		want := map[string]string{}
		for _, r := range kafkatest.ReadAll(t, brokers, topic, committed) {
			want[fmt.Sprint(r.Partition, "@", r.Offset)] = string(r.Value)
		}
		// Small fetches cut the log at many places.
		cfg := bounded(brokers, topic)
		cfg.ReadUncommitted, cfg.PartitionBytes = !committed, 16<<10
		r := start(t, cfg, nil, nil, false)
		r.until(r.allEnded(2))
		if len(r.got) != len(want) {
			t.Fatalf("committed %v: read %d records, another client %d", committed, len(r.got), len(want))
		}
		for _, g := range r.got {
			k := fmt.Sprint(g.split[len(g.split)-1:], "@", g.offset)
			if want[k] != g.row.Value {
				t.Fatalf("committed %v: %s is %q, another client reads %q", committed, k, g.row.Value, want[k])
			}
		}
		t.Logf("committed %v: %d records", committed, len(want))
	}
}

func TestAbortedFilterFromEveryOffset(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	kafkatest.Mess(t, brokers, topic, 3, 60, 11)
	var want []string
	var offsets []int64
	for _, r := range kafkatest.ReadAll(t, brokers, topic, true) {
		want, offsets = append(want, string(r.Value)), append(offsets, r.Offset)
	}
	end := kafkatest.Ends(t, brokers, topic, 1)[0]
	for from := range end {
		cfg := bounded(brokers, topic)
		cfg.Start = kafka.FromOffsets(map[kafka.TopicPartition]int64{{Topic: topic}: from})
		r := start(t, cfg, nil, nil, false)
		r.until(r.allEnded(1))
		var got []string
		for _, g := range r.got {
			got = append(got, g.row.Value)
		}
		at, _ := slices.BinarySearch(offsets, from)
		if !slices.Equal(got, want[at:]) {
			t.Fatalf("from offset %d: %d records, want %d", from, len(got), len(want[at:]))
		}
		r.close()
	}
}

func TestBoundedReadEnds(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	for name, fill := range map[string]func(topic string) int{
		"empty":         func(string) int { return 0 },
		"records":       func(topic string) int { kafkatest.Produce(t, brokers, topic, 0, "v", 10); return 10 },
		"commit marker": func(topic string) int { kafkatest.Txn(t, brokers, topic, 5, true); return 5 },
		"abort marker":  func(topic string) int { kafkatest.Txn(t, brokers, topic, 5, false); return 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := kafkatest.Topic(t, brokers, 1)
			want := fill(topic)
			kafkatest.Settle(t, brokers, topic)
			r := start(t, bounded(brokers, topic), nil, nil, false)
			r.until(r.allEnded(1))
			if len(r.got) != want {
				t.Fatalf("%d records, want %d", len(r.got), want)
			}
			// Restored at its end it ends again, and reads nothing.
			again := start(t, bounded(brokers, topic), nil, r.reader.Snapshot(), false)
			again.until(again.allEnded(1))
			if len(again.got) != 0 {
				t.Fatalf("%d records after the end", len(again.got))
			}
		})
	}
}

func TestStopBeforeTheEnd(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	kafkatest.Produce(t, brokers, topic, 0, "v", 100)
	kafkatest.Produce(t, brokers, topic, 1, "v", 100)
	cfg := config(brokers, topic)
	cfg.Stop = kafka.StopOffsets(map[kafka.TopicPartition]int64{{Topic: topic}: 42})
	r := start(t, cfg, nil, nil, false)
	r.until(r.allEnded(1))
	if len(r.got) != 42 {
		t.Fatalf("%d records, want 42", len(r.got))
	}
}

// TestStopTime ends before the first record that is not older, and at the end
// of the partition where all are older.
func TestStopTime(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	cl := kafkatest.Client(t, brokers)
	base := time.UnixMilli(1_700_000_000_000)
	for i := range 20 {
		rec := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i), Timestamp: base.Add(time.Duration(i) * time.Second)}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		at   time.Duration
		want int
	}{"between": {4500 * time.Millisecond, 5}, "at a record": {7 * time.Second, 7}, "later": {time.Hour, 20}, "earlier": {-time.Hour, 0}} {
		cfg := config(brokers, topic)
		cfg.Stop = kafka.StopTime(base.Add(c.at))
		r := start(t, cfg, nil, nil, false)
		r.until(r.allEnded(1))
		if len(r.got) != c.want {
			t.Errorf("%s: %d records, want %d", name, len(r.got), c.want)
		}
	}
}

func TestStartPositions(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	cl := kafkatest.Client(t, brokers)
	base := time.UnixMilli(1_700_000_000_000)
	for i := range 20 {
		rec := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i), Timestamp: base.Add(time.Duration(i) * time.Second)}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	group := kafkatest.Name()
	for name, c := range map[string]struct {
		start kafka.Start
		group string
		first int
		// momentary: asked again later, the start would be another one.
		momentary bool
	}{
		"earliest":         {kafka.Earliest(), "", 0, false},
		"latest":           {kafka.Latest(), "", 20, true},
		"time":             {kafka.FromTime(base.Add(4500 * time.Millisecond)), "", 5, false},
		"time later":       {kafka.FromTime(base.Add(time.Hour)), "", 20, false},
		"offsets":          {kafka.FromOffsets(map[kafka.TopicPartition]int64{{Topic: topic}: 7}), "", 7, false},
		"group":            {kafka.FromGroup(), group, 13, true},
		"no group":         {kafka.FromGroup(), kafkatest.Name(), 0, true},
		"no group, latest": {kafka.FromGroupElseLatest(), kafkatest.Name(), 20, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := bounded(brokers, topic)
			cfg.Start, cfg.Group = c.start, c.group
			commitUntilKept(t, brokers, group, topic, 13)
			r := start(t, cfg, nil, nil, false)
			r.until(r.allEnded(1))
			if len(r.got) != 20-c.first || (len(r.got) > 0 && r.got[0].row.Value != fmt.Sprint(c.first)) {
				t.Fatalf("%d records, the first %+v; want from %d", len(r.got), r.got[:min(1, len(r.got))], c.first)
			}
			if m, ok := r.enum.(connectors.Momentary); !ok || m.Momentary() != c.momentary {
				t.Errorf("its start depends on the moment: want %v", c.momentary)
			}
		})
	}
}

// commitUntilKept writes a group offset; the first try on a new broker fails.
func commitUntilKept(t *testing.T, brokers []string, group, topic string, offset int64) {
	t.Helper()
	a := admin(t, brokers)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := a.CommitOffsets(ctx, group, []kwire.PartitionOffset{{Topic: topic, Offset: offset}})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestNewPartitionsAndTopicsAreReadFromTheirStart(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	name := kafkatest.Name()
	kafkatest.Create(t, brokers, name+"-a", 1, nil)
	kafkatest.Produce(t, brokers, name+"-a", 0, "old", 3)
	cfg := kafka.SourceConfig{Connection: kafka.Connection{Brokers: brokers}, TopicPattern: name + "-[ab]", Start: kafka.Latest()}
	r := start(t, cfg, nil, nil, false)
	r.until(r.allCaught(1))
	kafkatest.Create(t, brokers, name+"-b", 2, nil)
	kafkatest.Create(t, brokers, name+"-c", 1, nil)
	kafkatest.Produce(t, brokers, name+"-b", 1, "new", 4)
	kafkatest.Produce(t, brokers, name+"-a", 0, "more", 2)
	var splits []connectors.Split
	for len(splits) < 3 {
		var err error
		if splits, err = r.enum.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.reader.AddSplits(splits); err != nil { // the known one again: it is left as it is
		t.Fatal(err)
	}
	r.until(func() bool { return len(r.got) == 6 && r.allCaught(3)() })
	state, err := r.enum.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	// The decisions are kept.
	e, err := r.src.NewEnumerator(&connectors.EnumeratorContext{Restored: state})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	again, err := e.Discover(t.Context())
	if err != nil || !slices.EqualFunc(again, splits, func(a, b connectors.Split) bool { return a.ID == b.ID && string(a.Position) == string(b.Position) }) {
		t.Fatalf("%v\n%v\n%v", again, splits, err)
	}
}

func TestBadRecordsAreSetAside(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	cl := kafkatest.Client(t, brokers)
	for _, v := range []string{"a", "bad", "b", "bad"} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte("k" + v), Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, bounded(brokers, topic), nil, nil, true)
	r.until(r.allEnded(1))
	if len(r.got) != 2 || r.got[1].offset != 2 || len(r.bad) != 2 {
		t.Fatalf("%+v, bad %+v", r.got, r.bad)
	}
	if b := r.bad[1]; b.Topic != topic || b.Offset != 3 || string(b.Key) != "kbad" || string(b.Value) != "bad" || b.Error != "it is bad" || b.Timestamp <= 0 {
		t.Fatalf("%+v", b)
	}
	r = start(t, bounded(brokers, topic), nil, nil, false)
	err := r.try(r.allEnded(1))
	var fatal *connectors.FatalError
	if !errors.As(err, &fatal) || !strings.Contains(err.Error(), topic+"-0 at offset 1") {
		t.Fatalf("got %v", err)
	}
}

func TestExpiredPosition(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	kafkatest.Produce(t, brokers, topic, 0, "v", 100)
	if err := admin(t, brokers).DeleteRecords(t.Context(), topic, 0, 60); err != nil {
		t.Fatal(err)
	}
	cfg := bounded(brokers, topic)
	cfg.Start = kafka.FromOffsets(map[kafka.TopicPartition]int64{{Topic: topic}: 10})
	r := start(t, cfg, nil, nil, false)
	err := r.try(r.allEnded(1))
	var fatal *connectors.FatalError
	if !errors.As(err, &fatal) || fatal.Code != "LEAT5103" || !strings.Contains(err.Error(), "offset 10") || !strings.Contains(err.Error(), "60 to 100") {
		t.Fatalf("got %v", err)
	}
	cfg.OutOfRange = kafka.ToEarliest
	r = start(t, cfg, nil, nil, false)
	r.until(r.allEnded(1))
	if len(r.got) != 40 || r.got[0].offset != 60 {
		t.Fatalf("%d records", len(r.got))
	}
}

func TestRecreatedTopicIsNoticed(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	kafkatest.Produce(t, brokers, topic, 0, "v", 10)
	r := start(t, config(brokers, topic), nil, nil, false)
	r.until(r.allCaught(1))
	splits := r.reader.Snapshot()
	r.close()
	a := admin(t, brokers)
	if err := a.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for err := error(kwire.TopicExists); err != nil; {
		if err = a.CreateTopics(ctx, kwire.NewTopic{Name: topic, Partitions: 1}); ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	kafkatest.Produce(t, brokers, topic, 0, "other", 50)
	r = start(t, config(brokers, topic), nil, splits, false)
	err := r.try(r.allCaught(1))
	var fatal *connectors.FatalError
	if !errors.As(err, &fatal) || fatal.Code != "LEAT5105" {
		t.Fatalf("got %v after %d records", err, len(r.got))
	}
}

func TestGroupOffsetsFollowCheckpoints(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	kafkatest.Produce(t, brokers, topic, 0, "v", 25)
	cfg := config(brokers, topic)
	cfg.Group = kafkatest.Name()
	r := start(t, cfg, nil, nil, false)
	r.until(r.allCaught(1))
	a := admin(t, brokers)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		r.reader.Committed(r.reader.Snapshot())
		got, err := a.FetchOffsets(ctx, cfg.Group, []kwire.TopicPartitions{{Topic: topic, Partitions: []int32{0}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 1 && got[0].Offset == 25 {
			return
		}
	}
}

func TestOpenTransactionIsNotTheEnd(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	w := startWriting(t, brokers, topic)
	w.rows(numbers(0, 5)...)
	w.commit(w.prepare())
	kafkatest.Settle(t, brokers, topic)
	w.rows(numbers(5, 9)...)
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := start(t, config(brokers, topic), nil, nil, false)
	r.until(func() bool { return len(r.got) == 5 })
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := r.step(); err != nil {
			t.Fatal(err)
		}
		if r.caught[topic+"-0"] {
			t.Fatal("caught up, with an open transaction ahead")
		}
	}
	w.commit(w.prepare())
	r.until(func() bool { return len(r.got) == 9 && r.allCaught(1)() })
}

func TestLeadersMoveWhileReadingAndWriting(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{Brokers: 3})
	topic := kafkatest.Topic(t, b.Addrs(), 6)
	w := startWriting(t, b.Addrs(), topic)
	r := start(t, config(b.Addrs(), topic), nil, nil, false)
	n := 0
	for i := range 30 {
		w.rows(numbers(n, n+100)...)
		n += 100
		b.Cluster().ShufflePartitionLeaders()
		if i%5 == 4 {
			b.Cluster().RehashCoordinators()
		}
		w.commit(w.prepare())
	}
	r.until(func() bool { return len(r.got) >= n && r.allCaught(6)() })
	var got []string
	for _, g := range r.got {
		got = append(got, g.row.Value)
	}
	slices.Sort(got)
	if !slices.Equal(got, numbers(0, n)) {
		t.Fatalf("%d records, want %d", len(got), n)
	}
}

func TestBrokerThatComesBackLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := kafkatest.Embedded(t, devbroker.Config{DataDir: dir})
	addrs := b.Addrs()
	port := kafkatest.Port(t, addrs[0])
	topic := kafkatest.Topic(t, addrs, 3)
	w := startWriting(t, addrs, topic)
	r := start(t, config(addrs, topic), nil, nil, false)
	n := 0
	for range 3 {
		w.rows(numbers(n, n+500)...)
		n += 500
		w.commit(w.prepare())
		w.rows(numbers(n, n+500)...) // an open transaction over the restart
		n += 500
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if err := w.Write(columnar.NewBatch([]row{{Key: "x", Value: numbers(n, n+1)[0]}}, nil)); err != nil {
			t.Fatal(err)
		}
		n++
		b = kafkatest.Embedded(t, devbroker.Config{DataDir: dir, Ports: []int{port}})
		w.commit(w.prepare())
	}
	r.until(func() bool { return len(r.got) >= n && r.allCaught(3)() })
	var got []string
	for _, g := range r.got {
		got = append(got, g.row.Value)
	}
	slices.Sort(got)
	if !slices.Equal(got, numbers(0, n)) {
		t.Fatalf("%d records, want %d", len(got), n)
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	sink := func(cfg kafka.SinkConfig) *kafka.Sink[row] {
		cfg.Connection = kafka.Connection{Brokers: brokers}
		s, err := kafka.NewSink(cfg, newRowEncoder)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good := connectors.CheckInfo{CheckpointInterval: time.Second}
	for _, c := range []struct {
		name string
		what connectors.Checker
		info connectors.CheckInfo
		code string
	}{
		{"source", source(t, config(brokers, topic)), good, ""},
		{"source of an unknown topic", source(t, config(brokers, kafkatest.Name())), good, "LEAT5113"},
		{"sink", sink(kafka.SinkConfig{Topic: topic}), good, ""},
		{"sink to an unknown topic", sink(kafka.SinkConfig{Topic: kafkatest.Name()}), good, "LEAT5113"},
		{"time-out above the brokers'", sink(kafka.SinkConfig{Topic: topic, TransactionTimeout: time.Hour}), good, "LEAT5104"},
		{"interval too long", sink(kafka.SinkConfig{Topic: topic}), connectors.CheckInfo{CheckpointInterval: 10 * time.Minute}, "LEAT5104"},
		{"no checkpoints", sink(kafka.SinkConfig{Topic: topic}), connectors.CheckInfo{CheckpointInterval: -1}, "LEAT5109"},
		{"no checkpoints, at least once", sink(kafka.SinkConfig{Topic: topic, Delivery: kafka.AtLeastOnce}), connectors.CheckInfo{CheckpointInterval: -1}, ""},
	} {
		err := c.what.Check(t.Context(), c.info)
		var fatal *connectors.FatalError
		if (c.code == "") != (err == nil) || (c.code != "" && (!errors.As(err, &fatal) || fatal.Code != c.code)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
}

func TestSecretsAreNotInDetail(t *testing.T) {
	t.Parallel()
	conn := kafka.Connection{Brokers: []string{"b:9092"}, SASL: kwire.SASL{Mechanism: kwire.Plain, User: "u", Password: "hunter2"}}
	src := source(t, kafka.SourceConfig{Connection: conn, Topics: []string{"x"}})
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: conn, Topic: "x"}, newRowEncoder)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{src.Detail(), sink.Detail(), fmt.Sprintf("%+v %#v %v", conn.SASL, conn.SASL, conn)} {
		if strings.Contains(s, "hunter2") {
			t.Errorf("the password is in %q", s)
		}
	}
}

func TestOwnersSpreadPartitionsEvenly(t *testing.T) {
	t.Parallel()
	src := source(t, config([]string{"b:9092"}, "orders"))
	for _, parallelism := range []int{1, 3, 8} {
		n := make([]int, parallelism)
		for p := range 24 {
			n[src.Owner(fmt.Sprintf("orders-%d", p), parallelism)]++
		}
		for i := range n {
			if n[i] != 24/parallelism {
				t.Errorf("parallelism %d: subtask %d has %d partitions", parallelism, i, n[i])
			}
		}
	}
}
