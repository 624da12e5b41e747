package stream

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/callsite"
)

// Env collects the graph of one job. It is used on one goroutine.
type Env struct {
	args   []string
	props  map[string]string
	graph  graph.JobGraph
	uids   map[string]string // UID to the place that gave it
	count  map[string]int    // operators made so far, by kind, for names
	faults []error
}

// EnvOption sets an option of the job.
type EnvOption func(*Env)

// NewEnv returns an empty job. Programs get theirs from launch.Main.
func NewEnv(opts ...EnvOption) *Env {
	e := &Env{uids: make(map[string]string), count: make(map[string]int)}
	e.graph.Version = graph.FormatVersion
	e.graph.MaxParallelism = dataflow.MaxParallelismDefault
	e.graph.Name = "job"
	e.Set(opts...)
	return e
}

// Set applies options. Later ones win.
func (e *Env) Set(opts ...EnvOption) {
	for _, o := range opts {
		o(e)
	}
}

// Args returns the program's arguments, as recorded when the job was
// submitted: a program reads these and never os.Args, so that every process
// of the job sees the same.
func (e *Env) Args() []string { return e.args }

// Property returns the value given for a key by -D key=value, "" if none.
func (e *Env) Property(key string) string { return e.props[key] }

// ProgramArgs sets what Args returns.
func ProgramArgs(args []string) EnvOption {
	return func(e *Env) { e.args = append([]string(nil), args...) }
}

// Properties sets what Property returns.
func Properties(props map[string]string) EnvOption {
	return func(e *Env) {
		e.props = make(map[string]string, len(props))
		for k, v := range props {
			e.props[k] = v
		}
	}
}

// JobName names the job.
func JobName(name string) EnvOption { return func(e *Env) { e.graph.Name = name } }

// DefaultParallelism is the parallelism of operators that have none of their
// own, unless the job is submitted with another.
func DefaultParallelism(n int) EnvOption {
	return func(e *Env) {
		if n < 1 {
			e.fail(callSite(), "default parallelism %d is less than 1", n)
			return
		}
		e.graph.Config.Parallelism = n
	}
}

// MaxParallelism is the number of key groups, the bound of every parallelism
// for the life of the job's state.
func MaxParallelism(n int) EnvOption {
	return func(e *Env) {
		if n < 1 || n > dataflow.MaxParallelismLimit {
			e.fail(callSite(), "maximum parallelism %d is not between 1 and %d", n, dataflow.MaxParallelismLimit)
			return
		}
		e.graph.MaxParallelism = n
	}
}

// CheckpointInterval is the time between checkpoints: how long exactly-once
// output waits to become visible. The default is a second.
func CheckpointInterval(d time.Duration) EnvOption {
	return func(e *Env) {
		if d <= 0 {
			e.fail(callSite(), "checkpoint interval %s is not positive: use NoCheckpoints to switch them off", d)
			return
		}
		e.graph.Config.CheckpointInterval = d
	}
}

// NoCheckpoints switches checkpoints off: after a failure the job begins anew.
func NoCheckpoints() EnvOption {
	return func(e *Env) { e.graph.Config.CheckpointInterval = -1 }
}

// CheckpointTimeout is the time after which a checkpoint is given up.
func CheckpointTimeout(d time.Duration) EnvOption {
	return func(e *Env) { e.graph.Config.CheckpointTimeout = d }
}

// AlignedTimeout is how long the barrier of a checkpoint waits for the rows
// before it, at each operator. Then it overtakes them, and they become part of
// the checkpoint, so that one completes however slow the job is. A negative
// time makes barriers wait for ever; those of savepoints always do. The default
// is half a second.
func AlignedTimeout(d time.Duration) EnvOption {
	return func(e *Env) {
		if d == 0 {
			e.fail(callSite(), "aligned timeout 0: give the time that barriers wait, or a negative one for no limit")
			return
		}
		e.graph.Config.AlignedTimeout = d
	}
}

// CheckpointsRetained is the number of completed checkpoints kept.
func CheckpointsRetained(n int) EnvOption {
	return func(e *Env) { e.graph.Config.CheckpointsRetained = n }
}

// DisableChaining runs each operator of the job in a task of its own.
func DisableChaining() EnvOption { return func(e *Env) { e.graph.Config.NoChaining = true } }

// BufferTimeout bounds how long a record waits for its batch to fill.
func BufferTimeout(d time.Duration) EnvOption {
	return func(e *Env) { e.graph.Config.BufferTimeout = d }
}

// RestartExponential restarts after failures with growing delays, without an
// end. This is the default, from 200 ms to 30 s.
func RestartExponential(first, most time.Duration) EnvOption {
	return func(e *Env) {
		e.graph.Config.Restart = graph.Restart{Kind: graph.RestartExponential, Delay: first, DelayMax: most}
	}
}

// RestartFixed restarts attempts times, after the same delay.
func RestartFixed(attempts int, delay time.Duration) EnvOption {
	return func(e *Env) {
		e.graph.Config.Restart = graph.Restart{Kind: graph.RestartFixed, AttemptsMax: attempts, Delay: delay}
	}
}

// RestartFailureRate restarts until there are more than failures within interval.
func RestartFailureRate(failures int, interval, delay time.Duration) EnvOption {
	return func(e *Env) {
		e.graph.Config.Restart = graph.Restart{Kind: graph.RestartFailureRate, AttemptsMax: failures, Interval: interval, Delay: delay}
	}
}

// RestartNever makes the first failure the job's end.
func RestartNever() EnvOption {
	return func(e *Env) { e.graph.Config.Restart = graph.Restart{Kind: graph.RestartNone} }
}

// Graph returns the graph that was built, or all faults of the program, one a
// line, each with its place.
func (e *Env) Graph() (*graph.JobGraph, error) {
	e.stateProperties()
	if faults := append(e.faults[:len(e.faults):len(e.faults)], e.unreadLetters()...); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	e.graph.Config.EnsureDefaults()
	if err := e.graph.Validate(); err != nil {
		return nil, err
	}
	return &e.graph, nil
}

func (e *Env) fail(where, format string, args ...any) {
	e.faults = append(e.faults, fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...)))
}

// check takes the faults of a source or sink that knows them before it is
// started: one with a method Fault.
func (e *Env) check(where, name string, connector any) {
	c, ok := connector.(interface{ Fault() error })
	if !ok {
		return
	}
	if err := c.Fault(); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			e.fail(where, "%s: %s", strings.TrimSpace(name), line)
		}
	}
}

// callSite returns the file and line of the first caller outside of this
// package: the user's code.
func callSite() string { return callsite.Outside("github.com/leatstream/leat/stream") }
