// Package savepointview shows savepoints to people, in the bodies of restapi:
// the jobmanager of those in its store, flinkctl of those on its own disk, both
// in the same words. It reads them by checkpoint/savepoint and changes nothing.
package savepointview

import (
	"errors"
	"fmt"

	"github.com/leatstream/leat/checkpoint/manifest"
	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/checkpoint/store"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

// Of describes the manifest of a savepoint that people know by path.
func Of(path string, m *checkpointv1.Manifest) restapi.SavepointContents {
	v := restapi.SavepointContents{
		Path: path, Job: m.GetJobName(), JobID: m.GetJobId(), Checkpoint: m.GetCheckpointId(), Kind: "checkpoint", Drained: m.GetDrained(),
		Created: m.GetCreatedMillis(), MaxParallelism: m.GetMaxParallelism(), Engine: m.GetEngineVersion(), Operators: []restapi.SavepointOperator{},
	}
	if m.GetKind() == checkpointv1.Kind_KIND_SAVEPOINT {
		v.Kind = "savepoint"
	}
	at := make(map[string]int)
	for _, o := range m.GetOperators() {
		at[o.GetId()] = len(v.Operators)
		v.Operators = append(v.Operators, restapi.SavepointOperator{UID: o.GetUid(), Name: o.GetName(), ID: o.GetId(), Parallelism: o.GetParallelism()})
	}
	for _, h := range m.GetHandles() {
		n := max(h.GetLength(), int64(len(h.GetInline())))
		v.Bytes += n
		if i, ok := at[h.GetOperatorId()]; !ok {
			continue
		} else if h.GetKind() == controlv1.StateKind_STATE_KIND_KEYED {
			v.Operators[i].KeyedBytes += n
		} else {
			v.Operators[i].OtherBytes += n
		}
	}
	return v
}

// Fault returns an error of package savepoint as it is shown; nil for others,
// which say that the storage could not answer.
func Fault(err error, path string) *jobview.Error {
	const mend = "bring the object back from a copy of the storage, or use another savepoint or checkpoint"
	var corrupt *manifest.CorruptError
	switch {
	case errors.Is(err, savepoint.ErrNoSuch):
		return &jobview.Error{Code: "LEAT2007", Kind: jobview.KindNotFound, What: "there is no such state in " + path, Why: err.Error(), Fix: []string{"flinkctl savepoint inspect " + path}}
	case errors.As(err, &corrupt), errors.Is(err, manifest.ErrVersion):
		return &jobview.Error{Code: "LEAT4205", Kind: jobview.KindInvalid, What: fmt.Sprintf("the savepoint at %s cannot be read", path), Why: err.Error(),
			Fix: []string{"use another savepoint or checkpoint of the job"}}
	case errors.Is(err, store.ErrNotFound):
		return &jobview.Error{Code: "LEAT4212", Kind: jobview.KindInvalid, What: "an object of " + path + " is missing", Why: err.Error(), Fix: []string{mend}}
	case savepoint.Damaged(err):
		return &jobview.Error{Code: "LEAT4211", Kind: jobview.KindInvalid, What: "state in " + path + " is damaged", Why: err.Error(), Fix: []string{mend}}
	}
	return nil
}
