package task

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/operators"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/state"
)

// StackMax bounds the stack trace that is reported.
const StackMax = 8 << 10

// fail records the first error of the task and where it happened. n is the
// operator in work, nil for the task itself.
func (t *Task) fail(n *node, err error) {
	if t.err != nil {
		return
	}
	t.err = err
	t.failure = &controlv1.Failure{Error: ErrorInfo(err), Fatal: isFatal(err)}
	var p *operators.PanicError
	if errors.As(err, &p) {
		t.failure.Panic, t.failure.Stack = true, p.Stack[:min(len(p.Stack), StackMax)]
	}
	t.locate(n)
}

// panicked records a panic caught on the task's goroutine.
func (t *Task) panicked(r any) {
	if t.err != nil || t.anyStateFailed() { // what an operator makes of lost state is no fault of its own
		return
	}
	if e, ok := r.(*state.LimitError); ok {
		t.fail(t.current, e)
		return
	}
	t.err = fmt.Errorf("panic: %v", r)
	stack := debug.Stack()
	t.failure = &controlv1.Failure{
		Error: ErrorInfo(t.err), Panic: true, Stack: string(stack[:min(len(stack), StackMax)]),
	}
	t.locate(t.current)
}

// locate names the operator and the row in work: as exact as the operator or
// one before it in the chain knows.
func (t *Task) locate(n *node) {
	f := t.failure
	if n == nil {
		f.Error.Where = t.cfg.Vertex.Name
		return
	}
	f.OperatorId, f.OperatorName = string(n.spec.ID), n.spec.Name
	f.Error.Where = n.spec.Name
	if n.spec.Where != "" {
		f.Error.Where += " (" + n.spec.Where + ")"
	}
	for at := n; at != nil && f.Record == ""; at = at.parent {
		f.Record = at.record()
	}
}

// record asks for the row in work, or else tells the range of the batch. An
// operator that has just failed may fail again.
func (n *node) record() (pos string) {
	defer func() {
		if recover() != nil {
			pos = ""
		}
	}()
	if n.position != nil {
		if pos = n.position.Position(); pos != "" {
			return pos
		}
	}
	if b := n.inWork; b != nil && b.Origin != nil {
		return fmt.Sprintf("%s from %d", b.Origin.Split, b.Origin.At(0))
	}
	return ""
}

// ErrorInfo is the wire form of an error, with the code and the remedy when
// it has them.
func ErrorInfo(err error) *controlv1.ErrorInfo {
	var mismatch *state.MismatchError
	if errors.As(err, &mismatch) {
		return &controlv1.ErrorInfo{
			Code: "LEAT4201", What: "the state in the checkpoint does not fit this job", Why: mismatch.Error(),
			Fix: []string{"keep the type of the state, or give the new state another name", "or lose it: start from a savepoint with --drop-state and the operator's UID"},
		}
	}
	var storage *state.StorageError
	if errors.As(err, &storage) {
		return &controlv1.ErrorInfo{
			Code: "LEAT4213", What: "local state on disk cannot be used: " + storage.Path, Why: storage.Error(),
			Fix: []string{
				"make room on the disk of that folder, or give the taskmanager a larger or a sound one with --dir",
				"or run on more taskmanagers, so that each holds less state",
			},
		}
	}
	var limit *state.LimitError
	if errors.As(err, &limit) {
		return limitInfo(limit)
	}
	var trouble *connectors.Trouble
	if errors.As(err, &trouble) {
		return &controlv1.ErrorInfo{Code: trouble.Code, What: trouble.What, Why: trouble.Err.Error(), Fix: []string{trouble.Fix}}
	}
	var fatal *connectors.FatalError
	if !errors.As(err, &fatal) {
		return &controlv1.ErrorInfo{What: err.Error()}
	}
	info := &controlv1.ErrorInfo{Code: fatal.Code, What: fatal.What, Why: fatal.Why}
	if fatal.Fix != "" {
		info.Fix = []string{fatal.Fix}
	}
	return info
}

func limitInfo(e *state.LimitError) *controlv1.ErrorInfo {
	if e.Entry > 0 {
		return &controlv1.ErrorInfo{
			Code: "LEAT4214", What: "a key or a value is too large for state", Why: e.Error(),
			Fix: []string{"keep it in parts: a map or a list in place of one value", "or, if it is the list of a window's rows, use Aggregate, a shorter window or an evictor"},
		}
	}
	if e.Window != "" {
		return &controlv1.ErrorInfo{
			Code: "LEAT4214", What: "a window is too large for state in memory", Why: e.Error(),
			Fix: []string{"more parallelism, a shorter window, or an aggregate in place of all rows", "or keep state on disk: -D state.backend=pebble"},
		}
	}
	return &controlv1.ErrorInfo{
		Code: "LEAT4214", What: "state is larger than its limit", Why: e.Error(),
		Fix: []string{
			"keep less: a shorter window, an aggregate in place of all rows, a time to live, more parallelism",
			"or keep state on disk: -D state.backend=pebble",
			"or raise the limit: -D state.memory=SIZE, with a taskmanager that has more memory, or fewer slots",
		},
	}
}

// stateFailed fails the task when the local state of an operator has failed:
// what the operator read and wrote since is void. It is cheap.
func (t *Task) stateFailed(n *node) bool {
	if n.failer == nil {
		return false
	}
	err := n.failer.Err()
	if err != nil {
		t.fail(n, err)
	}
	return err != nil
}

func (t *Task) anyStateFailed() bool {
	for _, n := range t.nodes {
		if t.stateFailed(n) {
			return true
		}
	}
	return false
}

func isFatal(err error) bool {
	var fatal *connectors.FatalError
	var mismatch *state.MismatchError
	return errors.As(err, &fatal) || errors.As(err, &mismatch)
}
