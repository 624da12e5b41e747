package badinput_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/runtime/jobview"
)

// TestPrograms runs programs that are wrong in themselves.
func TestPrograms(t *testing.T) {
	t.Parallel()
	c := start(t, config{planTimeout: 3 * time.Second})
	for _, x := range []struct {
		what, code string
		names      []string
	}{
		{"channel", "LEAT1217", []string{"Notify", "chan"}},
		{"twice", "LEAT1217", []string{`"same"`, "main.go:"}},
		{"hang", "LEAT1211", []string{"time"}},
		{"restless", "LEAT1207", []string{"2 fingerprints"}},
		{"unheard-of", "LEAT1217", []string{`no job "unheard-of"`}},
	} {
		t.Run(x.what, func(t *testing.T) {
			t.Parallel()
			c := c.with(t)
			id, err := c.submit(jobview.Submission{}, "-what", x.what, "-out", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			f := c.failure(id)
			wantError(t, &f.Error, x.code, x.names...)
			if f.Restarted {
				t.Error("the job was tried again, though that cannot help")
			}
		})
	}
}

// TestPanic shows stack, subtask and the job's own line; it restarts and
// fails again at the same row, until its strategy gives up.
func TestPanic(t *testing.T) {
	t.Parallel()
	c := start(t, config{})
	id, err := c.submit(jobview.Submission{Parallelism: 2}, "-what", "panic", "-rows", "1000", "-at", "333", "-out", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := c.failure(id)
	wantError(t, &f.Error, "LEAT3101", "row 333 is not what I expected")
	if !strings.Contains(f.Stack, "main.explode") || !strings.Contains(f.Stack, "main.go:") {
		t.Errorf("the stack does not show the job's line:\n%s", f.Stack)
	}
	if !strings.Contains(f.Task, "/2)") || f.TaskManager != "tm" {
		t.Errorf("task %q on %q, want subtask and taskmanager", f.Task, f.TaskManager)
	}
}

// TestOutOfMemory ends a worker that takes more than its share, and says so.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	c := start(t, config{memory: 256 << 20})
	id := c.mustSubmit("-what", "greedy", "-rows", "100000", "-rate", "100", "-out", t.TempDir())
	f := c.failure(id)
	wantError(t, &f.Error, "LEAT2103", "oom", "MiB")
}

// TestStateLimit ends a job whose window outgrows its limit before the worker's
// memory ends, and says what fills it.
func TestStateLimit(t *testing.T) {
	t.Parallel()
	c := start(t, config{})
	for name, properties := range map[string]map[string]string{
		"given":   {"state.memory": "2MiB"},
		"default": nil, // two thirds of what the collector of a worker with 64 MiB is told, less 16 MiB
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := c.with(t)
			if properties == nil {
				c = start(t, config{memory: 256 << 20})
			}
			id, err := c.submit(jobview.Submission{Properties: properties}, "-what", "hoard", "-rows", "100000000", "-out", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			f := c.failure(id)
			wantError(t, &f.Error, "LEAT4214", "MiB", "2 keys", "the largest key", "main.go:", "8000000000000001", "state.backend=pebble", "state.memory")
		})
	}
}

// TestChangedGraph refuses to lose or to misread state.
func TestChangedGraph(t *testing.T) {
	t.Parallel()
	c := start(t, config{})
	out := t.TempDir()
	id := c.mustSubmit("-what", "sums", "-rate", "1000", "-out", out)
	c.await(id, "checkpoints", checkpoints(2))
	from := c.stop(id)
	restart := func(args ...string) *jobview.Error {
		t.Helper()
		id, err := c.submit(jobview.Submission{FromSavepoint: from}, append(args, "-rate", "1000", "-out", out)...)
		if err != nil {
			t.Fatal(err)
		}
		f := c.failure(id)
		return &f.Error
	}
	wantError(t, restart("-what", "sums", "-uid", "renamed"), "LEAT4202", `operator "sums"`, "--drop-state sums")
	// Without a UID there would be nothing to find the state by later.
	wantError(t, restart("-what", "sums", "-uid", "-"), "LEAT1217", "needs a name for good", "UID")
	// The same UID with another type: never read as what it is not.
	wantError(t, restart("-what", "text-state"), "LEAT4201", "sums", `state table "sum"`)
	// As it was, it goes on.
	id, err := c.submit(jobview.Submission{FromSavepoint: from}, "-what", "sums", "-rate", "1000", "-out", out)
	if err != nil {
		t.Fatal(err)
	}
	c.await(id, "checkpoints after the restore", checkpoints(1))
}
