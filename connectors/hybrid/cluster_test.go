package hybrid_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/connectors/hybrid"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch/bundled"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/stream"
)

// archive writes the first part of each meter to a file of its own and all
// parts to a partition of a topic, so that the file says where to go on. It
// returns the last record of each partition, which is yet to be written, and
// where the partitions end then.
func archive(t *testing.T, dir string, brokers []string, topic string, parts [][][]reading) (last []*kgo.Record, ends map[kafka.TopicPartition]int64) {
	t.Helper()
	var records []*kgo.Record
	ends = make(map[kafka.TopicPartition]int64)
	for m := range parts[0] {
		var text []byte
		for p := range parts {
			for _, r := range parts[p][m] {
				line, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				records = append(records, &kgo.Record{Topic: topic, Partition: int32(m), Value: line})
				ends[kafka.TopicPartition{Topic: topic, Partition: int32(m)}]++
				if p == 0 {
					text = append(append(text, line...), '\n')
				}
			}
		}
		last = append(last, records[len(records)-1])
		records = records[:len(records)-1]
		// The file's name has the first offset that is not in it.
		name := fmt.Sprintf("%s~%d~%d.jsonl", topic, m, len(parts[0][m]))
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	produce(t, brokers, records)
	return last, ends
}

func produce(t *testing.T, brokers []string, records []*kgo.Record) {
	t.Helper()
	if err := kafkatest.Client(t, brokers).ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// startsAfter are the offsets that follow the files.
func startsAfter(end hybrid.End, topic string) (map[kafka.TopicPartition]int64, error) {
	from := make(map[kafka.TopicPartition]int64)
	for _, s := range end.Splits {
		var partition int32
		var next int64
		if _, err := fmt.Sscanf(filepath.Base(s.ID), topic+"~%d~%d.jsonl", &partition, &next); err != nil {
			return nil, fmt.Errorf("%q: %w", s.ID, err)
		}
		from[kafka.TopicPartition{Topic: topic, Partition: partition}] = next
	}
	return from, nil
}

// TestFilesThenKafkaOnACluster loses the worker while the switch is due, and
// after it, while windows span the switch.
func TestFilesThenKafkaOnACluster(t *testing.T) {
	t.Parallel()
	dir, brokers := t.TempDir(), kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 3)
	parts := history(rand.New(rand.NewPCG(5, 5)), 3, 2)
	last, ends := archive(t, dir, brokers, topic, parts)
	var asked, killed, switches atomic.Int32
	live := func(start kafka.Start) (*kafka.Source[reading], error) {
		return kafka.NewSource(kafka.SourceConfig{
			Connection: kafka.Connection{Brokers: brokers}, Topics: []string{topic}, Start: start, Stop: kafka.StopOffsets(ends),
		}, jsonfmt.DecoderOf(reading{}))
	}
	start := func(_ context.Context, end hybrid.End) (connectors.SourceOf[reading], error) {
		from, err := startsAfter(end, topic)
		if err != nil {
			return nil, err
		}
		if asked.Add(1); killed.Load() == 0 {
			return nil, errors.New("no worker was lost yet")
		}
		switches.Add(1)
		return live(kafka.FromOffsets(from))
	}
	out := collection.NewCollector(hour{})
	program := func([]string, map[string]string) (*graph.JobGraph, error) {
		env := stream.NewEnv(stream.JobName("hybrid"), stream.CheckpointInterval(30*time.Millisecond))
		next, err := live(kafka.Earliest())
		if err != nil {
			return nil, err
		}
		past := files.NewSource(files.SourceConfig{Pattern: filepath.Join(dir, "*.jsonl")}, jsonfmt.DecoderOf(reading{}))
		hours(env, hybrid.New(past).Then(next, start), out)
		return env.Graph()
	}
	completed := -1
	run(t, program, func(c *minicluster.Cluster, v jobview.Job) {
		switch ws := c.Workers(); {
		case v.State != jobview.JobRunning || len(ws) == 0:
		case killed.Load() == 0 && asked.Load() > 0 && v.Checkpoints.Completed > 1:
			if err := c.KillWorker(ws[0]); err == nil {
				killed.Add(1)
			}
		case killed.Load() == 1 && switches.Load() > 0 && completed < 0:
			completed = v.Checkpoints.Completed
		case killed.Load() == 1 && completed >= 0 && v.Checkpoints.Completed > completed+2:
			if err := c.KillWorker(ws[0]); err == nil {
				killed.Add(1)
				produce(t, brokers, last)
			}
		}
	})
	compare(t, out.Rows(), expected(parts))
	if switches.Load() == 0 || killed.Load() != 2 {
		t.Errorf("%d workers were lost and the start was decided %d times, want 2 and some", killed.Load(), switches.Load())
	}
}

// run runs a program to its end and disturbs it now and then.
func run(t *testing.T, program minicluster.Program, disturb func(c *minicluster.Cluster, v jobview.Job)) {
	t.Helper()
	c, err := minicluster.Start(minicluster.Config{
		TaskManagers: 2, Slots: 2, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 2 * time.Second,
		NewBackend: bundled.NewBackend, Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: c.AddProgram("hybrid", program), Parallelism: 2})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, id, func(v jobview.Job) bool {
		disturb(c, v)
		return v.State == jobview.JobFinished
	})
}

func await(t *testing.T, c *minicluster.Cluster, id dataflow.JobID, done func(jobview.Job) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		control, err := c.Control(ctx)
		if err != nil {
			t.Fatal(err)
		}
		v, err := control.Job(id)
		if err == nil && done(v) {
			return
		}
		if v.State.Terminal() {
			t.Fatalf("the job is %s: %+v", v.State, v.Exceptions)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("the job stays %s (%s): %+v", v.State, v.StateReason, v.Exceptions)
		}
	}
}
