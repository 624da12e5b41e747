package worker

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// troublesMax bounds what is reported: people read the first.
const troublesMax = 16

// troubles is what the worker's operators try again at the moment. It is safe
// for concurrent use.
type troubles struct {
	clock clock.Clock

	mu  sync.Mutex
	all map[trouble]*controlv1.Trouble // guarded by mu; one for each operator's subtask
}

// trouble names who has it.
type trouble struct {
	op      string
	subtask int // -1: the coordinator, -2: the check at the start
}

const (
	ofCoordinator = -1
	ofCheck       = -2
)

func newTroubles(c clock.Clock) *troubles {
	return &troubles{clock: c, all: make(map[trouble]*controlv1.Trouble)}
}

// set notes err, or with nil that it is over.
func (t *troubles) set(n *graph.Node, subtask int, err error) {
	key := trouble{string(n.ID), subtask}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.all, key)
		return
	}
	since := clock.Millis(t.clock)
	if old := t.all[key]; old != nil {
		since = old.GetSinceMillis()
	}
	t.all[key] = &controlv1.Trouble{Operator: n.Name, SinceMillis: since, Error: troubleInfo(err)}
}

func troubleInfo(err error) *controlv1.ErrorInfo {
	var t *connectors.Trouble
	if errors.As(err, &t) {
		return &controlv1.ErrorInfo{Code: t.Code, What: t.What, Why: t.Err.Error(), Fix: []string{t.Fix}}
	}
	return &controlv1.ErrorInfo{What: err.Error()}
}

// list returns the oldest troubles first.
func (t *troubles) list() []*controlv1.Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*controlv1.Trouble
	for _, x := range t.all {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *controlv1.Trouble) int {
		if a.GetSinceMillis() != b.GetSinceMillis() {
			return int(a.GetSinceMillis() - b.GetSinceMillis())
		}
		return strings.Compare(a.GetOperator()+a.GetError().GetWhat(), b.GetOperator()+b.GetError().GetWhat())
	})
	return out[:min(len(out), troublesMax)]
}
