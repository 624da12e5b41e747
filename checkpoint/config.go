package checkpoint

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
)

const (
	// OperationsMax bounds the requests of people that wait for their turn:
	// one checkpoint runs at a time, so a longer queue only hides that.
	OperationsMax = 16
	// RetainMax bounds Config.Retain: each commit writes the list of retained
	// checkpoints to the coordination service.
	RetainMax = 50
	// reserveBlock is how many ids one reservation covers.
	reserveBlock = 1024
)

// Config is what does not change over the attempts of a job.
type Config struct {
	Job         dataflow.JobID
	JobName     string
	Incarnation dataflow.Incarnation
	// Prefix is the job's place in the store: "jobs/<id>/".
	Prefix         string
	Fingerprint    string
	MaxParallelism int
	EngineVersion  string

	// Interval between triggers; zero or less: only on request.
	Interval time.Duration
	// MinPause is the least time between the end of one checkpoint and the
	// trigger of the next automatic one.
	MinPause time.Duration
	// Timeout after which a checkpoint that is not fully acknowledged is given up.
	Timeout time.Duration
	// SavepointTimeout is the same for what people ask for, the drain of the
	// sources included; also how long a request waits for its turn.
	SavepointTimeout time.Duration
	// RetryPause is the time until something that did not work is tried again:
	// a pointer move, a reservation, the final checkpoint.
	RetryPause time.Duration
	// PointerAttemptsMax is how often a pointer move that certainly wrote
	// nothing is tried before the checkpoint is given up.
	PointerAttemptsMax int
	// Retain is how many automatic checkpoints are kept.
	Retain int
}

// EnsureDefaults fills what is zero, except Interval.
func (c *Config) EnsureDefaults() {
	setDefault(&c.Timeout, 10*time.Minute)
	setDefault(&c.SavepointTimeout, 30*time.Minute)
	setDefault(&c.RetryPause, 500*time.Millisecond)
	setDefault(&c.PointerAttemptsMax, 5)
	setDefault(&c.Retain, 1)
	if c.Prefix == "" && c.Job != "" {
		c.Prefix = "jobs/" + string(c.Job) + "/"
	}
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate returns all faults in one error.
func (c *Config) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("checkpoint config: "+format, args...))
		}
	}
	fault(c.Job == "", "job id is empty")
	fault(!strings.HasSuffix(c.Prefix, "/"), "prefix %q does not end in a slash", c.Prefix)
	fault(c.MinPause < 0, "min pause %v is negative", c.MinPause)
	fault(c.Timeout <= 0, "timeout %v is not positive", c.Timeout)
	fault(c.SavepointTimeout <= 0, "savepoint timeout %v is not positive", c.SavepointTimeout)
	fault(c.RetryPause <= 0, "retry pause %v is not positive", c.RetryPause)
	fault(c.PointerAttemptsMax < 1, "pointer attempts %d are less than 1", c.PointerAttemptsMax)
	fault(c.Retain < 1 || c.Retain > RetainMax, "retained checkpoints %d are not in 1 to %d", c.Retain, RetainMax)
	fault(c.MaxParallelism < 1 || c.MaxParallelism > dataflow.MaxParallelismLimit,
		"maximum parallelism %d is not in 1 to %d", c.MaxParallelism, dataflow.MaxParallelismLimit)
	return errors.Join(errs...)
}

// Kind says why a checkpoint is taken.
type Kind uint8

// Kinds of checkpoints.
const (
	// KindPeriodic is taken by interval.
	KindPeriodic Kind = iota + 1
	// KindManual is a checkpoint that a person asked for.
	KindManual
	// KindHandover is a checkpoint from which another attempt is to go on at
	// once: sources read nothing after its barrier, unless it is aborted.
	KindHandover
	// KindSavepoint leaves the job running.
	KindSavepoint
	// KindStop is a savepoint after which the job ends.
	KindStop
	// KindDrain is a stop whose sources first act as if their input ended.
	KindDrain
	// KindFinal is taken when all subtasks have reached the end of input.
	KindFinal
)

// String implements fmt.Stringer.
func (k Kind) String() string {
	return [...]string{"none", "periodic", "manual", "handover", "savepoint", "stop", "drain", "final"}[k]
}

// Savepoint reports whether a checkpoint of this kind is a savepoint.
func (k Kind) Savepoint() bool { return k == KindSavepoint || k == KindStop || k == KindDrain }

// Ending reports whether the job ends after it.
func (k Kind) Ending() bool { return k == KindStop || k == KindDrain || k == KindFinal }

func (k Kind) stored() checkpointv1.Kind {
	if k.Savepoint() {
		return checkpointv1.Kind_KIND_SAVEPOINT
	}
	return checkpointv1.Kind_KIND_CHECKPOINT
}

// ObjectDir is the directory of a checkpoint's objects, relative to the job's
// prefix, with a final slash. No id is used twice, so no directory is either.
func ObjectDir(savepoint bool, id dataflow.CheckpointID) string {
	if savepoint {
		return fmt.Sprintf("%s%d/", savepointDir, id)
	}
	return fmt.Sprintf("%s%d/", checkpointDir, id)
}

// ManifestName is the name of the manifest in a checkpoint's directory.
const ManifestName = "manifest"

const (
	checkpointDir = "chk-"
	savepointDir  = "savepoint-"
)
