package cli

import (
	"strings"
	"testing"

	"github.com/leatstream/leat/runtime/restapi"
)

// A job in its probation is looked at now and then: what speaks against it is
// said as soon as it is clear, what speaks for it at the end.
func TestVerdict(t *testing.T) {
	t.Parallel()
	type look struct {
		state     string
		attempt   int64
		completed int
		restarts  int
	}
	for name, c := range map[string]struct {
		looks []look
		late  bool
		why   string // "" and done: it is healthy
		done  bool
	}{
		"not yet heard of":             {nil, false, "", false},
		"never heard of":               {nil, true, "nothing was heard of it", true},
		"running":                      {[]look{{"RUNNING", 1, 5, 0}}, false, "", false},
		"healthy":                      {[]look{{"RUNNING", 1, 0, 0}, {"RUNNING", 1, 5, 0}}, true, "", true},
		"finished":                     {[]look{{"FINISHED", 1, 1, 0}}, false, "", true},
		"failed":                       {[]look{{"FAILED", 1, 1, 0}}, false, "it is FAILED", true},
		"cancelled by somebody":        {[]look{{"CANCELED", 1, 1, 0}}, false, "it is CANCELED", true},
		"without a slot":               {[]look{{"CREATED", 0, 0, 0}}, true, "it is CREATED", true},
		"being found by a new leader":  {[]look{{"RUNNING", 1, 5, 0}, {"RECONCILING", 1, 5, 0}}, true, "", false},
		"without a checkpoint":         {[]look{{"RUNNING", 1, 0, 0}}, true, "no checkpoint", true},
		"none since the restart":       {[]look{{"RUNNING", 1, 2, 0}, {"RESTARTING", 1, 4, 1}, {"RUNNING", 2, 4, 1}}, true, "no checkpoint", true},
		"one since the restart":        {[]look{{"RUNNING", 1, 2, 0}, {"RUNNING", 2, 4, 1}, {"RUNNING", 2, 5, 1}}, true, "", true},
		"again and again":              {[]look{{"RESTARTING", 4, 9, 4}}, false, "restarted 4 times", true},
		"as often as may be":           {[]look{{"RUNNING", 3, 9, 3}}, false, "", false},
		"restarting at the end":        {[]look{{"RESTARTING", 2, 9, 2}}, true, "it is RESTARTING", true},
		"a checkpoint at the very end": {[]look{{"RUNNING", 1, 0, 0}, {"RUNNING", 1, 1, 0}}, true, "", true},
	} {
		var v verdict
		for _, l := range c.looks {
			v.see(restapi.Job{State: l.state, Attempt: l.attempt, Restarts: l.restarts}, restapi.Checkpoints{Counts: restapi.CheckpointCounts{Completed: l.completed}})
		}
		why, done := v.judge(c.late)
		if done != c.done || (why == "") != (c.why == "") && c.done || done && !strings.Contains(why, c.why) {
			t.Errorf("%s: %q, %v, want %q, %v", name, why, done, c.why, c.done)
		}
	}
}
