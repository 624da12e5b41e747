// Package dataflow is the vocabulary of the engine: the identities, numbers
// and bounds that every other package speaks in. It is not a place for
// behaviour: graphs live in dataflow/graph, batches in columnar.
package dataflow

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"math"
)

// Event time is int64 milliseconds since the Unix epoch, as in Kafka.
const (
	// TimeMin is the watermark before anything has been seen. It equals
	// TimeNone on purpose: a record without a time never advances a watermark.
	TimeMin int64 = math.MinInt64
	// TimeMax is the watermark at the end of a bounded input: no record follows.
	TimeMax int64 = math.MaxInt64
	// TimeNone marks a record that has no event time.
	TimeNone int64 = math.MinInt64
)

const (
	// MaxParallelismDefault is the number of key groups of a job unless it
	// says otherwise. It is recorded in each snapshot and cannot be changed
	// without rewriting state.
	MaxParallelismDefault = 1024
	// MaxParallelismLimit bounds the number of key groups of any job.
	MaxParallelismLimit = 32768
	// SideDeadLetter is the side output on which sources and operators offer
	// the records that their error policy sets aside.
	SideDeadLetter = "dead-letter"
	// SideLate is the side output of window operators for late records.
	SideLate = "late"
)

// JobID identifies one submitted job: 32 lower-case hexadecimal digits.
type JobID string

// NewJobID returns a random job id.
func NewJobID() JobID { return JobID(randomHex()) }

// OperatorID identifies an operator across runs of a job: 32 lower-case
// hexadecimal digits, derived from its UID alone.
type OperatorID string

// OperatorIDOf derives the id of the operator with the given UID: the first
// 16 bytes of its SHA-256, in hexadecimal. It is a format: state is found by it.
func OperatorIDOf(uid string) OperatorID {
	sum := sha256.Sum256([]byte(uid))
	return OperatorID(hex.EncodeToString(sum[:16]))
}

// Incarnation identifies one life of a job's external effects: it is new
// whenever a job starts other than by recovery of its own latest checkpoint.
type Incarnation string

// NewIncarnation returns a random incarnation of 12 hexadecimal digits.
func NewIncarnation() Incarnation { return Incarnation(randomHex()[:12]) }

// CheckpointID numbers the checkpoints and savepoints of a job. It starts at
// 1, only grows over all attempts of the job, and is never used twice.
type CheckpointID int64

// Attempt numbers the executions of one job; it starts at 1 and only grows.
type Attempt int64

// Epoch is the fencing number of a jobmanager leadership. A later leader has
// a larger epoch.
type Epoch int64

// KeyGroup is the unit in which keyed state moves between subtasks.
type KeyGroup uint16

// KeyGroupRange is a closed range of key groups. The zero value holds group 0
// alone; a range with First > Last is empty.
type KeyGroupRange struct {
	First, Last KeyGroup
}

// emptyKeyGroups is a range that holds nothing.
var emptyKeyGroups = KeyGroupRange{First: 1, Last: 0}

// Contains reports whether g lies in r.
func (r KeyGroupRange) Contains(g KeyGroup) bool { return r.First <= g && g <= r.Last }

// Len returns the number of key groups in r.
func (r KeyGroupRange) Len() int { return max(0, int(r.Last)-int(r.First)+1) }

// Intersect returns the groups in both r and o.
func (r KeyGroupRange) Intersect(o KeyGroupRange) KeyGroupRange {
	x := KeyGroupRange{First: max(r.First, o.First), Last: min(r.Last, o.Last)}
	if x.First > x.Last {
		return emptyKeyGroups
	}
	return x
}

// KeyGroupOf maps the hash of an encoded key (codec.HashKey) to its key group.
// It is a format: 0 < maxParallelism <= MaxParallelismLimit.
func KeyGroupOf(hash uint64, maxParallelism int) KeyGroup {
	return KeyGroup(hash % uint64(maxParallelism))
}

// SubtaskOf returns the subtask, of parallelism many, that owns group g.
func SubtaskOf(g KeyGroup, maxParallelism, parallelism int) int {
	return int(g) * parallelism / maxParallelism
}

// KeyGroupsOf returns the range owned by a subtask. It is the inverse of
// SubtaskOf: every group of the range, and no other, maps to the subtask.
func KeyGroupsOf(subtask, maxParallelism, parallelism int) KeyGroupRange {
	first := (subtask*maxParallelism + parallelism - 1) / parallelism
	last := ((subtask+1)*maxParallelism - 1) / parallelism
	if last < first {
		return emptyKeyGroups
	}
	return KeyGroupRange{First: KeyGroup(first), Last: KeyGroup(last)}
}

// AddTime adds a duration in milliseconds to an event time, saturating at
// TimeMin and TimeMax instead of wrapping.
func AddTime(t, millis int64) int64 {
	s := t + millis
	if millis > 0 && s < t {
		return TimeMax
	}
	if millis < 0 && s > t {
		return TimeMin
	}
	return s
}

func randomHex() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error
	return hex.EncodeToString(b[:])
}

// TaskInfo names the place of an operator's subtask in the running job.
type TaskInfo struct {
	Job            JobID
	JobName        string
	Operator       OperatorID
	UID            string
	Name           string // operator's name
	Subtask        int    // 0 to Parallelism-1
	Parallelism    int
	MaxParallelism int
	Attempt        Attempt
}
