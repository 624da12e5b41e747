package jobmaster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/scheduler"
)

// RecordVersion is the version of the stored form of a Record
// (docs/internals/jobmaster.md).
const RecordVersion = 1

// Record is what the coordination service holds of a job besides the pointer
// to its checkpoints. It is written whole, only by the leader.
type Record struct {
	Version int            `json:"version"`
	ID      dataflow.JobID `json:"id"`
	Name    string         `json:"name"`
	// Named says that the submitter chose the name; else it is the program's.
	Named     bool   `json:"named,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	Bundle    Bundle `json:"bundle"`
	Inputs    Inputs `json:"inputs"`
	// Parallelism is what the submitter asked for, 0: as the program says; and
	// Operators are those with another one. Both are those of Attempt.
	Parallelism int                         `json:"parallelism,omitempty"`
	Operators   map[dataflow.OperatorID]int `json:"operators,omitempty"`
	// Auto says that the parallelism follows the slots that the job may have.
	Auto bool `json:"auto,omitempty"`
	// Rescale is what the next attempt is to have, until there is one.
	Rescale       *Parallelism `json:"rescale,omitempty"`
	FromSavepoint string       `json:"fromSavepoint,omitempty"` // object key of the manifest
	AllowDrained  bool         `json:"allowDrained,omitempty"`
	DropState     []string     `json:"dropState,omitempty"`
	Submitted     int64        `json:"submitted"` // milliseconds since the epoch

	// Graph is the object key of the job graph, empty before it is planned.
	Graph       string `json:"graph,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`

	Incarnation dataflow.Incarnation `json:"incarnation"`
	// Pools holds the sizes of the pools of transactional ids. They are
	// recorded before first use and only grow.
	Pools map[dataflow.OperatorID]int `json:"pools,omitempty"`
	// Attempt is the highest number ever used, Workers its workers.
	Attempt dataflow.Attempt   `json:"attempt,omitempty"`
	Workers []scheduler.Worker `json:"workers,omitempty"`
	Goal    Goal               `json:"goal,omitempty"`
	// Restarts counts the restarts after failures.
	Restarts int `json:"restarts,omitempty"`

	// State is set once the job has ended.
	State  jobview.JobState `json:"state,omitempty"`
	Reason string           `json:"reason,omitempty"`
	Ended  int64            `json:"ended,omitempty"`
}

// Bundle names the job's bundle.
type Bundle struct {
	SHA256 string `json:"sha256"`
	Key    string `json:"key"`
	Size   int64  `json:"size"`
}

// Inputs are the program's inputs, replayed word for word.
type Inputs struct {
	Args        []string          `json:"args,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
}

// Attachable returns the workers that a new leader may find running and take
// over, with their slots: those of the last attempt of a job that is to run.
func (r *Record) Attachable() map[string]int {
	if r.Graph == "" || r.Goal.goal() != scheduler.GoalRun || r.State.Terminal() {
		return nil
	}
	out := make(map[string]int, len(r.Workers))
	for _, w := range r.Workers {
		out[w.ID] = w.Slots
	}
	return out
}

// Goal is the stored form of scheduler.Goal.
type Goal string

var goals = [...]Goal{scheduler.GoalRun: "", scheduler.GoalFinish: "finish", scheduler.GoalFail: "fail", scheduler.GoalCancel: "cancel"}

func (g Goal) goal() scheduler.Goal {
	for i, s := range goals {
		if s == g {
			return scheduler.Goal(i)
		}
	}
	return scheduler.GoalRun
}

// KeyPrefix is where the records of all jobs lie in the coordination service.
const KeyPrefix = "jobs/"

// RecordKey is the key of a job's record.
func RecordKey(id dataflow.JobID) string { return KeyPrefix + string(id) + "/record" }

// PointerKey is the key of a job's checkpoint pointer.
func PointerKey(id dataflow.JobID) string { return KeyPrefix + string(id) + "/checkpoint" }

// ObjectPrefix is where a job's objects lie in the store.
func ObjectPrefix(id dataflow.JobID) string { return "jobs/" + string(id) + "/" }

// JobOfKey returns the job that a key of the coordination service belongs to
// and the rest of the key.
func JobOfKey(key string) (id dataflow.JobID, rest string, ok bool) {
	s, found := strings.CutPrefix(key, KeyPrefix)
	if !found {
		return "", "", false
	}
	job, rest, found := strings.Cut(s, "/")
	return dataflow.JobID(job), rest, found && job != ""
}

// Encode returns the stored form.
func (r *Record) Encode() ([]byte, error) {
	c := *r
	c.Version = RecordVersion
	b, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("encoding the record of job %s: %w", r.ID, err)
	}
	return b, nil
}

// DecodeRecord reads what Encode wrote.
func DecodeRecord(b []byte) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("job record: %w", err)
	}
	if r.Version != RecordVersion {
		return nil, fmt.Errorf("record of job %s has version %d, this release reads %d", r.ID, r.Version, RecordVersion)
	}
	return r, nil
}

// Time is a recorded time.
func Time(millis int64) time.Time {
	if millis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(millis)
}

// clone copies what the core goes on changing.
func (r *Record) clone() Record {
	c := *r
	c.Pools = maps.Clone(r.Pools)
	c.Workers = slices.Clone(r.Workers)
	c.Operators = maps.Clone(r.Operators)
	if r.Rescale != nil {
		target := r.Rescale.clone()
		c.Rescale = &target
	}
	return c
}
