package cepop_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/operators/cepop"
)

// randomChain returns a pattern whose steps are of different kinds, so that a
// match is found in one way only, and a skip strategy.
func randomChain(rng *rand.Rand) string {
	var sb strings.Builder
	steps := 2 + rng.IntN(3)
	for i := range steps {
		if i > 0 {
			sb.WriteString([]string{" > ", " >> ", " >>> "}[rng.IntN(3)])
		}
		name := string('a' + rune(i))
		if i > 0 && rng.IntN(8) == 0 && !strings.HasSuffix(sb.String(), "? ") {
			sb.WriteString("!x")
			if i == steps-1 {
				break
			}
			sb.WriteString(" >> ")
		}
		sb.WriteString(name)
		q := []string{"", "", "+", "{2}", "{1,3}", "{2,}"}[rng.IntN(6)]
		if q != "" {
			q += []string{"", "/strict", "/any", "/greedy"}[rng.IntN(4)]
		}
		sb.WriteString(q)
	}
	sb.WriteString(";")
	if rng.IntN(2) == 0 {
		fmt.Fprintf(&sb, " within %d", 3+rng.IntN(6))
	}
	name := string('a' + rune(rng.IntN(steps)))
	fmt.Fprintf(&sb, " skip %s", []string{"next", "past", "first:" + name, "last:" + name}[rng.IntN(4)])
	return sb.String()
}

// TestSkippingAgainstReference compares the matches that skip strategies
// leave with those that are left when all matches are known.
func TestSkippingAgainstReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 1))
	patterns, matches := 0, 0
	for patterns < 1500 {
		shape := randomChain(rng)
		p := pattern(t, shape)
		a, faults := cepop.Compile(p)
		if len(faults) > 0 {
			continue
		}
		patterns++
		for range 4 {
			var in []ev
			at := int64(10)
			for i := range 4 + rng.IntN(7) {
				in = append(in, ev{fmt.Sprintf("%c%d", "abcdaaabx"[rng.IntN(9)], i), at})
				at += int64(rng.IntN(3))
			}
			matches += compareWith(t, shape, p, a, in, rng.IntN(2) == 0)
		}
	}
	if matches < patterns/4 {
		t.Errorf("%d patterns had only %d matches: the test shows nothing", patterns, matches)
	}
}

func TestSkipOrFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pattern, in, want string }{
		{"a > b*/strict > c; skip first:b", "a c", `a match has no event of step "b" to skip to`},
		{"a > b*/strict > c; skip last:b", "a c", `a match has no event of step "b" to skip to`},
		{"a; skip first:a", "a1", `a match begins with step "a": to skip to there would find it for ever`},
	} {
		p := pattern(t, c.pattern)
		p.Skip.Strict = true
		f := newFinder(t, compile(t, p))
		var err error
		for _, e := range events(c.in) {
			if err == nil {
				err = f.m.Step(&e, rows.Append(nil, &e), e.Time)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s over %s: error %v, want %q", c.pattern, c.in, err, c.want)
		}
	}
}

// TestMatchesWait shows that a match waits for partial ones that began before,
// and comes when they are gone.
func TestMatchesWait(t *testing.T) {
	t.Parallel()
	f := newFinder(t, compile(t, pattern(t, "a >>> b{2} >> c; skip past")))
	run := func(in string) {
		for _, e := range events(in) {
			f.step(e)
			f.reload()
		}
	}
	run("a1 b1 a2 b2 b3 c")
	// All matches of a1 are of one start: the first of them ends the others.
	if want := []string{"a1 b1 b2 c"}; !slices.Equal(f.matches, want) {
		t.Fatalf("matches %q, want %q", f.matches, want)
	}
	if !f.m.Empty() {
		t.Error("something is left of the key")
	}
	// An a that sees one b only holds the next match back until time is up.
	f = newFinder(t, compile(t, pattern(t, "a >> b > c; within 10 skip past")))
	for _, e := range events("a1@1 a2@2") {
		f.step(e)
	}
	run("x@3")
	if f.m.Empty() || len(f.matches) > 0 {
		t.Errorf("empty %t, matches %q", f.m.Empty(), f.matches)
	}
}
