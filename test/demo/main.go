// Command demo is what `make run` runs: the orders job on a local cluster,
// with a worker killed in the middle, and each row of the result compared with
// an answer computed independently. It exits 0 only if all are equal.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/leatstream/leat/test/proof"
)

// runMax bounds the run beyond the time in which the orders are written.
const runMax = 3 * time.Minute

// options are the flags.
type options struct {
	bin, dir    string
	orders      int
	seed        uint64
	pace        time.Duration
	parallelism int
	keep        bool
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built programs")
	flag.StringVar(&o.dir, "dir", "", "folder of the cluster's data; default: a temporary one")
	flag.IntVar(&o.orders, "orders", 1_000_000, "number of orders")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "seed of the orders; the same seed gives the same orders")
	flag.DurationVar(&o.pace, "pace", 14*time.Second, "time over which the orders are written")
	flag.IntVar(&o.parallelism, "parallelism", 2, "parallelism of the job")
	flag.BoolVar(&o.keep, "keep", false, "leave the cluster up until Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, o.pace+runMax, fmt.Errorf("the run took longer than %s", o.pace+runMax))
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "leat-run-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				_ = os.RemoveAll(o.dir) // a leftover in the temporary folder harms nobody
			} else {
				fmt.Fprintln(os.Stderr, "logs and data are in", o.dir)
			}
		}()
	}
	say("seed %d: %d orders over two hours of event time", o.seed, o.orders)
	in := proof.Generate(o.seed, o.orders, 2*time.Hour)
	say("  of which %d lag, %d are half an hour behind, %d have an invalid amount, %d cannot be parsed",
		in.Count(proof.Lagging), in.Count(proof.Ancient), in.Count(proof.Invalid), in.Count(proof.Poison))

	c, err := startCluster(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := c.stop(); err == nil {
			err = stopErr
		}
	}()
	say("the cluster is up: REST %s, Kafka %s", c.rest, c.kafka)
	topics := proof.TopicsWith("")
	if err := proof.CreateTopics(ctx, c.kafka, topics); err != nil {
		return err
	}
	if err := runJob(ctx, c, o, topics, in); err != nil {
		return err
	}
	res, err := proof.Check(ctx, c.kafka, topics, in)
	if err != nil {
		return err
	}
	if err := show(res, in); err != nil {
		return err
	}
	if o.keep {
		say("the cluster stays up at %s until Ctrl-C", c.rest)
		<-ctx.Done()
	}
	return nil
}

// runJob submits the job, writes the orders, kills a worker on the way and
// waits until the job has finished.
func runJob(ctx context.Context, c *cluster, o options, topics proof.Topics, in *proof.Input) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bundle := filepath.Join(o.dir, "orders.bundle")
	if err := c.flinkctl(ctx, nil, "bundle", "build", "./examples/orders", "-o", bundle); err != nil {
		return err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if err := proof.Produce(ctx, c.kafka, topics.Orders, in, o.pace, nil); err != nil {
			cancel(fmt.Errorf("writing orders: %w", err))
		}
	}()
	defer func() { cancel(nil); <-written }()
	if err := c.flinkctl(ctx, nil, "run", bundle, "--name", "orders", "--parallelism", fmt.Sprint(o.parallelism), "--wait", "running", "--",
		"--brokers", c.kafka, "--end", endOffsets(in)); err != nil {
		return causeOf(ctx, err)
	}
	w := &watcher{cluster: c, in: in, topics: topics, killAt: o.pace / 2}
	if err := w.follow(ctx); err != nil {
		return causeOf(ctx, err)
	}
	return nil
}

func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// endOffsets names the bounded end of the input: partition:offset,….
func endOffsets(in *proof.Input) string {
	s := ""
	for p, recs := range in.Partitions {
		if p > 0 {
			s += ","
		}
		s += fmt.Sprintf("%d:%d", p, len(recs))
	}
	return s
}

func show(res *proof.Result, in *proof.Input) error {
	fmt.Printf("\n%-20s %-9s %8s %14s\n", "WINDOW", "REGION", "ORDERS", "REVENUE")
	for _, r := range res.Rows {
		fmt.Printf("%-20s %-9s %8d %14s\n", r.Start.Format(time.DateTime), r.Region, r.Orders, proof.Money(r.Cents))
	}
	fmt.Printf("\n%d orders: %d counted in %d rows, %d late, %d dead letters, %d dropped by rule (%d revenue records)\n",
		in.Len(), res.Counted, len(res.Rows), res.Late, res.DeadLetters, res.Rules, res.RevenueRecords)
	if sum := res.Counted + res.Late + res.DeadLetters + res.Rules; sum != in.Len() {
		res.Faults = append(res.Faults, fmt.Sprintf("%d orders are accounted for, not %d", sum, in.Len()))
	}
	if len(res.Faults) > 0 {
		for _, f := range res.Faults {
			fmt.Println("  ✕", f)
		}
		return fmt.Errorf("the committed output is not the answer: %d faults", len(res.Faults))
	}
	say("all %d rows equal the answer computed independently", len(res.Rows))
	return nil
}

func say(format string, args ...any) { fmt.Printf("• "+format+"\n", args...) }
