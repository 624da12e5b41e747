package connectortest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tape is a source of two splits of numbers, of which -1 is a bad record. With
// a fault it breaks one promise.
type tape struct {
	connectors.Typed[int]
	fault string
	made  int // how many were made before
	parts map[string][]int
	stop  chan struct{} // ends what a fault left behind
}

func (s *tape) is(fault string) bool { return s.fault == fault }

func (s *tape) Name() string { return "tape" }

func (s *tape) Detail() string {
	if s.is("detail changes") {
		return fmt.Sprint(s.made)
	}
	return ""
}

func (s *tape) Bounded() bool { return !s.is("says it is endless") }

func (s *tape) RowType() columnar.RowType {
	if s.is("another row type") {
		t, _ := columnar.TypeOf[string]()
		return t
	}
	t, _ := columnar.TypeOf[int]()
	return t
}

func (s *tape) Owner(id string, parallelism int) int {
	switch {
	case s.is("owner out of range"):
		return parallelism
	case s.is("owner changes"):
		return s.made % parallelism
	}
	return int(id[0]) % parallelism
}

func (s *tape) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if r := ctx.Restored; r != nil && !slices.Equal(r, []byte{1, 7}) && !s.is("takes any state") {
		return nil, fmt.Errorf("state %x", r)
	}
	return &tapeEnumerator{s, ctx.Restored != nil}, nil
}

type tapeEnumerator struct {
	*tape
	restored bool
}

func (e *tapeEnumerator) Discover(context.Context) ([]connectors.Split, error) {
	start := byte(0)
	if e.is("restored, it starts elsewhere") && e.restored {
		start = 1
	}
	out := []connectors.Split{{ID: "a", Position: []byte{1, start}}, {ID: "b", Position: []byte{1, start}}}
	switch {
	case e.is("finds a split twice"):
		out = append(out, out[0])
	case e.is("forgets a split"):
		out = out[:1]
	}
	return out, nil
}

func (e *tapeEnumerator) Interval() time.Duration { return 0 }

func (e *tapeEnumerator) Snapshot() ([]byte, error) {
	if e.is("no state") {
		return nil, nil
	}
	return []byte{1, 7}, nil
}

func (e *tapeEnumerator) Close() error { return nil }

func (s *tape) NewReader(ctx *connectors.ReaderContext) (connectors.Reader, error) {
	r := &tapeReader{tape: s, ctx: ctx, next: make(map[string]int), ended: make(map[string]bool)}
	if s.is("a goroutine stays") {
		go func() { <-s.stop }()
	}
	return r, nil
}

type tapeReader struct {
	*tape
	ctx   *connectors.ReaderContext
	ids   []string
	next  map[string]int
	ended map[string]bool
}

func (r *tapeReader) AddSplits(splits []connectors.Split) error {
	if r.is("takes splits once only") && len(r.ids) > 0 {
		return nil
	}
	for _, s := range splits {
		good := len(s.Position) == 2 && s.Position[0] == 1
		switch {
		case good:
			r.next[s.ID] = int(s.Position[1])
		case r.is("a bad position is the start"):
			r.next[s.ID] = 0
		default:
			return fmt.Errorf("position %x", s.Position)
		}
		r.ids = append(r.ids, s.ID)
	}
	return nil
}

// Next gives up to two records of the first split that has not ended.
func (r *tapeReader) Next() (connectors.Fetched, bool, error) {
	if r.is("never wakes") {
		return connectors.Fetched{}, false, nil
	}
	if r.is("panics") {
		panic("the tape is torn")
	}
	for _, id := range r.ids {
		if !r.ended[id] {
			return r.take(id)
		}
	}
	return connectors.Fetched{}, false, nil
}

func (r *tapeReader) take(id string) (connectors.Fetched, bool, error) {
	f := connectors.Fetched{Split: id}
	all := r.parts[id]
	from := r.next[id]
	to := min(from+2, len(all))
	var rows []int
	for i, v := range all[from:to] {
		if v != -1 {
			rows = append(rows, v)
			continue
		}
		if !r.ctx.DeadLetters && !r.is("always sets aside") {
			return f, false, errors.New("a bad record")
		}
		d := connectors.DeadLetter{Error: "it is bad", Topic: id, Offset: int64(from + i)}
		if r.is("no place") {
			d.Topic = ""
		}
		if !r.is("drops bad records") {
			f.Bad = append(f.Bad, d)
		}
	}
	if r.is("hands out its own memory") && len(f.Bad) == 0 {
		rows = all[from:to]
	}
	if r.is("loses a row") && from == 2 {
		rows = rows[:0]
	}
	if len(rows) > 0 {
		f.Batch = &columnar.Batch{Rows: rows}
	}
	if r.is("times do not fit") && f.Batch != nil {
		f.Batch.Times = []int64{}
	}
	r.next[id] = to
	if to == len(all) && !r.is("never ends") {
		r.ended[id], f.SplitEnd = true, true
	}
	return f, true, nil
}

