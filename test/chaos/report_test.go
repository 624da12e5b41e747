//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/runtime/restapi"
	"github.com/leatstream/leat/test/e2e/rig"
)

// event is one fault that happened, or two at once.
type event struct {
	began, mended time.Time
	names, hits   []string
	// checkpoint was under way, or the next one, in window when it began.
	checkpoint int64
	window     rig.Window
	fate       string
	attempt    int64
	attempts   int64 // that were needed
	why        string
	gap        time.Duration
}

// break1 begins a fault and notes it.
func (e *event) break1(ctx context.Context, b *breaker, f fault) (func(context.Context) error, error) {
	hit, mend, err := f.begin(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	e.names, e.hits = append(e.names, f.name), append(e.hits, hit)
	return mend, nil
}

// look notes where the job is right before a fault.
func (x *run) look(ctx context.Context, e *event) error {
	j, err := x.Job(ctx, x.id)
	if err != nil {
		return err
	}
	e.attempt = j.Attempt
	s, err := x.CheckpointHistory(ctx, x.id)
	if err != nil {
		return err
	}
	for _, c := range s.History {
		if c.Status == "IN_PROGRESS" {
			e.checkpoint = max(e.checkpoint, c.ID)
		}
	}
	if e.checkpoint == 0 && s.Latest.Completed != nil {
		e.checkpoint = s.Latest.Completed.ID + 1
	}
	hits, err := x.Trace.Hits()
	if err != nil {
		return err
	}
	e.window = rig.WindowAt(hits, time.Unix(math.MaxInt32, 0))
	e.began = time.Now()
	return nil
}

// learn notes what has become of it.
func (x *run) learn(ctx context.Context, e *event) error {
	j, err := x.Job(ctx, x.id)
	if err != nil {
		return err
	}
	e.attempts = j.Attempt - e.attempt
	s, err := x.CheckpointHistory(ctx, x.id)
	if err != nil {
		return err
	}
	e.fate = fateOf(s, e.checkpoint)
	if e.attempts == 0 {
		return nil
	}
	failures, err := x.Exceptions(ctx, x.id)
	if err == nil && len(failures) > 0 {
		why := strings.Join(strings.Fields(failures[0].Stacktrace), " ")
		e.why = " (" + why[:min(len(why), whyMax)] + ")"
	}
	return err
}

// whyMax is how much is told of a failure.
const whyMax = 150

// fateOf returns how a checkpoint has ended; one that a leader took to its
// grave is in no history.
func fateOf(s restapi.Checkpoints, id int64) string {
	for _, c := range s.History {
		if c.ID == id {
			return strings.ToLower(c.Status)
		}
	}
	return "forgotten"
}

// report is the log of faults and gaps.
type report struct {
	t      *testing.T
	began  time.Time
	file   *os.File
	gaps   map[string][]time.Duration
	faults int
}

const reportHeader = "  TIME  LASTED  CHECKPOINT                    GAP  ATTEMPTS  FAULT"

func newReport(t *testing.T) *report {
	t.Helper()
	dir := filepath.Join(module(), "build", "chaos-report")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("seed-%d.txt", *seed)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	r := &report{t: t, began: time.Now(), file: f, gaps: make(map[string][]time.Duration)}
	r.print("%s\n%s", again(), reportHeader)
	return r
}

func (r *report) print(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Println(line)
	fmt.Fprintln(r.file, line)
}

func (r *report) line(e *event, err error) {
	r.faults++
	what := make([]string, len(e.names))
	for i := range e.names {
		what[i] = e.names[i] + " " + e.hits[i]
		r.gaps[e.names[i]] = append(r.gaps[e.names[i]], e.gap)
	}
	end := e.mended
	if end.IsZero() {
		end = time.Now()
	}
	r.print("%6.1f %6.1fs  %5d %-10s %-10s %6.1fs  +%d  %s", e.began.Sub(r.began).Seconds(), end.Sub(e.began).Seconds(),
		e.checkpoint, e.window, e.fate, e.gap.Seconds(), e.attempts, strings.Join(what, " | ")+e.why)
	if err != nil {
		r.print("%6.1f FAILED: %v", time.Since(r.began).Seconds(), err)
	}
}

// end prints how many faults there were, and the gaps by fault.
func (r *report) end() {
	r.print("%d moments of faults; the output was the answer. Gaps in the committed output, by fault:", r.faults)
	names := make([]string, 0, len(r.gaps))
	for n := range r.gaps {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		g := r.gaps[n]
		slices.Sort(g)
		r.print("%-34s %3d times, median %5.1f s, worst %5.1f s", n, len(g), g[(len(g)-1)/2].Seconds(), g[len(g)-1].Seconds())
	}
}
