package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/internal/clock"
)

type rowEncoder struct{}

func (rowEncoder) Encode(v *row, out *formats.Out) error {
	if v.Value == "bad" {
		return errors.New("it is bad")
	}
	out.Key = append(out.Key, v.Key...)
	out.Value = append(out.Value, v.Value...)
	out.Tombstone = v.Value == "tombstone"
	return nil
}

func newRowEncoder() (formats.Encoder[row], error) { return rowEncoder{}, nil }

// writing drives a sink's writer as a task would.
type writing struct {
	connectors.Writer
	t   *testing.T
	cfg kafka.SinkConfig
	inc dataflow.Incarnation
	cp  dataflow.CheckpointID
}

func (w *writing) open(t *testing.T, prepared []connectors.Committable) error {
	t.Helper()
	sink, err := kafka.NewSink(w.cfg, newRowEncoder)
	if err != nil {
		t.Fatal(err)
	}
	w.Writer, err = sink.NewWriter(&connectors.WriterContext{
		Info: dataflow.TaskInfo{Name: "out", UID: "out", Parallelism: 1}, Clock: clock.Real{}, Incarnation: w.inc, TxnPool: 6,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.Recover(t.Context(), prepared)
}

func startWriting(t *testing.T, brokers []string, topic string) *writing {
	t.Helper()
	w := &writing{t: t, cfg: kafka.SinkConfig{Connection: kafka.Connection{Brokers: brokers}, Topic: topic, TransactionTimeout: 10 * time.Minute}, inc: dataflow.NewIncarnation()}
	if err := w.open(t, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func (w *writing) rows(values ...string) {
	w.t.Helper()
	rows := make([]row, len(values))
	for i, v := range values {
		rows[i] = row{Key: "k" + v, Value: v}
	}
	if err := w.Write(columnar.NewBatch(rows, nil)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writing) prepare() []connectors.Committable {
	w.t.Helper()
	w.cp++
	c, err := w.Prepare(w.t.Context(), w.cp, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *writing) commit(c []connectors.Committable) {
	w.t.Helper()
	if err := w.Commit(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

func values(t *testing.T, brokers []string, topic string) []string {
	t.Helper()
	var out []string
	for _, r := range kafkatest.ReadAll(t, brokers, topic, true) {
		out = append(out, string(r.Value))
	}
	slices.Sort(out)
	return out
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("%06d", i))
	}
	return out
}

func wantValues(t *testing.T, brokers []string, topic string, want []string) {
	t.Helper()
	// A real broker answers a commit before its markers are written.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got := values(t, brokers, topic)
	for !slices.Equal(got, want) && ctx.Err() == nil {
		got = values(t, brokers, topic)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("read %d values, want %d\ngot  %.200q\nwant %.200q", len(got), len(want), got, want)
	}
}

func TestCommittedOnlyAfterCommit(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 3)
	w := startWriting(t, brokers, topic)
	w.rows(numbers(0, 1000)...)
	c := w.prepare()
	if len(c) != 1 {
		t.Fatalf("%d committables", len(c))
	}
	w.rows(numbers(1000, 1100)...) // the next transaction, while the first is sealed
	wantValues(t, brokers, topic, nil)
	w.commit(c)
	w.commit(c) // again: nothing changes
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c2 := w.prepare(); len(c2) != 1 {
		t.Fatalf("%d committables", len(c2))
	} else {
		w.commit(c2)
	}
	wantValues(t, brokers, topic, numbers(0, 1100))
	if c := w.prepare(); len(c) != 0 {
		t.Fatalf("nothing was written, yet there are %d committables", len(c))
	}
}

func TestManyCheckpoints(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 4)
	w := startWriting(t, brokers, topic)
	r := rand.New(rand.NewPCG(1, 2))
	var sealed []connectors.Committable
	n := 0
	for range 60 {
		k := r.IntN(400)
		w.rows(numbers(n, n+k)...)
		n += k
		sealed = append(sealed, w.prepare()...)
		if len(sealed) == w.SealedMax() || r.IntN(2) == 0 {
			w.commit(sealed)
			sealed = nil
		}
	}
	w.commit(sealed)
	wantValues(t, brokers, topic, numbers(0, n))
}

// TestCrashBetweenEachTwoSteps abandons the writer after each step of the
// protocol and recovers from the last checkpoint that was committed.
func TestCrashBetweenEachTwoSteps(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	for _, crash := range []string{"written", "flushed", "prepared", "checkpointed", "committed", "written on", "recovered", "recovered twice"} {
		t.Run(crash, func(t *testing.T) {
			t.Parallel()
			topic := kafkatest.Topic(t, brokers, 2)
			w := startWriting(t, brokers, topic)
			w.rows(numbers(0, 100)...)
			kept := w.prepare() // what the last committed checkpoint holds
			w.commit(kept)
			source := 100 // where the source goes on from, by the checkpoint
			abandoned := w.crashAt(t, crash, &kept, &source)
			for i := range 3 {
				next := &writing{t: t, cfg: w.cfg, inc: w.inc, cp: 50}
				if err := next.open(t, kept); err != nil {
					t.Fatal(err)
				}
				abandoned = append(abandoned, next)
				if (crash == "recovered" && i < 1) || (crash == "recovered twice" && i < 2) {
					next.rows("orphan") // and it dies, too
					_ = next.Flush(t.Context())
					continue
				}
				next.rows(numbers(source, 300)...)
				next.commit(next.prepare())
				break
			}
			wantValues(t, brokers, topic, numbers(0, 300))
			kafkatest.Settle(t, brokers, topic) // no transaction is left open
			for _, a := range abandoned {
				_ = a.Close()
			}
		})
	}
}

// crashAt takes the second checkpoint up to a step. kept and source become
// what the checkpoint store would hold.
func (w *writing) crashAt(t *testing.T, step string, kept *[]connectors.Committable, source *int) []*writing {
	t.Helper()
	out := []*writing{w}
	w.rows(numbers(100, 200)...)
	if step == "written" {
		return out
	}
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if step == "flushed" {
		return out
	}
	c := w.prepare()
	if step == "prepared" {
		return out // the checkpoint did not complete: these records are read again
	}
	*kept, *source = c, 200
	if step == "checkpointed" {
		return out
	}
	w.commit(c)
	if step == "committed" {
		return out
	}
	w.rows(numbers(200, 250)...)
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestZombieIsFenced(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	w := startWriting(t, brokers, topic)
	w.rows("zombie-1")
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := &writing{t: t, cfg: w.cfg, inc: w.inc}
	if err := next.open(t, nil); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	next.rows("new")
	next.commit(next.prepare())

	err := w.Write(columnar.NewBatch([]row{{Key: "k", Value: "zombie-2"}}, nil))
	if err == nil {
		err = w.Flush(t.Context())
	}
	if err == nil {
		t.Fatal("the zombie could write")
	}
	wantValues(t, brokers, topic, []string{"new"})
}

func TestLostTransactionIsFatalAndNamed(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	w := startWriting(t, brokers, topic)
	w.rows(numbers(0, 10)...)
	c := w.prepare()
	// Someone takes the ids without committing: the transaction is aborted.
	other := &writing{t: t, cfg: w.cfg, inc: w.inc}
	if err := other.open(t, nil); err != nil {
		t.Fatal(err)
	}
	_ = other.Close()
	again := &writing{t: t, cfg: w.cfg, inc: w.inc}
	err := again.open(t, c)
	defer func() { _ = again.Close() }()
	var fatal *connectors.FatalError
	if !errors.As(err, &fatal) || fatal.Code != "LEAT5108" {
		t.Fatalf("got %v", err)
	}
	t.Log(err)
}

func TestCommitThatWasMadeIsRecognisedAfterTheIdWentOn(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 2)
	w := startWriting(t, brokers, topic)
	w.rows(numbers(0, 10)...)
	first := w.prepare()
	w.commit(first)
	// More transactions than ids, so that the id of the first is used again.
	for i := range 10 {
		w.rows(numbers(10+i, 11+i)...)
		w.commit(w.prepare())
	}
	if err := w.Commit(t.Context(), first); err != nil {
		t.Fatalf("a second commit of a committed transaction: %v", err)
	}
	wantValues(t, brokers, topic, numbers(0, 20))
}

func TestKeysKeepTheirPartitionAndOrder(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 4)
	w := startWriting(t, brokers, topic)
	for i := range 50 {
		rows := make([]row, 40)
		for k := range rows {
			rows[k] = row{Key: "key-" + strconv.Itoa(k), Value: strconv.Itoa(i)}
		}
		if err := w.Write(columnar.NewBatch(rows, nil)); err != nil {
			t.Fatal(err)
		}
	}
	w.commit(w.prepare())
	at := map[string]int32{}
	next := map[string]int{}
	for _, r := range kafkatest.ReadSettled(t, brokers, topic) {
		k := string(r.Key)
		if p, ok := at[k]; ok && p != r.Partition {
			t.Fatalf("key %s is in partitions %d and %d", k, p, r.Partition)
		}
		at[k] = r.Partition
		if string(r.Value) != strconv.Itoa(next[k]) {
			t.Fatalf("key %s: value %s, want %d", k, r.Value, next[k])
		}
		next[k]++
	}
	if len(at) != 40 {
		t.Fatalf("%d keys", len(at))
	}
}

func TestTombstonesAndNullKeys(t *testing.T) {
	t.Parallel()
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1)
	w := startWriting(t, brokers, topic)
	if err := w.Write(columnar.NewBatch([]row{{Key: "k", Value: "tombstone"}, {Value: ""}}, []int64{1234, dataflow.TimeNone})); err != nil {
		t.Fatal(err)
	}
	w.commit(w.prepare())
	got := kafkatest.ReadSettled(t, brokers, topic)
	if len(got) != 2 || got[0].Value != nil || string(got[0].Key) != "k" || got[0].Timestamp.UnixMilli() != 1234 {
		t.Fatalf("got %+v", got)
	}
	if got[1].Key != nil || got[1].Value == nil || len(got[1].Value) != 0 {
		t.Fatalf("got %+v", got[1])
	}
}