func (r *tapeReader) Snapshot() []connectors.Split {
	var out []connectors.Split
	for _, id := range r.ids {
		if r.ended[id] && r.is("forgets what has ended") {
			continue
		}
		at := r.next[id]
		if r.is("one row ahead") {
			at = min(at+1, len(r.parts[id]))
		}
		if r.is("at the end it is at the start") && r.ended[id] {
			at = 0
		}
		out = append(out, connectors.Split{ID: id, Position: []byte{1, byte(at)}})
	}
	return out
}

func (r *tapeReader) Committed([]connectors.Split) {}

func (r *tapeReader) Close() error {
	if r.is("does not close") {
		return errors.New("it is stuck")
	}
	return nil
}

// sourceFaults says which checks find a fault, by a part of their message.
var sourceFaults = map[string]map[string]string{
	"detail changes":                {"describes itself the same each time": "Detail"},
	"another row type":              {"describes itself the same each time": "RowType"},
	"says it is endless":            {"describes itself the same each time": "Bounded"},
	"owner out of range":            {"gives each split to one subtask": "Owner of split"},
	"owner changes":                 {"gives each split to one subtask": "then"},
	"loses a row":                   {"reads everything once": "row 2 is 5"},
	"hands out its own memory":      {"reads everything once": "row 0 is 0"},
	"forgets a split":               {"reads everything once": `split "b": 0 rows`},
	"times do not fit":              {"reads everything once": "times"},
	"drops bad records":             {"reads everything once": "0 records were set aside, want 1"},
	"panics":                        {"reads everything once": "the tape is torn"},
	"takes splits once only":        {"takes splits one by one": "Wake was not called"},
	"one row ahead":                 {"goes on after any piece": "want", "moves splits between readers": "want"},
	"restored, it starts elsewhere": {"finds the same splits again": "restored, the splits"},
	"finds a split twice":           {"finds the same splits again": "twice"},
	"no state":                      {"finds the same splits again": "nil"},
	"forgets what has ended":        {"ends again what has ended": "holds 0 splits"},
	"at the end it is at the start": {"ends again what has ended": "rows"},
	"a bad position is the start":   {"refuses positions and states that it did not write": "was taken"},
	"takes any state":               {"refuses positions and states that it did not write": "state 0107"},
	"no place":                      {"sets bad records aside with their place": "no place"},
	"always sets aside":             {"sets bad records aside with their place": "nobody wants"},
	"a goroutine stays":             {"closes while it reads": "goroutines are left"},
	"does not close":                {"closes while it reads": "it is stuck"},
	"never wakes":                   {"reads everything once": "Wake was not called"},
}

func tapeCase(t *testing.T, fault string) connectortest.SourceCase[int] {
	t.Helper()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	made := 0
	parts := map[string][]int{"a": {1, 2, -1, 4, 5}, "b": {10, 11, 12}}
	return connectortest.SourceCase[int]{
		New: func() connectors.SourceOf[int] {
			made++
			return &tape{fault: fault, made: made, parts: parts, stop: stop}
		},
		Rows: map[string][]int{"a": {1, 2, 4, 5}, "b": {10, 11, 12}}, Bad: 1,
	}
}

func TestASoundSourcePasses(t *testing.T) {
	t.Parallel()
	connectortest.TestSource(t, tapeCase(t, ""))
}

// TestEachFaultOfASourceIsFound: no check is there that a broken source does
// not fail.
func TestEachFaultOfASourceIsFound(t *testing.T) {
	t.Parallel()
	checks := connectortest.SourceChecks(0)
	for fault, by := range sourceFaults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			finds(t, checks, tapeCase(t, fault), by)
		})
	}
	covers(t, checks, sourceFaults)
}

// finds runs the checks that are to find a fault.
func finds[C any](t *testing.T, checks []connectortest.Check[C], c C, by map[string]string) {
	t.Helper()
	for _, check := range checks {
		want, ok := by[check.Name]
		if waits := strings.Contains(want, "Wake") || strings.Contains(want, "Ready") || strings.Contains(want, "goroutines"); waits && testing.Short() {
			t.Skip("it takes seconds to be sure that nothing comes")
		}
		if !ok {
			continue
		}
		if err := check.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", check.Name, err, want)
		}
	}
}

func covers[C any](t *testing.T, checks []connectortest.Check[C], faults map[string]map[string]string) {
	t.Helper()
	names := make(map[string]bool)
	for _, check := range checks {
		names[check.Name] = true
	}
	found := make(map[string]bool)
	for fault, by := range faults {
		for name := range by {
			found[name] = true
			if !names[name] {
				t.Errorf("fault %q is to be found by %q, which is no check", fault, name)
			}
		}
	}
	for name := range names {
		if !found[name] {
			t.Errorf("no fault shows that %q can fail", name)
		}
	}
}
