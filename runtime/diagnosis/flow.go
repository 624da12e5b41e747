package diagnosis

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leatstream/leat/runtime/jobview"
)

// flow is what a vertex did between the two samples.
type flow struct {
	vertex   jobview.Vertex
	inputs   []int // vertices
	subtasks []rates
}

// rates are of one subtask: shares of the time, and rows.
type rates struct {
	busy, blocked float64
	in, out       int64
	known         bool // both samples have figures
}

// flowsOf compares two views; nil when they are not of one attempt.
func flowsOf(before, after jobview.Job) []flow {
	if before.Attempt != after.Attempt || after.Plan == nil || len(before.Vertices) != len(after.Vertices) || len(after.Vertices) != len(after.Plan.Vertices) {
		return nil
	}
	out := make([]flow, len(after.Vertices))
	for i, v := range after.Vertices {
		out[i].vertex = v
		for _, s := range after.Plan.Vertices[i].Inputs {
			out[i].inputs = append(out[i].inputs, after.Plan.Streams[s].From)
		}
		if len(before.Vertices[i].Subtasks) != len(v.Subtasks) {
			return nil
		}
		for n, s := range v.Subtasks {
			out[i].subtasks = append(out[i].subtasks, compare(before.Vertices[i].Subtasks[n], s))
		}
	}
	return out
}

func compare(b, a jobview.Subtask) rates {
	busy, blocked, idle := a.BusyMillis-b.BusyMillis, a.BackPressuredMillis-b.BackPressuredMillis, a.IdleMillis-b.IdleMillis
	total := float64(busy + blocked + idle)
	if total <= 0 {
		return rates{}
	}
	return rates{busy: float64(busy) / total, blocked: float64(blocked) / total, in: a.RecordsIn - b.RecordsIn, out: a.RecordsOut - b.RecordsOut, known: true}
}

// most returns the largest of what get says of the subtasks, and whose it is.
func (f flow) most(get func(rates) float64) (most float64, subtask int) {
	for i, r := range f.subtasks {
		if x := get(r); x > most {
			most, subtask = x, i
		}
	}
	return most, subtask
}

func busyOf(r rates) float64    { return r.busy }
func blockedOf(r rates) float64 { return r.blocked }

const (
	// saturated is the busy share from which a subtask is taken to do all that
	// it can, held the back-pressured share from which its producer waits for it.
	saturated = 0.8
	held      = 0.3
	// skewed is how much more than the mean one subtask gets.
	skewed = 2.0
	// rowsMin is how many rows say something about their distribution.
	rowsMin = 100
)

// bottleneck: rows wait before a vertex. Of several the last is meant: the
// others wait for it.
func (l *look) bottleneck() {
	if !l.running() {
		return
	}
	for i := len(l.flows) - 1; i >= 0; i-- {
		f := l.flows[i]
		var from []string
		worst := 0.0
		for _, in := range f.inputs {
			if blocked, _ := l.flows[in].most(blockedOf); blocked >= held {
				from = append(from, fmt.Sprintf("%q (back-pressured %.0f %%)", l.flows[in].vertex.Name, 100*blocked))
				worst = max(worst, blocked)
			}
		}
		if own, _ := f.most(blockedOf); len(from) == 0 || own >= worst {
			continue // nothing waits here, or it waits itself
		}
		l.add(l.describe(f, from))
		return
	}
}

