// Command totals is a job for the tests of package launch: sums of made-up
// orders by shop and second, written exactly once into a folder.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

type order struct{ Shop, Amount, At int64 }

// Total is a row of the result.
type Total struct{ Shop, From, Sum, Count int64 }

type acc struct{ Sum, Count int64 }

type summing struct{}

func (summing) Add(a *acc, o order) { a.Sum += o.Amount; a.Count++ }
func (summing) Result(a *acc) acc   { return *a }

func build(env *stream.Env) error {
	set := flag.NewFlagSet("totals", flag.ContinueOnError)
	rows := set.Int64("rows", 1000, "orders")
	rate := set.Float64("rate", 0, "orders a second")
	out := set.String("out", "", "folder of the result")
	broken := set.String("broken", "", "what is wrong")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	switch *broken {
	case "error":
		return errors.New("no such thing as a graph")
	case "panic":
		panic("at the graph")
	}
	env.Set(stream.JobName("totals"), stream.CheckpointInterval(100*time.Millisecond))
	orders := stream.From(env, datagen.New(datagen.Config{Count: *rows, PerSecond: *rate, Splits: 4}, makeOrder),
		stream.UID("orders"), stream.TimestampMillis(func(o order) int64 { return o.At }), stream.Watermarks(stream.Monotonous()))
	if *broken == "poison" {
		orders = orders.Filter(func(o order) bool {
			if o.At == 500 {
				panic("poison")
			}
			return true
		})
		env.Set(stream.RestartNever())
	}
	byShop := stream.KeyBy(orders, func(o order) int64 { return o.Shop })
	totals := stream.AggregateWindow(byShop.Window(stream.Tumbling(time.Second)), summing{},
		func(shop int64, w stream.Window, a acc) Total {
			return Total{Shop: shop, From: w.Start().UnixMilli(), Sum: a.Sum, Count: a.Count}
		}, stream.UID("totals"))
	totals.To(newFolder(*out), stream.UID("out"))
	return nil
}

func makeOrder(i int64, _ *rand.Rand) order {
	rng := rand.New(rand.NewPCG(uint64(i), 7))
	return order{Shop: int64(rng.IntN(7)), Amount: int64(rng.IntN(1000)), At: i}
}

// folder is a sink: each commit makes one file, whose name says what it
// covers, so that a repeated commit changes nothing.
type folder struct {
	connectors.Typed[Total]
	dir string
	typ columnar.RowType
	err error
}

func newFolder(dir string) *folder {
	f := &folder{dir: dir}
	f.typ, f.err = columnar.TypeOf[Total]()
	return f
}

func (f *folder) Name() string              { return "folder" }
func (f *folder) Detail() string            { return f.dir }
func (f *folder) Transactional() bool       { return true }
func (f *folder) RowType() columnar.RowType { return f.typ }
func (f *folder) NewWriter(ctx *connectors.WriterContext) (connectors.Writer, error) {
	return &writer{to: f, info: ctx.Info}, f.err
}

type writer struct {
	to   *folder
	info dataflow.TaskInfo
	rows []Total
}

type commit struct {
	File string
	Rows []Total
}

func (w *writer) Recover(ctx context.Context, all []connectors.Committable) error {
	var mine []connectors.Committable
	for _, c := range all {
		if c.Owner%w.info.Parallelism == w.info.Subtask {
			mine = append(mine, c)
		}
	}
	return w.Commit(ctx, mine)
}

func (w *writer) Write(b *columnar.Batch) error {
	w.rows = append(w.rows, columnar.Rows[Total](b)...)
	return nil
}

func (w *writer) Prepare(_ context.Context, cp dataflow.CheckpointID, _ bool) ([]connectors.Committable, error) {
	if len(w.rows) == 0 {
		return nil, nil
	}
	data, err := json.Marshal(commit{File: fmt.Sprintf("%d-%d.json", cp, w.info.Subtask), Rows: w.rows})
	w.rows = nil
	return []connectors.Committable{{Owner: w.info.Subtask, Data: data}}, err
}

func (w *writer) Commit(_ context.Context, all []connectors.Committable) error {
	for _, c := range all {
		var x commit
		if err := json.Unmarshal(c.Data, &x); err != nil {
			return err
		}
		b, err := json.Marshal(x.Rows)
		if err != nil {
			return err
		}
		tmp := filepath.Join(w.to.dir, fmt.Sprintf(".%s.%d", x.File, os.Getpid()))
		if err := errors.Join(os.WriteFile(tmp, b, 0o600), os.Rename(tmp, filepath.Join(w.to.dir, x.File))); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) Ready() bool                 { return true }
func (w *writer) Flush(context.Context) error { return nil }
func (w *writer) SealedMax() int              { return 4 }
func (w *writer) Close() error                { return nil }
