// Command ordersbench measures the engine on the orders job with separate
// processes: orders for each second of processor time beside a hand-written
// loop, the cost of checkpoints, times of starting, and memory at rest. It
// writes what it measured, each run of it, with machine and commit.
//
//	make bench
//	go run ./bench/cmd/ordersbench --bin bin --broker real --runs 5 orders
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	bin, dir, broker, address, compression, out, profile string

	orders, runs, parallelism int
	seed                      uint64
	interval                  time.Duration
	check                     bool
}

const usage = `usage: ordersbench [flags] MEASUREMENT...

  orders       orders for each second of processor time, beside the loop, and
               the worker's time by stage
  checkpoints  the same with checkpoints every second and every minute, in turns
  startup      flinkctl local up to the first answer; flinkctl run to the first record
  memory       resident memory of jobmanager and taskmanager after 10 s at rest
  exchange     rows of 64 bytes over a keyed edge: two processes, and one

`

func main() {
	if len(os.Args) > 1 {
		if child := children()[os.Args[1]]; child != nil {
			exit(child(os.Args[2:]))
		}
	}
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder of jobmanager, taskmanager and flinkctl")
	flag.StringVar(&o.dir, "dir", "", "folder for data and logs; default: a temporary one")
	flag.StringVar(&o.broker, "broker", "embedded", "embedded: the one of flinkctl local up, in a process of its own; or real: Apache Kafka of test/servers/kafka")
	flag.StringVar(&o.address, "brokers", "", "use these brokers, host:port, instead")
	flag.StringVar(&o.compression, "compression", "none", "of the orders in the topic: none, snappy, lz4 or zstd")
	flag.StringVar(&o.out, "out", "", "file to write the results to, too")
	flag.StringVar(&o.profile, "profile", "", "folder for CPU profiles of the workers")
	flag.IntVar(&o.orders, "orders", 3_000_000, "number of orders")
	flag.IntVar(&o.runs, "runs", 5, "number of runs")
	flag.IntVar(&o.parallelism, "parallelism", 1, "parallelism of the job")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the orders")
	flag.DurationVar(&o.interval, "interval", time.Second, "time between checkpoints")
	flag.BoolVar(&o.check, "check", true, "compare the result of the first run with an answer computed independently")
	flag.Usage = func() {
		_, _ = fmt.Fprint(flag.CommandLine.Output(), usage) // nobody to tell
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, o, flag.Args()))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ordersbench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// children are the roles in which this program starts itself.
func children() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"child-broker": brokerChild,
		"child-load":   loadChild,
		"child-check":  checkChild,
		"child-loop":   loopChild,

		"child-receive":  receiveChild,
		"child-send":     sendChild,
		"child-exchange": exchangeChild,
	}
}

func run(ctx context.Context, o options, measurements []string) (err error) {
	if len(measurements) == 0 {
		return errors.New("no measurement is named; --help lists them")
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "leat-bench-"); err != nil {
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
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	rep, err := newReport(o.out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rep.close()) }()
	rep.machine(o)
	b := &bench{options: o, rep: rep}
	for _, m := range measurements {
		fn, ok := map[string]func(context.Context) error{
			"orders": b.ordersPerSecond, "checkpoints": b.checkpointCost, "startup": b.startup, "memory": b.memory, "exchange": b.exchange,
		}[m]
		if !ok {
			return fmt.Errorf("measurement %q is unknown: want one of orders, checkpoints, startup, memory, exchange", m)
		}
		rep.printf("\n== %s\n", strings.ToUpper(m))
		if err := fn(ctx); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}

// bench is what the measurements share.
type bench struct {
	options
	rep    *report
	bundle string // built once
}
