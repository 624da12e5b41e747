package cepop_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/operators/cepop"
)

// TestTimeouts compares what runs out of time, and when nothing is left.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pattern, in, matches, timedOut string }{
		{"a >> b; within 5", "a1@1 x@3 b1@5", "a1 b1", ""},
		{"a >> b; within 5", "a1@1 x@3 b1@6", "", "a1"},
		{"a >> b >> c; within 5", "a1@1 b1@2 a2@3 c1@7 x@9", "", "a1 b1 | a2"},
		{"a >> b > !c; within 5", "a1@1 b1@2 x@9", "", "a1 b1"},
		{"a >> !b; within 5", "a1@1 x@2 a2@3 b1@7", "a1", ""},
		{"a >> !b >> c; within 5", "a1@1 b1@2 c1@3", "", ""},
		// What was a match is no partial one any more.
		{"a >> b+; within 5", "a1@1 b1@2 x@9", "a1 b1", ""},
		{"a >>> b+; within 5", "a1@1 b1@2 x@9", "a1 b1", "a1"},
		{"a > b+; within 5", "a1@1 b1@2 x@9", "a1 b1", ""},
		// Between two events.
		{"a >> b/gap=3 >> c", "a1@1 b1@3 c1@99", "a1 b1 c1", ""},
		{"a >> b/gap=3 >> c", "a1@1 b1@4 c1@99", "", "a1"},
		{"a >> b+/gap=3 >> c/gap=4", "a1@1 b1@3 b2@5 c1@8", "a1 b1 b2 c1", "a1 b1"},
		{"a >> b? >> c/gap=4", "a1@1 b1@9 c1@10", "a1 b1 c1", ""},
	} {
		matches, timedOut, _ := find(t, c.pattern, c.in)
		if want := lines(c.matches); !slices.Equal(matches, want) {
			t.Errorf("%s over %s: matches %q, want %q", c.pattern, c.in, matches, want)
		}
		if want := lines(c.timedOut); !slices.Equal(timedOut, want) {
			t.Errorf("%s over %s: timed out %q, want %q", c.pattern, c.in, timedOut, want)
		}
	}
}

// TestNothingIsLeft wants no state when no partial match is possible.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, in string
		left        bool
	}{
		{"a > b", "a1 x", false},
		{"a > b", "a1", true},
		{"a >> b", "a1 b1", false},
		{"a >>> b", "a1 b1", true},
		{"a >> b+/strict >> c", "a1 b1 c1", false},
		{"a >> b+ >> c", "a1 b1 c1", true}, // another b may come
		{"a >> b+/until=c >> c", "a1 b1 b2 c1", false},
		{"a >> !x >> b", "a1 x", false},
		{"a >> b; within 5", "a1@1 x@6", false},
		{"a >> b/gap=5", "a1@1 x@6", false},
		{"a{2}; skip past", "a1 a2 a3 a4", false},
		{"a >>> b; skip past", "a1 a2 b1", false},
	} {
		if _, _, left := find(t, c.pattern, c.in); left != c.left {
			t.Errorf("%s over %s: something is left: %t, want %t", c.pattern, c.in, left, c.left)
		}
	}
}

// TestStateIsShared wants state that grows with events, not with matches times
// their length.
func TestStateIsShared(t *testing.T) {
	t.Parallel()
	size := func(n int) int {
		f := newFinder(t, compile(t, pattern(t, "a >> b+ >> c")))
		f.step(ev{"a1", 1})
		for i := range n {
			f.step(ev{"b" + strings.Repeat("1", 100), int64(i + 2)})
		}
		return len(f.m.Append(nil))
	}
	// 100 and 200 partial matches of 1 to 200 events of 100 bytes each.
	if small, large := size(100), size(200); large > 5*small/2 {
		t.Errorf("100 events take %d bytes, 200 take %d", small, large)
	}
}

// TestConditionsSeeTheMatch sums what a step has taken so far.
func TestConditionsSeeTheMatch(t *testing.T) {
	t.Parallel()
	p := pattern(t, "a >> b+/strict >> c")
	var seen []string
	p.Steps[1].When = func(e *ev, so cepop.Match[ev]) bool {
		if e.Name[0] != 'b' {
			return false
		}
		names := so.First("a").Name + "/"
		for _, r := range so.Rows("b") {
			names += r.Name
		}
		if so.Len("b") > 0 {
			names += "/" + so.Last("b").Name
		}
		seen = append(seen, names)
		return so.Len("b") < 2 && so.Len("none") == 0 && so.Rows("none") == nil && so.First("c") == (ev{}) && so.Time() == time.UnixMilli(e.Time).UTC()
	}
	f := newFinder(t, compile(t, p))
	for _, e := range events("a1 b1 b2 b3 c1") {
		f.step(e)
		f.reload()
	}
	if want := []string{"a1 b1 b2 c1", "a1 b1 c1"}; !slices.Equal(f.matches, want) {
		t.Errorf("matches %q, want %q", f.matches, want)
	}
	if want := []string{"a1/", "a1/b1/b1", "a1/b1b2/b2"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

func TestMatchTellsTimes(t *testing.T) {
	t.Parallel()
	a := compile(t, pattern(t, "a >> b > !c"))
	var got []int64
	m := cepop.NewMatcher(a, rows, 10, cepop.Sink[ev]{Found: func(x cepop.Match[ev]) {
		got = append(got, x.Start().UnixMilli(), x.End().UnixMilli(), x.Time().UnixMilli())
	}})
	for _, e := range events("a1@3 b1@5 x@9") {
		if err := m.Step(&e, rows.Append(nil, &e), e.Time); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{3, 5, 9}; !slices.Equal(got, want) {
		t.Errorf("start, end and time %v, want %v", got, want)
	}
}

func TestTooManyPartialMatches(t *testing.T) {
	t.Parallel()
	m := cepop.NewMatcher(compile(t, pattern(t, "a+/any >> b")), rows, 20, cepop.Sink[ev]{})
	var err error
	n := 0
	for ; err == nil && n < 10; n++ {
		e := ev{"a1", int64(n)}
		err = m.Step(&e, rows.Append(nil, &e), e.Time)
	}
	if err == nil || n != 5 || !strings.Contains(err.Error(), "too many partial matches: more than 20") {
		t.Errorf("after %d events: %v", n, err)
	}
}

// FuzzLoad wants an error for state that is damaged, and nothing worse.
func FuzzLoad(f *testing.F) {
	a := compile(f, pattern(f, "a >> b+/greedy/until=x >> c; within 100 skip past"))
	m := cepop.NewMatcher(a, rows, 1000, cepop.Sink[ev]{Found: func(x cepop.Match[ev]) { text(x) }})
	rng := rand.New(rand.NewPCG(1, 2))
	for _, e := range randomEvents(rng) {
		if err := m.Step(&e, rows.Append(nil, &e), e.Time); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(m.Append(nil))
	f.Add([]byte{1})
	f.Add(binary.AppendUvarint([]byte{1, 0}, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m.Load(b) != nil {
			return
		}
		again := m.Append(nil)
		if err := m.Load(again); err != nil {
			t.Fatalf("%x became %x: %v", b, again, err)
		}
	})
}
