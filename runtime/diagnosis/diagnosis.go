// Package diagnosis says why a job does not do what its user expects: which
// slots, failure, checkpoint, operator, key or source holds it up. It looks at
// two views of the job, a moment apart, and is pure: equal views give equal
// answers. It asks nobody and changes nothing.
package diagnosis

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/runtime/jobview"
)

// Severity ranks problems.
type Severity string

// Severities.
const (
	// Error: the job does not run, or its output does not come.
	Error Severity = "error"
	// Warning: it runs, and worse than it could.
	Warning Severity = "warning"
	// Note is no problem of the engine, but may be what the user looks for.
	Note Severity = "note"
)

// Problem is one finding.
type Problem struct {
	Rule     string // its name, stable
	Severity Severity
	What     string
	Where    string
	Why      string
	Fix      []string
}

// Sample is a view of the job at a time.
type Sample struct {
	Job jobview.Job
	At  time.Time
}

// Rules is the number of rules that Find applies.
const Rules = 8

// Find returns what is wrong, the likeliest cause first: what keeps a job from
// running goes before what slows it down. The samples are of one job, the
// second at least a report of its workers (a second) later.
func Find(before, after Sample) []Problem {
	l := &look{job: after.Job, now: after.At, since: after.At.Sub(before.At), flows: flowsOf(before.Job, after.Job)}
	for _, rule := range []func(){l.failed, l.crashLoop, l.notRunning, l.trouble, l.checkpoints, l.bottleneck, l.watermarks, l.noInput} {
		rule()
	}
	return l.found
}

type look struct {
	job   jobview.Job
	now   time.Time
	since time.Duration
	flows []flow // by vertex; nil when the views cannot be compared
	found []Problem
}

func (l *look) add(p Problem) { l.found = append(l.found, p) }

func (l *look) running() bool { return l.job.State == jobview.JobRunning }

// failed: the job has ended for good.
func (l *look) failed() {
	if l.job.State != jobview.JobFailed && l.job.State != jobview.JobFailing {
		return
	}
	p := Problem{Rule: "failed", Severity: Error, What: fmt.Sprintf("job %q is %s", l.job.Name, l.job.State), Why: l.job.StateReason,
		Fix: []string{"flinkctl job exceptions " + l.job.Name + " -v"}}
	if len(l.job.Exceptions) > 0 {
		e := l.job.Exceptions[0]
		p.Why, p.Where = e.Error.Error(), placeOf(e)
		p.Fix = append(append([]string(nil), e.Error.Fix...), p.Fix...)
	}
	l.add(p)
}

func placeOf(e jobview.Exception) string {
	var parts []string
	for _, s := range []string{e.Operator, e.Task, e.TaskManager, e.Record} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

const (
	// loopMin is how many failures alike are a loop, loopWithin how long ago
	// the oldest of them may be.
	loopMin    = 3
	loopWithin = 15 * time.Minute
)

// crashLoop: one failure comes again and again. With the same record each time
// it is that record.
func (l *look) crashLoop() {
	if len(l.job.Exceptions) < loopMin || l.job.State.Terminal() {
		return
	}
	last := l.job.Exceptions[0]
	n, sameRecord := 0, 0
	for _, e := range l.job.Exceptions {
		if l.now.Sub(e.Time) > loopWithin || e.Error.Code != last.Error.Code || e.Operator != last.Operator {
			continue
		}
		n++
		if e.Record != "" && e.Record == last.Record {
			sameRecord++
		}
	}
	if n < loopMin {
		return
	}
	p := Problem{Rule: "crash-loop", Severity: Error, What: fmt.Sprintf("job %q has failed %d times alike within %s", l.job.Name, n, loopWithin),
		Where: placeOf(last), Why: last.Error.Error(), Fix: last.Error.Fix}
	if sameRecord >= loopMin {
		p.What = fmt.Sprintf("job %q fails each time at the same record: %s", l.job.Name, last.Record)
		p.Fix = []string{"take such records out of the way: stream.OnError(stream.ToDeadLetters) or stream.SkipRecord (docs/guides/errors.md)",
			"correct the program: flinkctl job upgrade " + l.job.Name + " NEW.bundle"}
	}
	l.add(p)
}

// notRunning: it waits for something, which it says itself.
func (l *look) notRunning() {
	if l.running() || l.job.State.Terminal() || l.job.State == jobview.JobFailing {
		return
	}
	since := ""
	if at, ok := l.job.StateSince[l.job.State]; ok {
		since = fmt.Sprintf(" since %s (%s)", at.UTC().Format(time.TimeOnly), l.now.Sub(at).Round(time.Second))
	}
	p := Problem{Rule: "not-running", Severity: Error, What: fmt.Sprintf("job %q is %s%s", l.job.Name, l.job.State, since), Why: l.job.StateReason}
	if strings.Contains(l.job.StateReason, "LEAT2101") {
		p.Rule = "no-slots"
		p.Fix = []string{"start another taskmanager", fmt.Sprintf("flinkctl job rescale %s N, with fewer; or auto", l.job.Name), "flinkctl job list shows who holds the others"}
	}
	l.add(p)
}

// trouble: something outside is tried again.
func (l *look) trouble() {
	if l.running() && l.job.StateReason != "" {
		l.add(Problem{Rule: "trouble", Severity: Error, What: fmt.Sprintf("job %q runs, but not all of it", l.job.Name), Why: l.job.StateReason})
	}
}

// A checkpoint is late when the last one is older than lateIntervals of the
// job's intervals, and than lateMin.
const (
	lateIntervals = 10
	lateMin       = 30 * time.Second
)

// checkpoints: exactly-once output becomes visible by them alone.
func (l *look) checkpoints() {
	every := l.job.Config.CheckpointInterval
	if !l.running() || every <= 0 {
		return
	}
	last := l.job.StateSince[jobview.JobRunning]
	if c := l.job.Checkpoints.Latest; c != nil && c.Completed.After(last) {
		last = c.Completed
	}
	age := l.now.Sub(last)
	if last.IsZero() || age <= max(lateIntervals*every, lateMin) {
		return
	}
	p := Problem{Rule: "checkpoints", Severity: Error, Fix: []string{"flinkctl checkpoint list " + l.job.Name},
		What: fmt.Sprintf("job %q has completed no checkpoint for %s, its interval is %s: exactly-once output does not come", l.job.Name, age.Round(time.Second), every)}
	if f := l.job.Checkpoints.LastFailed; f != nil && f.Completed.After(last) {
		p.Why = fmt.Sprintf("checkpoint %d: %s", f.ID, f.Failure)
	}
	for _, c := range l.job.Checkpoints.History {
		if c.Status == "IN_PROGRESS" {
			p.Why = strings.TrimPrefix(p.Why+fmt.Sprintf("; checkpoint %d is under way for %s: %d of %d subtasks have acknowledged it",
				c.ID, l.now.Sub(c.Triggered).Round(time.Second), c.Acked, c.Subtasks), "; ")
		}
	}
	p.Why = cmp.Or(p.Why, "none was begun")
	l.add(p)
}
