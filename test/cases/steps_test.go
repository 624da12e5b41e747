package cases_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// step is a line of steps.jsonl: a record, and what it causes.
type step struct {
	T     *int64          `json:"t"`  // event time in seconds
	TS    *int64          `json:"ts"` // or in milliseconds
	Side  string          `json:"side"`
	Key   *string         `json:"key"`
	Value *string         `json:"value"`
	Out   json.RawMessage `json:"out"`   // rows caused
	State json.RawMessage `json:"state"` // or a table after the step
}

// at returns the event time of a step.
func (s step) at() time.Time {
	switch {
	case s.T != nil:
		return time.Unix(*s.T, 0).UTC()
	case s.TS != nil:
		return time.UnixMilli(*s.TS).UTC()
	}
	return time.Time{}
}

// text returns a string that may be null, "" if it is.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// stepped is a program that takes one record after the other.
type stepped struct {
	// build makes the topology.
	build func(env *stream.Env)
	// open takes what it needs of the driver and returns what pushes a record
	// and what takes the rows that came of it, in the form of the step's out
	// or state: a value that encodes to the same JSON.
	open func(d *streamtest.Driver) (push func(s step), out func() any)
}

// run runs the steps undisturbed, with a restore after each step, and with a
// change of parallelism after each.
func (p stepped) run(t *testing.T, c *file) {
	t.Helper()
	all := objects[step](t, c, "steps.jsonl")
	for name, parallelism := range map[string][]int{"calm": nil, "restore": {1}, "rescale": {2, 7, 1}} {
		t.Run(name, func(t *testing.T) {
			env := stream.NewEnv(stream.MaxParallelism(16))
			p.build(env)
			d := streamtest.NewDriver(t, env)
			push, out := p.open(d)
			spread := false
			for i, s := range all {
				push(s)
				want := s.Out
				if want == nil {
					want = s.State
				}
				// Rows of several subtasks have no order between them.
				ordered := strings.Contains(c.header["compare"], "in order") && !spread
				if err := sameJSON(out(), want, ordered); err != nil {
					t.Fatalf("step %d (%+v): %v", i+1, s, err)
				}
				if len(parallelism) > 0 {
					n := parallelism[i%len(parallelism)]
					d.Rescale(n)
					spread = n > 1
				}
			}
		})
	}
}

// sameJSON compares what got encodes to with want; lists in any order unless
// ordered.
func sameJSON(got any, want json.RawMessage, ordered bool) error {
	b, err := json.Marshal(got)
	if err != nil {
		return err
	}
	var g, w any
	if err := json.Unmarshal(b, &g); err != nil {
		return err
	}
	if err := json.Unmarshal(want, &w); err != nil {
		return err
	}
	if !ordered {
		sortList(g)
		sortList(w)
	}
	if g == nil && reflect.DeepEqual(w, []any{}) {
		return nil // no rows
	}
	if !reflect.DeepEqual(g, w) {
		return fmt.Errorf("got %s, want %s", b, want)
	}
	return nil
}

func sortList(v any) {
	if list, ok := v.([]any); ok {
		slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
}
