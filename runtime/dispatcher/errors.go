package dispatcher

import (
	"errors"
	"fmt"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobview"
)

func errNoJob(id dataflow.JobID) *jobview.Error {
	return &jobview.Error{Code: "LEAT2001", Kind: jobview.KindNotFound, What: fmt.Sprintf("no job %s", id),
		Why: "it was never submitted here, or ended so long ago that it was removed", Fix: []string{"flinkctl job list"}}
}

func errEnded(v jobview.Job) *jobview.Error {
	return &jobview.Error{Code: "LEAT4106", Kind: jobview.KindConflict, What: fmt.Sprintf("job %q has ended", v.Name), Why: "it is " + string(v.State)}
}

func errUnavailable(why string) *jobview.Error {
	return &jobview.Error{Code: "LEAT0501", Kind: jobview.KindUnavailable, What: "the jobmanager cannot answer now", Why: why,
		Fix: []string{"try again: it is safe to repeat"}}
}

func errNoTaskManager(id string) *jobview.Error {
	return &jobview.Error{Code: "LEAT2002", Kind: jobview.KindNotFound, What: fmt.Sprintf("no taskmanager %q is registered", id),
		Fix: []string{"flinkctl taskmanager list"}}
}

func invalid(code, what, why string, fix ...string) *jobview.Error {
	return &jobview.Error{Code: code, Kind: jobview.KindInvalid, What: what, Why: why, Fix: fix}
}

// coded returns err as it is shown: one with a code as it is, another under
// the code given.
func coded(err error, code, what string) *jobview.Error {
	var e *jobview.Error
	if errors.As(err, &e) {
		return e
	}
	return &jobview.Error{Code: code, Kind: jobview.KindFailed, What: what, Why: err.Error()}
}
