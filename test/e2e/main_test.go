//go:build e2e

// Package e2e holds the proofs with separate processes and real servers:
// whatever is killed, and whenever, the committed output of the orders job is
// the answer computed without the engine. It runs by make e2e.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/leatstream/leat/test/e2e/rig"
	"github.com/leatstream/leat/test/proof"
)

// The flags of the run.
var (
	seed   = flag.Uint64("seed", 0, "seed of orders, moments and victims; 0: a new one, which is printed")
	rounds = flag.Int("rounds", 6, "kills of each target; five are aimed at a window of a checkpoint each")
	budget = flag.Duration("budget", 0, "leave out rounds that would begin after this time; 0: all")
	orders = flag.Int("orders", 60_000, "orders of a round")
	pace   = flag.Duration("pace", 6*time.Second, "time over which the orders of a round are written")
	only   = flag.String("targets", "", "kill only these targets, separated by commas")
	keep   = flag.Bool("keep", false, "keep logs and data also of runs that pass")
	gaps   = flag.Int("gaps", 20, "kills of each target whose gap in the committed output is measured")
)

// programs is the folder of the programs, built once for all tests.
var programs string

var began = time.Now()

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	fmt.Printf("seed %d: repeat with make e2e SEED=%d\n", *seed, *seed)
	code := func() int {
		var err error
		if programs, err = build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}()
	os.Exit(code)
}

// module is the folder of the project.
func module() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

// build makes the programs and the bundle with failpoints. A folder named by
// LEAT_E2E_PROGRAMS is taken as it is.
func build() (string, error) {
	if dir := os.Getenv("LEAT_E2E_PROGRAMS"); dir != "" {
		return filepath.Abs(dir)
	}
	dir := filepath.Join(module(), "build", "e2e")
	flags := os.Getenv("GOFLAGS") + " -tags=failpoints"
	if err := command(flags, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/jobmanager", "./cmd/taskmanager", "./cmd/flinkctl"); err != nil {
		return "", err
	}
	return dir, command(flags, filepath.Join(dir, "flinkctl"), "bundle", "build", "./examples/orders", "-o", filepath.Join(dir, "orders.bundle"))
}

func command(goflags string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stderr = module(), os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="+goflags)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v: %w", argv, err)
	}
	return nil
}

// random returns the numbers of one part of the run, the same for the same
// seed whatever other parts do.
func random(part string) *rand.Rand {
	var n uint64
	for _, c := range part {
		n = n*131 + uint64(c)
	}
	return rand.New(rand.NewPCG(*seed, n))
}

// start runs a cluster for a test; its logs are kept if the test fails.
func start(t *testing.T, taskManagers int) *rig.Rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "leat-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.Start(t.Context(), rig.Config{Module: module(), Programs: programs, Dir: dir, TaskManagers: taskManagers})
	t.Cleanup(func() {
		if r != nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if t.Failed() || *keep {
			t.Logf("logs and data are in %s", dir)
			return
		}
		_ = os.RemoveAll(dir) // a leftover in the temporary folder harms nobody
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// spent reports whether the budget is used up.
func spent() bool { return *budget > 0 && time.Since(began) > *budget }

// run is one job over an input of its own.
type run struct {
	rig    *rig.Rig
	name   string
	in     *proof.Input
	topics proof.Topics
	id     string
	wrote  chan error
	// endless: the job is not told where its input ends.
	endless bool
}

// finishMax is how long a job may take beyond the time in which its input is
// written.
const finishMax = 2 * time.Minute

// begin creates topics, submits the job and starts to write orders.
func begin(ctx context.Context, r *rig.Rig, name string, rng *rand.Rand, n int, span, pace time.Duration) (*run, error) {
	x := &run{rig: r, name: name, in: proof.Generate(rng.Uint64(), n, span), topics: proof.TopicsWith(name + "-"), wrote: make(chan error, 1)}
	return x, x.begin(ctx, pace)
}

func (x *run) begin(ctx context.Context, pace time.Duration) error {
	if err := proof.CreateTopics(ctx, x.rig.Brokers(), x.topics); err != nil {
		return err
	}
	if err := x.submit(ctx, 2); err != nil {
		return err
	}
	go func() { x.wrote <- proof.Produce(ctx, x.rig.Brokers(), x.topics.Orders, x.in, pace, nil) }()
	return nil
}

// submit runs the job, with more options of flinkctl run.
func (x *run) submit(ctx context.Context, parallelism int, more ...string) (err error) {
	end := ""
	for p, recs := range x.in.Partitions {
		if p > 0 {
			end += ","
		}
		end += fmt.Sprintf("%d:%d", p, len(recs))
	}
	args := []string{"--topics", x.name + "-", "--brokers", x.rig.Brokers()}
	if !x.endless {
		args = append(args, "--end", end)
	}
	x.id, err = x.rig.Submit(ctx, filepath.Join(programs, "orders.bundle"), x.name, parallelism, more, args...)
	return err
}

// finish waits for the end of the input and of the job.
func (x *run) finish(ctx context.Context) (restarts int, err error) {
	if err := <-x.wrote; err != nil {
		return 0, fmt.Errorf("writing orders: %w", err)
	}
	j, err := x.rig.AwaitFinished(ctx, x.id, finishMax)
	return j.Restarts, err
}

// prove compares what is committed with the answer.
func (x *run) prove(ctx context.Context) (*proof.Result, error) {
	res, err := proof.Check(ctx, x.rig.Brokers(), x.topics, x.in)
	if err != nil {
		return nil, err
	}
	if len(res.Faults) > 0 {
		return res, fmt.Errorf("%s: the committed output is not the answer: %q", x.name, res.Faults)
	}
	if sum := res.Counted + res.Late + res.DeadLetters + res.Rules; sum != x.in.Len() {
		return res, fmt.Errorf("%s: %d orders are accounted for, not %d", x.name, sum, x.in.Len())
	}
	return res, nil
}
