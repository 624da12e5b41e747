// Command orders runs the orders job on a Leat in Kubernetes, deletes the pod
// of a taskmanager and that of the leading jobmanager in the middle, and
// compares each row of the result with an answer computed independently. It
// exits 0 only if all are equal. Script test/k8s/e2e makes what it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/leatstream/leat/runtime/restapi"
	"github.com/leatstream/leat/test/proof"
)

// runMax bounds the run beyond the time in which the orders are written.
const runMax = 5 * time.Minute

// options are the flags.
type options struct {
	flinkctl, kubectl, kubeconfig, namespace, rest, kafka, dir, cluster string

	orders, parallelism int
	seed                uint64
	pace                time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.flinkctl, "flinkctl", "bin/flinkctl", "the program flinkctl")
	flag.StringVar(&o.kubectl, "kubectl", "kubectl", "the program kubectl")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "its configuration")
	flag.StringVar(&o.namespace, "namespace", "leat", "where Leat runs")
	flag.StringVar(&o.rest, "rest", "", "URL of the jobmanagers' REST API")
	flag.StringVar(&o.kafka, "kafka", "", "brokers, reachable from here and from pods")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "folder for the bundle, and of the cluster")
	flag.StringVar(&o.cluster, "cluster", "", "script test/k8s/cluster, to end programs of pods with SIGKILL; empty: pods are only deleted")
	flag.IntVar(&o.orders, "orders", 1_000_000, "number of orders")
	flag.IntVar(&o.parallelism, "parallelism", 4, "parallelism of the job")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "seed of the orders; the same seed gives the same orders")
	flag.DurationVar(&o.pace, "pace", 45*time.Second, "time over which the orders are written")
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

func run(ctx context.Context, o options) error {
	say("seed %d: %d orders over two hours of event time", o.seed, o.orders)
	in := proof.Generate(o.seed, o.orders, 2*time.Hour)
	topics := proof.TopicsWith(fmt.Sprintf("k%d-", o.seed))
	if err := proof.CreateTopics(ctx, o.kafka, topics); err != nil {
		return err
	}
	if err := runJob(ctx, o, topics, in); err != nil {
		return err
	}
	res, err := proof.Check(ctx, o.kafka, topics, in)
	if err != nil {
		return err
	}
	return judge(res, in)
}

// runJob submits the job, writes the orders, disturbs it on the way, and
// waits until it has finished.
func runJob(ctx context.Context, o options, topics proof.Topics, in *proof.Input) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bundle := filepath.Join(o.dir, "orders.bundle")
	if err := command(ctx, o.flinkctl, "bundle", "build", "./examples/orders", "-o", bundle); err != nil {
		return err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if err := proof.Produce(ctx, o.kafka, topics.Orders, in, o.pace, nil); err != nil {
			cancel(fmt.Errorf("writing orders: %w", err))
		}
	}()
	defer func() { cancel(nil); <-written }()
	name := fmt.Sprintf("orders-%d", o.seed)
	prefix := strings.TrimSuffix(topics.Orders, "orders")
	if err := command(ctx, o.flinkctl, "--jobmanager", o.rest, "run", bundle, "--name", name, "--parallelism", fmt.Sprint(o.parallelism),
		"--wait", "running", "--", "--brokers", o.kafka, "--topics", prefix, "--end", endOffsets(in)); err != nil {
		return causeOf(ctx, err)
	}
	w := &watcher{options: o, client: restapi.NewClient(o.rest, nil), name: name, in: in, topics: topics, began: time.Now()}
	return causeOf(ctx, w.follow(ctx))
}

func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// command runs a program, showing what it says.
func command(ctx context.Context, name string, args ...string) error {
	fmt.Println("$", filepath.Base(name), strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(name), args[0], err)
	}
	return nil
}

// endOffsets names the bounded end of the input: partition:offset,….
func endOffsets(in *proof.Input) string {
	var ends []string
	for p, recs := range in.Partitions {
		ends = append(ends, fmt.Sprintf("%d:%d", p, len(recs)))
	}
	return strings.Join(ends, ",")
}

func judge(res *proof.Result, in *proof.Input) error {
	say("%d orders: %d counted in %d rows, %d late, %d dead letters, %d dropped by rule (%d revenue records)",
		in.Len(), res.Counted, len(res.Rows), res.Late, res.DeadLetters, res.Rules, res.RevenueRecords)
	if sum := res.Counted + res.Late + res.DeadLetters + res.Rules; sum != in.Len() {
		res.Faults = append(res.Faults, fmt.Sprintf("%d orders are accounted for, not %d", sum, in.Len()))
	}
	if len(res.Faults) > 0 {
		return fmt.Errorf("the committed output is not the answer:\n  %s", strings.Join(res.Faults, "\n  "))
	}
	say("all %d rows equal the answer computed independently", len(res.Rows))
	return nil
}

func say(format string, args ...any) { fmt.Printf("• "+format+"\n", args...) }
