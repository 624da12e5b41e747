package launch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/filestore"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/launch/bundled"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/minicluster"
	"github.com/leatstream/leat/stream"
)

const localUsage = `This program is a job. Started by hand it runs in this process.

  --local                     run here (also without it)
  --local-parallelism N       parallelism, if the program names none
  --local-checkpoints DIR     keep checkpoints there instead of in memory
  --local-from PATH           start from a savepoint or checkpoint
  --local-verbose             show the engine's log
  -D KEY=VALUE                set a property
  --local-help                this text
  everything else             arguments of the program

For a cluster: flinkctl bundle build . -o job.bundle, then flinkctl run job.bundle
`

// localOptions are what a program started by hand takes for itself.
type localOptions struct {
	parallelism int
	dir, from   string
	verbose     bool
	help        bool
	args        []string
	properties  map[string]string
}

// parseLocal takes the options that are not the program's out of args; the
// rest, in order, is the program's. After "--" everything is.
func parseLocal(args []string) (localOptions, error) {
	o := localOptions{properties: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			o.args = append(o.args, args...)
			break
		}
		name, value, joined := strings.Cut(arg, "=")
		if arg != "-D" && strings.HasPrefix(arg, "-D") && joined {
			name, value = "-D", strings.TrimPrefix(arg, "-D")
		}
		take := o.taker(name)
		if take == nil {
			o.args = append(o.args, arg)
			continue
		}
		if !joined && wantsValue(name) {
			if len(args) == 0 {
				return o, fmt.Errorf("%s wants a value", name)
			}
			value, args = args[0], args[1:]
		}
		if err := take(value); err != nil {
			return o, fmt.Errorf("%s %s: %w", name, value, err)
		}
	}
	return o, nil
}

func wantsValue(name string) bool {
	return name == "-D" || name == "--local-parallelism" || name == "--local-checkpoints" || name == "--local-from"
}

// taker returns how an option is read, or nil for the program's arguments.
func (o *localOptions) taker(name string) func(string) error {
	switch name {
	case "--local":
		return func(string) error { return nil }
	case "--local-verbose":
		return func(string) error { o.verbose = true; return nil }
	case "--local-help":
		return func(string) error { o.help = true; return nil }
	case "--local-checkpoints":
		return func(v string) error { o.dir = v; return nil }
	case "--local-from":
		return func(v string) error { o.from = v; return nil }
	case "--local-parallelism":
		return func(v string) error {
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > dataflow.MaxParallelismLimit {
				return fmt.Errorf("it must be between 1 and %d", dataflow.MaxParallelismLimit)
			}
			o.parallelism = n
			return nil
		}
	case "-D":
		return func(v string) error {
			key, val, ok := strings.Cut(v, "=")
			if !ok || key == "" {
				return errors.New("write it as -D key=value")
			}
			o.properties[key] = val
			return nil
		}
	}
	return nil
}

// localRole runs the job in this process and returns its exit code.
func localRole(build Build, args []string) int {
	o, err := parseLocal(args)
	if err != nil {
		printError(os.Stderr, &jobview.Error{Code: CodeUsage, What: err.Error(), Fix: []string{"see --local-help"}})
		return exitUsage
	}
	if o.help {
		_, _ = io.WriteString(os.Stderr, localUsage) // stderr may be closed
		return exitDone
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runLocal(ctx, build, o, os.Stderr)
}

// runLocal plans, starts a cluster that is large enough, and follows the job.
func runLocal(ctx context.Context, build Build, o localOptions, out io.Writer) int {
	asked := false
	g, err := Graph(func(env *stream.Env) error {
		err := build(env)
		asked = errors.Is(err, flag.ErrHelp)
		return err
	}, o.args, o.properties)
	switch {
	case asked:
		_, _ = fmt.Fprintln(out, "Flags for running in this process: --local-help") // out may be closed
		return exitDone
	case err != nil:
		printError(out, asError(err))
		return exitFailed
	}
	slots, err := slotsOf(g, o.parallelism)
	if err != nil {
		printError(out, asError(err))
		return exitFailed
	}
	objects, err := localStore(o.dir)
	if err != nil {
		printError(out, asError(err))
		return exitFailed
	}
	log := slog.New(slog.DiscardHandler)
	if o.verbose {
		log = slog.New(slog.NewTextHandler(out, nil))
	}
	c, err := minicluster.Start(minicluster.Config{
		TaskManagers: 1, Slots: slots, OpenState: bundled.OpenState, Objects: objects, Log: log,
	})
	if err != nil {
		printError(out, asError(err))
		return exitFailed
	}
	err = followLocal(ctx, c, build, g, o, out)
	if closeErr := c.Close(); err == nil {
		err = closeErr
	}
	return exitCode(ctx, out, err)
}

func exitCode(ctx context.Context, out io.Writer, err error) int {
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		_, _ = fmt.Fprintln(out, "interrupted") // out may be closed
		return 130
	default:
		printError(out, asError(err))
		return exitJobFailed
	}
}

func slotsOf(g *graph.JobGraph, parallelism int) (int, error) {
	if g.Config.Parallelism > 0 && parallelism == 0 {
		parallelism = g.Config.Parallelism
	}
	p, err := graph.Build(g, max(parallelism, 1))
	if err != nil {
		return 0, err
	}
	return p.Slots(), nil
}

// localStore is nil for memory.
func localStore(dir string) (store.Store, error) {
	if dir == "" {
		return nil, nil
	}
	return filestore.New(filestore.Config{Dir: dir})
}

// Times of local runs.
const (
	followEvery   = 200 * time.Millisecond
	cancelTimeout = 10 * time.Second
)

// followLocal submits the job and prints what becomes of it.
func followLocal(ctx context.Context, c *minicluster.Cluster, build Build, g *graph.JobGraph, o localOptions, out io.Writer) error {
	control, err := c.Control(ctx)
	if err != nil {
		return err
	}
	sha := c.AddProgram(g.Name, func(args []string, properties map[string]string) (*graph.JobGraph, error) {
		return Graph(build, args, properties)
	})
	id, err := control.Submit(ctx, jobview.Submission{
		BundleSHA: sha, Parallelism: o.parallelism, Args: o.args, Properties: o.properties, FromSavepoint: o.from,
	})
	if err != nil {
		return err
	}
	f := &follower{control: control, id: id, out: out, clock: clock.Real{}}
	err = f.follow(ctx)
	if ctx.Err() != nil {
		return errors.Join(err, f.cancel(context.WithoutCancel(ctx)))
	}
	return err
}

// printError writes a coded error as flinkctl does.
func printError(w io.Writer, e *jobview.Error) {
	var b strings.Builder
	fmt.Fprintf(&b, "error %s: %s\n", e.Code, e.What)
	for _, part := range []struct{ name, text string }{{"where", e.Where}, {"why", e.Why}, {"fix", strings.Join(e.Fix, "; ")}} {
		if part.text != "" {
			fmt.Fprintf(&b, " %s: %s\n", part.name, strings.TrimSpace(part.text))
		}
	}
	_, _ = io.WriteString(w, b.String()) // stderr may be closed
}
