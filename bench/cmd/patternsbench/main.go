// Command patternsbench measures the engine's operators, chained as the stream
// package builds them and run by real tasks, beside loops written by hand that
// call the same functions. It does not measure sources, sinks, checkpoints or
// the control plane: see ordersbench.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"

	"github.com/leatstream/leat/bench/cmd/internal/machine"
)

type options struct {
	out     string
	only    string
	runs    int
	procs   int
	profile string
	side    string
}

func main() {
	var o options
	flag.StringVar(&o.out, "out", "", "file to write the figures to, besides standard output")
	flag.StringVar(&o.only, "only", "", "measure the patterns whose names hold this")
	flag.IntVar(&o.runs, "runs", 5, "runs of each side, in turns")
	flag.IntVar(&o.procs, "procs", runtime.NumCPU(), "GOMAXPROCS of each side")
	flag.StringVar(&o.side, "side", "", "run one side of the pattern named and print its cost; for the program itself")
	flag.StringVar(&o.profile, "profile", "", "with -side: file to write a CPU profile to, and to FILE.allocs what was allocated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "patternsbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, w io.Writer) error {
	if o.side != "" {
		return child(ctx, o, w)
	}
	if o.out != "" {
		if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
			return err
		}
		f, err := os.Create(o.out)
		if err != nil {
			return err
		}
		err = parent(ctx, o, io.MultiWriter(w, f))
		return errors.Join(err, f.Close())
	}
	return parent(ctx, o, w)
}

// Sides of a measurement, each a process of its own.
const (
	sideEngine = "engine"
	sideSource = "source" // of the engine, with a sink that discards
	sideLoop   = "loop"
	sideReader = "reader" // of the loop, alone
)

func child(ctx context.Context, o options, w io.Writer) (err error) {
	for _, p := range patterns() {
		if p.name != o.only {
			continue
		}
		stop, err := profiled(o.profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		var c cost
		switch o.side {
		case sideEngine, sideSource:
			c, err = p.engine(ctx, o.side == sideSource)
		case sideLoop, sideReader:
			c = p.hand(o.side == sideReader)
		default:
			err = fmt.Errorf("side %q is unknown", o.side)
		}
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(c)
	}
	return fmt.Errorf("pattern %q is unknown", o.only)
}

// profiled writes a CPU profile to a file, and what was allocated to another
// beside it, until stop is called.
func profiled(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		a, err := os.Create(path + ".allocs")
		if err == nil {
			err = errors.Join(pprof.Lookup("allocs").WriteTo(a, 0), a.Close())
		}
		return errors.Join(err, f.Close())
	}, nil
}

// measure runs one side in a process of its own, with the environment that a
// taskmanager gives a worker.
func measure(ctx context.Context, o options, p pattern, side string) (c cost, err error) {
	path, err := os.Executable()
	if err != nil {
		return c, err
	}
	cmd := exec.CommandContext(ctx, path, "--side", side, "--only", p.name)
	cmd.Env = append(os.Environ(), "GOGC=400", fmt.Sprintf("GOMAXPROCS=%d", o.procs))
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return c, fmt.Errorf("%s, %s: %w", p.name, side, err)
	}
	return c, json.Unmarshal(b, &c)
}

// figures of one pattern, nanoseconds of processor time for each row.
type figures struct {
	engine, loop, ratio []float64
	allocs              float64
}

func parent(ctx context.Context, o options, w io.Writer) error {
	machine.Describe(w)
	fmt.Fprintf(w, "setting   rows of 64 bytes with a text as key, parallelism 1, GOGC=400, GOMAXPROCS=%d, %d runs of each side in turns\n", o.procs, o.runs)
	fmt.Fprintf(w, "figures   nanoseconds of processor time for each row, median (least to most); what reading the rows costs is taken off both sides\n\n")
	all := map[string]*figures{}
	for _, p := range patterns() {
		if !strings.Contains(p.name, o.only) {
			continue
		}
		f, err := pairOf(ctx, o, p)
		if err != nil {
			return err
		}
		all[p.name] = f
		report(w, p, f, all)
	}
	return nil
}

// pairOf runs the sides of a pattern in turns.
func pairOf(ctx context.Context, o options, p pattern) (*figures, error) {
	f := &figures{}
	for range o.runs {
		engine, err := net(ctx, o, p, sideEngine, sideSource)
		if err != nil {
			return nil, err
		}
		f.engine = append(f.engine, engine.perRow())
		f.allocs = float64(engine.Mallocs) / float64(engine.Rows)
		if p.loop == nil {
			continue
		}
		loop, err := net(ctx, o, p, sideLoop, sideReader)
		if err != nil {
			return nil, err
		}
		if engine.Results != loop.Results || engine.Check != loop.Check {
			return nil, fmt.Errorf("%s: the engine has %d results (check %d), the loop %d (%d)", p.name, engine.Results, engine.Check, loop.Results, loop.Check)
		}
		f.loop = append(f.loop, loop.perRow())
		f.ratio = append(f.ratio, engine.perRow()/loop.perRow())
	}
	return f, nil
}

// net is the cost of a side without what reading alone costs.
func net(ctx context.Context, o options, p pattern, side, reading string) (cost, error) {
	base, err := measure(ctx, o, p, reading)
	if err != nil {
		return base, err
	}
	c, err := measure(ctx, o, p, side)
	c.CPU -= base.CPU
	c.Mallocs -= min(c.Mallocs, base.Mallocs)
	return c, err
}

func (c cost) perRow() float64 { return float64(c.CPU) / float64(c.Rows) }

func report(w io.Writer, p pattern, f *figures, all map[string]*figures) {
	fmt.Fprintf(w, "%-20s %s\n", p.name, p.about)
	fmt.Fprintf(w, "  engine %s  allocations for each row %.5f\n", spread(f.engine), f.allocs)
	if p.loop != nil {
		fmt.Fprintf(w, "  loop   %s\n", spread(f.loop))
	}
	ratios, beside := f.ratio, "the loop"
	if p.against != "" {
		other, ok := all[p.against]
		if !ok {
			return
		}
		beside, ratios = p.against, nil
		for i := range f.engine {
			ratios = append(ratios, f.engine[i]/other.engine[i])
		}
	}
	verdict := "held"
	if median(ratios) > p.limit {
		verdict = "MISSED"
	}
	fmt.Fprintf(w, "  %s times %s; at most %.4g is wanted: %s\n\n", spread(ratios), beside, p.limit, verdict)
}

func spread(v []float64) string {
	return fmt.Sprintf("%7.4g (%.4g to %.4g)", median(v), slices.Min(v), slices.Max(v))
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
