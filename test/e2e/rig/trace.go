package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/internal/fault"
)

// Trace is what the cluster's processes say about the failpoints that they
// pass, and the way to stop them there.
type Trace struct{ dir string }

func newTrace(dir string) (*Trace, error) { return &Trace{dir}, os.MkdirAll(dir, 0o755) }

func (t *Trace) env() []string {
	return []string{"LEAT_FAILPOINTS=*=remote", "LEAT_FAILPOINTS_DIR=" + t.dir}
}

// Hit is one pass of a failpoint.
type Hit struct {
	At    time.Time
	PID   int
	Point fault.Point
}

// Hits returns all hits so far, in order.
func (t *Trace) Hits() ([]Hit, error) {
	b, err := os.ReadFile(filepath.Join(t.dir, "trace"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Hit
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || !strings.HasSuffix(line, "\n") {
			continue // cut off by a kill
		}
		nanos, err1 := strconv.ParseInt(f[0], 10, 64)
		pid, err2 := strconv.Atoi(f[1])
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("line %q of the trace is not understood", line)
		}
		out = append(out, Hit{time.Unix(0, nanos), pid, fault.Point(f[2])})
	}
	return out, nil
}

func (t *Trace) file(p fault.Point, what string) string {
	return filepath.Join(t.dir, string(p)+"."+what)
}

// Crash lets the next process that passes p kill itself.
func (t *Trace) Crash(p fault.Point) error { return os.WriteFile(t.file(p, "crash"), nil, 0o600) }

// AwaitCrash returns when a process has killed itself at p.
func (t *Trace) AwaitCrash(ctx context.Context, p fault.Point, limit time.Duration) error {
	return await(ctx, limit, func() error {
		if _, err := os.Stat(t.file(p, "crash")); err == nil {
			return fmt.Errorf("no process has passed %s", p)
		}
		return nil
	})
}

// Disarm takes back what Crash and Hold asked for.
func (t *Trace) Disarm() error {
	list, err := os.ReadDir(t.dir)
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.Name() != "trace" {
			if err := os.Remove(filepath.Join(t.dir, f.Name())); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}

// Hold makes processes wait at p, and returns when one does. Disarm lets them
// go on.
func (t *Trace) Hold(ctx context.Context, p fault.Point, limit time.Duration) error {
	old, err := t.Hits()
	if err != nil {
		return err
	}
	if err := os.WriteFile(t.file(p, "hold"), nil, 0o600); err != nil {
		return err
	}
	return await(ctx, limit, func() error {
		hits, err := t.Hits()
		if err != nil {
			return err
		}
		for _, h := range hits[len(old):] {
			if h.Point == p {
				return nil
			}
		}
		return fmt.Errorf("no process has passed %s", p)
	})
}

// Window is where in a checkpoint's life something happened.
type Window string

// The windows of a checkpoint.
const (
	Between    Window = "between"    // none is under way
	Preparing  Window = "preparing"  // some sink flushes, none has sealed
	Prepared   Window = "prepared"   // sealed, the manifest is not written
	Written    Window = "written"    // the manifest is written, the pointer not moved
	Moved      Window = "moved"      // the pointer has moved, no sink commits yet
	Committing Window = "committing" // some sink commits
	Recovering Window = "recovering" // sinks settle what an attempt before left
)

// Windows returns those that kills are aimed at, with the failpoint at which
// the cluster is held for it.
func Windows() map[Window]fault.Point {
	return map[Window]fault.Point{
		Preparing: fault.KafkaSinkBeforeFlush, Prepared: fault.WorkerBeforeAck, Written: fault.JobmasterBeforePointer,
		Moved: fault.JobmasterAfterPointer, Committing: fault.KafkaSinkBeforeCommit,
	}
}

// WindowAt returns the window in which the cluster was at a time, by what it
// had passed until then.
func WindowAt(hits []Hit, at time.Time) Window {
	w := Between
	open := 0 // sinks that have begun to commit and not ended
	for _, h := range hits {
		if h.At.After(at) {
			break
		}
		switch h.Point {
		case fault.KafkaSinkBeforeFlush, fault.KafkaSinkAfterFlush:
			if w != Prepared {
				w = Preparing
			}
		case fault.KafkaSinkAfterSeal, fault.WorkerBeforeUpload, fault.WorkerBeforeAck, fault.JobmasterBeforeManifest:
			w = Prepared
		case fault.JobmasterBeforePointer:
			w = Written
		case fault.JobmasterAfterPointer:
			w, open = Moved, 0
		case fault.KafkaSinkBeforeCommit:
			w = Committing
			open++
		case fault.KafkaSinkAfterCommit:
			if open--; open <= 0 {
				w = Between
			}
		case fault.KafkaSinkBeforeRecover, fault.KafkaSinkRecommitted:
			w = Recovering
		case fault.KafkaSinkAfterFence:
			w = Between
		}
	}
	return w
}
