package minicluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/launch/bundled"
	"github.com/leatstream/leat/runtime/exchange"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	waitMax = 60 * time.Second
	shops   = 7
)

type order struct {
	Shop   int64
	Amount int64
	At     int64
}

type total struct {
	Shop  int64
	From  int64
	Sum   int64
	Count int64
}

type acc struct{ Sum, Count int64 }

type summing struct{}

func (summing) Add(a *acc, o order) { a.Sum += o.Amount; a.Count++ }
func (summing) Result(a *acc) acc   { return *a }

// makeOrder depends on i alone.
func makeOrder(i int64, _ *rand.Rand) order {
	rng := rand.New(rand.NewPCG(uint64(i), 7))
	return order{Shop: int64(rng.IntN(shops)), Amount: int64(rng.IntN(1000)), At: i}
}

// job sums orders by shop and second of event time into out.
type job struct {
	rows      int64
	perSecond float64
	out       *collection.Collector[total]
	options   []stream.EnvOption
	seen      *atomic.Int64 // counts the rows that are computed; may be nil
}

func (j job) graph(_ []string, properties map[string]string) (*graph.JobGraph, error) {
	env := stream.NewEnv(stream.Properties(properties), stream.JobName("totals"), stream.CheckpointInterval(50*time.Millisecond))
	env.Set(j.options...)
	orders := stream.From(env, datagen.New(datagen.Config{Count: j.rows, PerSecond: j.perSecond, Splits: 4}, makeOrder),
		stream.UID("orders"), stream.TimestampMillis(func(o order) int64 { return o.At }), stream.Watermarks(stream.Monotonous()))
	if j.seen != nil {
		orders = orders.Peek(func(order) { j.seen.Add(1) }, stream.UID("seen"))
	}
	byShop := stream.KeyBy(orders, func(o order) int64 { return o.Shop })
	totals := stream.AggregateWindow(byShop.Window(stream.Tumbling(time.Second)), summing{},
		func(shop int64, w stream.Window, a acc) total {
			return total{Shop: shop, From: w.Start().UnixMilli(), Sum: a.Sum, Count: a.Count}
		}, stream.UID("totals"))
	totals.To(j.out, stream.UID("out"))
	return env.Graph()
}

// expected computes the totals from the rows alone.
func (j job) expected() map[total]int {
	type key struct{ shop, from int64 }
	sums := map[key]acc{}
	for i := range j.rows {
		o := makeOrder(i, nil)
		k := key{o.Shop, o.At / 1000 * 1000}
		a := sums[k]
		a.Sum, a.Count = a.Sum+o.Amount, a.Count+1
		sums[k] = a
	}
	out := map[total]int{}
	for k, a := range sums {
		out[total{Shop: k.shop, From: k.from, Sum: a.Sum, Count: a.Count}]++
	}
	return out
}

func counted(rows []total) map[total]int {
	out := map[total]int{}
	for _, r := range rows {
		out[r]++
	}
	return out
}

func startCluster(t *testing.T, cfg minicluster.Config) *minicluster.Cluster {
	t.Helper()
	cfg.NewBackend = bundled.NewBackend
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	c, err := minicluster.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func submit(t *testing.T, c *minicluster.Cluster, j job, parallelism int) dataflow.JobID {
	t.Helper()
	control, err := c.Control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, err := control.Submit(t.Context(), jobview.Submission{BundleSHA: c.AddProgram("totals", j.graph), Parallelism: parallelism})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// await polls the job until it is as wanted.
func await(t *testing.T, c *minicluster.Cluster, id dataflow.JobID, want func(jobview.Job) bool) jobview.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitMax)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	var last jobview.Job
	for {
		control, err := c.Control(ctx)
		if err != nil {
			t.Fatalf("no leader: %v", err)
		}
		if j, err := control.Job(id); err == nil {
			if last = j; want(j) {
				return j
			}
			if j.State.Terminal() {
				t.Fatalf("the job is %s (%s): %+v", j.State, j.StateReason, j.Exceptions)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("the job stays %s (%s), exceptions %+v, checkpoints %+v\n%s", last.State, last.StateReason, last.Exceptions, last.Checkpoints, describe(last))
		}
	}
}

func describe(j jobview.Job) string {
	var b strings.Builder
	for _, v := range j.Vertices {
		for i, s := range v.Subtasks {
			fmt.Fprintf(&b, "%s %d on %s: %s in %d out %d watermark %d\n", v.Name, i, s.Worker, s.State, s.RecordsIn, s.RecordsOut, s.Watermark)
		}
	}
	return b.String()
}

func finished(j jobview.Job) bool { return j.State == jobview.JobFinished }

func compare(t *testing.T, got, want map[total]int) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	shown := 0
	for k := range want {
		if got[k] != want[k] && shown < 5 {
			t.Errorf("%+v: %d times, want %d", k, got[k], want[k])
			shown++
		}
	}
	for k := range got {
		if want[k] == 0 && shown < 10 {
			t.Errorf("%+v: %d times, want none", k, got[k])
			shown++
		}
	}
	t.Errorf("%d distinct rows, want %d", len(got), len(want))
}

func TestAWindowedJobFinishes(t *testing.T) {
	t.Parallel()
	for name, network := range map[string]exchange.Network{"memory": nil, "sockets": bundled.NewNetwork()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, minicluster.Config{TaskManagers: 2, Slots: 2, Network: network})
			j := job{rows: 50_000, out: collection.NewCollector(total{})}
			id := submit(t, c, j, 3)
			await(t, c, id, finished)
			compare(t, counted(j.out.Rows()), j.expected())
			if left := c.Workers(); len(left) > 0 {
				t.Errorf("workers of a finished job: %v", left)
			}
		})
	}
}

// TestFaultsChangeNothing: whatever is killed while a job runs, the committed
// output equals that of the input.
func TestFaultsChangeNothing(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, c *minicluster.Cluster, n int){
		"worker": func(t *testing.T, c *minicluster.Cluster, n int) {
			if ws := c.Workers(); len(ws) > 0 {
				_ = c.KillWorker(ws[n%len(ws)]) // it may have ended meanwhile
			}
		},
		"taskmanager": func(t *testing.T, c *minicluster.Cluster, n int) {
			if err := c.KillTaskManager(fmt.Sprintf("tm-%d", n+1)); err != nil {
				t.Error(err)
			}
			if _, err := c.AddTaskManager(); err != nil {
				t.Error(err)
			}
		},
		"leader": func(_ *testing.T, c *minicluster.Cluster, _ int) { c.Depose() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, minicluster.Config{
				TaskManagers: 2, Slots: 2, HeartbeatInterval: 100 * time.Millisecond, HeartbeatTimeout: 2 * time.Second,
			})
			j := job{rows: 60_000, perSecond: 20_000, out: collection.NewCollector(total{})}
			id := submit(t, c, j, 3)
			for n := range 3 {
				seen := -1
				await(t, c, id, func(v jobview.Job) bool {
					if seen < 0 {
						seen = v.Checkpoints.Completed
					}
					return v.State.Terminal() || v.State == jobview.JobRunning && v.Checkpoints.Completed >= seen+3
				})
				fault(t, c, n)
			}
			await(t, c, id, finished)
			compare(t, counted(j.out.Rows()), j.expected())
		})
	}
}
