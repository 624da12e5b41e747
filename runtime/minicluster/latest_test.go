package minicluster_test

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/stream"
)

// tape is a topic of one partition that holds the numbers below head and is
// read from the newest record, up to end.
type tape struct {
	connectors.Typed[int64]
	head, read atomic.Int64
	end        int64
}

func (*tape) Name() string              { return "tape" }
func (*tape) Detail() string            { return "" }
func (*tape) Bounded() bool             { return true }
func (*tape) RowType() columnar.RowType { t, _ := columnar.TypeOf[int64](); return t }
func (*tape) encode(n int64) []byte     { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
func (*tape) decode(b []byte) (n int64) { return int64(binary.BigEndian.Uint64(b)) }
func (x *tape) NewReader(c *connectors.ReaderContext) (connectors.Reader, error) {
	return &tapeReader{tape: x, wake: c.Wake}, nil
}

func (x *tape) NewEnumerator(c *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	return &tapeEnumerator{tape: x, at: slices.Clone(c.Restored)}, nil
}

type tapeEnumerator struct {
	*tape
	at []byte
}

func (e *tapeEnumerator) Discover(context.Context) ([]connectors.Split, error) {
	if e.at == nil {
		e.at = e.encode(e.head.Load())
	}
	return []connectors.Split{{ID: "0", Position: e.at}}, nil
}

func (*tapeEnumerator) Momentary() bool             { return true }
func (*tapeEnumerator) Interval() time.Duration     { return 0 }
func (e *tapeEnumerator) Snapshot() ([]byte, error) { return e.at, nil }
func (*tapeEnumerator) Close() error                { return nil }

type tapeReader struct {
	*tape
	split *connectors.Split
	ended bool
	wake  func()
}

func (r *tapeReader) AddSplits(s []connectors.Split) error {
	r.split = &s[0]
	return nil
}

func (r *tapeReader) Next() (connectors.Fetched, bool, error) {
	r.wake() // it spins: there is nothing to be told by
	if r.split == nil {
		return connectors.Fetched{}, false, nil
	}
	from, to := r.decode(r.split.Position), r.head.Load()
	if from == r.end && !r.ended {
		r.ended = true
		return connectors.Fetched{Split: "0", SplitEnd: true}, true, nil
	}
	if from >= to {
		return connectors.Fetched{}, false, nil
	}
	r.split.Position = r.encode(from + 1)
	r.read.Store(from + 1)
	return connectors.Fetched{Split: "0", Batch: columnar.NewBatch([]int64{from}, []int64{from})}, true, nil
}

func (r *tapeReader) Snapshot() []connectors.Split {
	if r.split == nil {
		return nil
	}
	return []connectors.Split{*r.split}
}

func (*tapeReader) Committed([]connectors.Split) {}
func (*tapeReader) Close() error                 { return nil }

// TestTheNewestRecordIsDecidedOnce: a job that starts at the newest record and
// fails long before its first periodic checkpoint goes on from where it began,
// not from what is the newest record by then.
func TestTheNewestRecordIsDecidedOnce(t *testing.T) {
	t.Parallel()
	c := startCluster(t, minicluster.Config{TaskManagers: 1, Slots: 1, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 2 * time.Second})
	in, out := &tape{end: 300}, collection.NewCollector(int64(0))
	in.head.Store(100)
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: c.AddProgram("tape", func([]string, map[string]string) (*graph.JobGraph, error) {
		env := stream.NewEnv(stream.JobName("tape"), stream.CheckpointInterval(time.Hour))
		stream.From(env, in, stream.UID("in")).To(out, stream.UID("out"))
		return env.Graph()
	})})
	if err != nil {
		t.Fatal(err)
	}
	await(t, c, id, func(v jobview.Job) bool {
		if v.Checkpoints.Completed == 0 && in.read.Load() > 0 {
			t.Fatal("records are read before their start is in a checkpoint")
		}
		return v.Checkpoints.Completed == 1
	})
	in.head.Store(200)
	await(t, c, id, func(jobview.Job) bool { return in.read.Load() == 200 })
	in.head.Store(300)
	if err := c.KillWorker(c.Workers()[0]); err != nil {
		t.Fatal(err)
	}
	await(t, c, id, finished)
	got := out.Rows()
	slices.Sort(got)
	if len(got) != 200 || got[0] != 100 || got[199] != 299 {
		t.Errorf("%d rows, first and last %v, want 100 to 299", len(got), got[:min(1, len(got))])
	}
}