func (l *look) describe(f flow, from []string) Problem {
	busy, at := f.most(busyOf)
	s := f.vertex.Subtasks[at]
	p := Problem{Rule: "bottleneck", Severity: Warning, Where: fmt.Sprintf("subtask %d of vertex %q on %s", at, f.vertex.Name, s.TaskManager)}
	chain := fmt.Sprintf("what comes before waits for it: %s", strings.Join(from, ", "))
	if busy < saturated {
		p.Rule = "slow-outside"
		p.What = fmt.Sprintf("vertex %q takes rows slowly and is busy %.0f %% of the time only: it waits for something outside", f.vertex.Name, 100*busy)
		p.Why = chain
		p.Fix = []string{"look at the system that it writes to or asks: flinkctl logs " + l.job.Name}
		return p
	}
	p.What = fmt.Sprintf("vertex %q is saturated: busy %.0f %% of the time", f.vertex.Name, 100*busy)
	p.Why = chain
	p.Fix = []string{fmt.Sprintf("flinkctl job rescale %s --vertex %s=%d", l.job.Name, f.vertex.ID, 2*len(f.subtasks))}
	if times, sub, ok := f.skew(); ok {
		p.Rule = "skew"
		p.Where = fmt.Sprintf("subtask %d of vertex %q on %s", sub, f.vertex.Name, f.vertex.Subtasks[sub].TaskManager)
		p.What = fmt.Sprintf("vertex %q is skewed: subtask %d gets %.1f times as many rows as the mean", f.vertex.Name, sub, times)
		p.Fix = []string{"a key is much more frequent than others: split it, or aggregate in two steps; more parallelism does not help"}
	}
	return p
}

// skew returns how many times the mean the busiest subtask gets.
func (f flow) skew() (times float64, subtask int, ok bool) {
	var sum int64
	for _, r := range f.subtasks {
		sum += r.in
	}
	if len(f.subtasks) < 2 || sum < rowsMin {
		return 0, 0, false
	}
	most, at := f.most(func(r rates) float64 { return float64(r.in) })
	times = most * float64(len(f.subtasks)) / float64(sum)
	return times, at, times >= skewed
}

// apart is how far the event times of two subtasks of a source may be from
// each other before the later is said to hold windows back.
const apart = time.Minute

// watermarks: windows wait for the subtask of a source whose event time is
// least.
func (l *look) watermarks() {
	if !l.running() {
		return
	}
	for _, f := range l.flows {
		if len(f.inputs) > 0 || len(f.subtasks) < 2 {
			continue
		}
		low, high, at := int64(math.MaxInt64), int64(math.MinInt64), 0
		for i, s := range f.vertex.Subtasks {
			if s.State != "RUNNING" || s.Watermark == math.MinInt64 || s.Watermark == math.MaxInt64 {
				continue // not there yet, idle, or at its end
			}
			if s.Watermark < low {
				low, at = s.Watermark, i
			}
			high = max(high, s.Watermark)
		}
		if high == math.MinInt64 || high-low < apart.Milliseconds() {
			continue
		}
		l.add(Problem{Rule: "watermark", Severity: Warning,
			What:  fmt.Sprintf("event time is held back by one subtask of source %q: windows wait for it", f.vertex.Name),
			Where: fmt.Sprintf("subtask %d on %s", at, f.vertex.Subtasks[at].TaskManager),
			Why: fmt.Sprintf("it is at %s, another at %s: %s apart", clockTime(low), clockTime(high),
				(time.Duration(high-low) * time.Millisecond).Round(time.Second)),
			Fix: []string{"its split is behind, or its records are old: look at that partition", "a split that is quiet for long is taken out by itself (idleness)"}})
	}
}

func clockTime(millis int64) string { return time.UnixMilli(millis).UTC().Format(time.DateTime) }

// noInput: nothing is held up, nothing comes.
func (l *look) noInput() {
	if !l.running() || len(l.flows) == 0 || len(l.found) > 0 {
		return
	}
	var quiet []string
	for _, f := range l.flows {
		if len(f.inputs) > 0 {
			continue
		}
		for _, r := range f.subtasks {
			if !r.known || r.out > 0 || r.blocked > 0 {
				return
			}
		}
		quiet = append(quiet, fmt.Sprintf("%q", f.vertex.Name))
	}
	slices.Sort(quiet)
	l.add(Problem{Rule: "no-input", Severity: Note, What: fmt.Sprintf("no row came in within %s", l.since.Round(100*time.Millisecond)),
		Where: "sources " + strings.Join(quiet, ", "), Why: "the sources are not held up: there is nothing to read, or it is read from the wrong place",
		Fix: []string{"look whether the topic, path or offsets are the right ones"}})
}
