package cepop_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/operators/cepop"
)

// The reference knows no automaton: it writes out all sequences of steps that
// a pattern stands for, puts each over the events in all ways, and looks at
// the events between.

// guard is something that the events before an item must not do.
type guard struct {
	// next: only the event right after counts; taken: only the item's own.
	next, taken bool
	cond, until cepop.Cond[ev]
}

// item is a step to be taken by one event.
type item struct {
	step   *cepop.Step[ev]
	after  cepop.Contiguity
	gap    int64
	guards []guard
	// owner and round say of which repetition it is the first event.
	owner *cepop.Step[ev]
	round int
}

// word is a sequence of items and what guards that which comes next.
type word struct {
	items   []item
	pending []guard
}

func (w word) with(it item) word {
	it.guards = slices.Concat(w.pending, it.guards)
	return word{items: append(slices.Clip(w.items), it)}
}

// writer writes patterns out, up to a number of events.
type writer struct{ most int }

func (wr writer) sequence(steps []cepop.Step[ev], from []word, head func(*item)) []word {
	for i := range steps {
		s := &steps[i]
		if s.Not {
			for j := range from {
				from[j] = forbid(from[j], s, &steps[prevOf(steps, i)])
			}
			continue
		}
		h := head
		if i > 0 {
			h = func(*item) {}
		}
		from = wr.step(s, from, h)
	}
	return from
}

func prevOf(steps []cepop.Step[ev], i int) int {
	for i--; steps[i].Not; i-- {
	}
	return i
}

// forbid guards what comes, and the repetitions of the step before.
func forbid(w word, s, before *cepop.Step[ev]) word {
	g := guard{next: s.After == cepop.Strict, cond: s.When}
	items := slices.Clone(w.items)
	for i := range items {
		it := &items[i]
		if it.owner == before && it.round > 1 && (!g.next || it.round > max(before.Min, 1)) {
			it.guards = append(slices.Clip(it.guards), g)
		}
	}
	return word{items, append(slices.Clip(w.pending), g)}
}

func (wr writer) step(s *cepop.Step[ev], from []word, head func(*item)) (out []word) {
	least, most := max(s.Min, 1), s.Max
	if s.Min == 0 && s.Max == 0 {
		most = 1
	}
	if most == 0 {
		most = wr.most
	}
	stay := []guard{}
	if s.Greedy {
		stay = append(stay, guard{cond: s.When, until: s.Until})
	}
	cur := from
	for n := 1; n <= most && len(cur) > 0; n++ {
		first := func(it *item) {
			if n > 1 {
				it.after = s.Inner
			} else if s.Group != nil {
				it.after = s.After
			}
			if s.Gap > 0 && (it.gap == 0 || s.Gap < it.gap) {
				it.gap = s.Gap
			}
			if n == 1 {
				head(it)
			}
		}
		cur = wr.once(s, cur, n, first)
		if n < least {
			continue
		}
		for _, w := range cur {
			if n < most || s.Max == 0 && s.Min > 0 {
				w.pending = slices.Concat(w.pending, stay)
			}
			out = append(out, w)
		}
	}
	if s.Optional && !empty(s.Group) {
		for _, w := range from {
			w.pending = slices.Concat(w.pending, stay)
			out = append(out, w)
		}
	}
	return out
}

// empty says whether a group can be left out since all of it can.
func empty(group []cepop.Step[ev]) bool {
	return len(group) > 0 && !slices.ContainsFunc(group, func(s cepop.Step[ev]) bool { return !s.Optional && !empty(s.Group) })
}

// once writes one repetition after each word.
func (wr writer) once(s *cepop.Step[ev], from []word, n int, head func(*item)) (out []word) {
	for _, w := range from {
		if len(w.items) >= wr.most {
			continue
		}
		var next []word
		if s.Group == nil {
			it := item{step: s, after: s.After, gap: s.Gap}
			head(&it)
			next = []word{w.with(it)}
		} else {
			next = wr.sequence(s.Group, []word{w}, head)
		}
		for _, x := range next {
			x.items = slices.Clone(x.items)
			begin := len(w.items)
			if begin == len(x.items) {
				out = append(out, x)
				continue
			}
			for i := begin; i < len(x.items) && s.Until != nil; i++ {
				it := &x.items[i]
				g := guard{cond: s.Until, taken: i == begin && n == 1}
				it.guards = append(slices.Clip(it.guards), g)
			}
			x.items[begin].owner, x.items[begin].round = s, n
			out = append(out, x)
		}
	}
	return out
}

// hit is a match of the reference.
type hit struct {
	at    []int // events
	done  float64
	names string
}

// reference finds all matches of p in events.
func reference(p cepop.Pattern[ev], in []ev) []hit {
	steps := p.Steps
	var nots []cepop.Step[ev]
	for len(steps) > 1 && steps[len(steps)-1].Not {
		nots = append([]cepop.Step[ev]{steps[len(steps)-1]}, nots...)
		steps = steps[:len(steps)-1]
	}
	words := writer{len(in)}.sequence(steps, []word{{}}, func(*item) {})
	found := make(map[string]hit)
	for n, w := range words {
		w.pending = nil
		for i := range nots {
			w = forbid(w, &nots[i], &steps[len(steps)-1])
		}
		if len(w.items) == 0 {
			continue
		}
		r := &placer{p: p, in: in, w: w, word: n, nots: nots, found: found}
		r.place(0, nil)
	}
	var out []hit
	for _, h := range found {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.at[0], b.at[0]), cmp.Compare(a.done, b.done), longestFirst(a.at, b.at), cmp.Compare(a.names, b.names))
	})
	return skipped(p, out)
}

// longestFirst orders as a match is found: earlier events, then longer.
func longestFirst(a, b []int) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] - b[i]
		}
	}
	return len(b) - len(a)
}

// skipped applies the skip strategy to all matches.
func skipped(p cepop.Pattern[ev], all []hit) (out []hit) {
	for len(all) > 0 {
		h := all[0]
		all = all[1:]
		out = append(out, h)
		bound := -1
		names := strings.Fields(h.names)
		switch p.Skip.Mode {
		case cepop.SkipNone:
		case cepop.SkipToNext:
			bound = h.at[0] + 1
		case cepop.SkipPastLast:
			bound = h.at[len(h.at)-1] + 1
		case cepop.SkipToFirst:
			if i := slices.Index(names, p.Skip.Name); i >= 0 {
				bound = h.at[i]
			}
		case cepop.SkipToLast:
			for i, n := range names {
				if n == p.Skip.Name {
					bound = h.at[i]
				}
			}
		}
		all = slices.DeleteFunc(all, func(x hit) bool { return x.at[0] < bound })
	}
	return out
}

// placer puts one word over the events.
type placer struct {
	p     cepop.Pattern[ev]
	in    []ev
	w     word
	word  int
	nots  []cepop.Step[ev]
	found map[string]hit
}

var nothing cepop.Match[ev]

func fits(c cepop.Cond[ev], e *ev) bool { return c == nil || c(e, nothing) }

func (r *placer) place(i int, at []int) {
	if i == len(r.w.items) {
		r.whole(at)
		return
	}
	from := 0
	if i > 0 {
		from = at[i-1] + 1
	}
	for q := from; q < len(r.in); q++ {
		if r.may(&r.w.items[i], at, q) {
			r.place(i+1, append(slices.Clip(at), q))
		}
	}
}

// may says whether event q may be taken as it after the events at.
func (r *placer) may(it *item, at []int, q int) bool {
	if !fits(it.step.When, &r.in[q]) {
		return false
	}
	p := q - 1
	if len(at) > 0 {
		p = at[len(at)-1]
		if r.p.Within > 0 && r.in[q].Time-r.in[at[0]].Time >= r.p.Within {
			return false
		}
		if it.gap > 0 && r.in[q].Time-r.in[p].Time >= it.gap {
			return false
		}
	}
	for j := p + 1; j < q; j++ {
		if it.after == cepop.Strict || it.after == cepop.Relaxed && fits(it.step.When, &r.in[j]) {
			return false
		}
	}
	for _, g := range it.guards {
		first := len(at) == 0 && g.until == nil && !g.taken && !isStay(g, r.p.Steps)
		if first {
			continue // there is no event before to count from
		}
		if r.broken(g, p, q) {
			return false
		}
	}
	return true
}

// isStay tells the guard of a greedy step, which counts at the start, too.
func isStay(g guard, steps []cepop.Step[ev]) bool { return !g.next && g.cond != nil && greedy(steps) }

func greedy(steps []cepop.Step[ev]) bool {
	return slices.ContainsFunc(steps, func(s cepop.Step[ev]) bool { return s.Greedy || greedy(s.Group) })
}

// broken says whether the events after p, up to q, break a guard.
func (r *placer) broken(g guard, p, q int) bool {
	for j := p + 1; j <= q; j++ {
		e := &r.in[j]
		if g.until != nil && g.until(e, nothing) {
			return false
		}
		if g.next && j > p+1 || g.taken && j < q {
			continue
		}
		if fits(g.cond, e) {
			return true
		}
	}
	return false
}

// whole notes a match, unless what must not come at the end does.
func (r *placer) whole(at []int) {
	last := at[len(at)-1]
	done := float64(last)
	timed := slices.ContainsFunc(r.nots, func(s cepop.Step[ev]) bool { return s.After != cepop.Strict })
	limit := len(r.in)
	if r.p.Within > 0 {
		limit = slices.IndexFunc(r.in, func(e ev) bool { return e.Time-r.in[at[0]].Time >= r.p.Within })
		if limit < 0 {
			limit = len(r.in)
		}
	}
	switch {
	case timed:
		for _, g := range r.w.pending {
			if last+1 < limit && r.broken(g, last, limit-1) {
				return
			}
		}
		done = float64(limit) - 0.5
	case len(r.nots) > 0:
		if last+1 >= limit {
			return
		}
		for _, g := range r.w.pending {
			if r.broken(g, last, last+1) {
				return
			}
		}
		done = float64(last + 1)
	}
	var names []string
	for i := range at {
		names = append(names, r.w.items[i].step.Name)
	}
	h := hit{at: at, done: done, names: strings.Join(names, " ")}
	// Two ways to repeat are two matches, even of the same events.
	r.found[fmt.Sprint(at, r.word)] = h
}

// randomPattern returns a pattern of a few steps over the kinds a to d.
func randomPattern(rng *rand.Rand) string {
	n := 0
	var sb strings.Builder
	var seq func(depth int)
	seq = func(depth int) {
		optional := false
		steps := 1 + rng.IntN(3)
		for i := range steps {
			if i > 0 {
				sb.WriteString([]string{" > ", " >> ", " >>> "}[rng.IntN(3)])
			}
			n++
			name := fmt.Sprintf("%c%d", 'a'+rune(rng.IntN(4)), n)
			last := i == steps-1
			if i > 0 && !optional && rng.IntN(6) == 0 && (depth == 0 || !last) {
				sb.WriteString("!" + name)
				continue
			}
			group := depth == 0 && rng.IntN(6) == 0
			if group {
				sb.WriteByte('(')
				seq(depth + 1)
				sb.WriteByte(')')
			} else {
				sb.WriteString(name)
			}
			optional = quantify(rng, &sb, group)
		}
	}
	seq(0)
	sb.WriteString(";")
	if rng.IntN(3) == 0 {
		fmt.Fprintf(&sb, " within %d", 2+rng.IntN(8))
	}
	return sb.String()
}

func quantify(rng *rand.Rand, sb *strings.Builder, group bool) (optional bool) {
	q := []string{"", "", "", "+", "*", "?", "{2}", "{1,2}", "{2,3}", "{2,}"}[rng.IntN(10)]
	sb.WriteString(q)
	loop := q != "" && q != "?"
	if loop {
		sb.WriteString([]string{"", "/strict", "/any"}[rng.IntN(3)])
	}
	if loop && !group && rng.IntN(4) == 0 {
		sb.WriteString("/greedy")
	}
	if strings.HasSuffix(q, ",}") || q == "+" || q == "*" {
		if rng.IntN(4) == 0 {
			fmt.Fprintf(sb, "/until=%c", 'a'+rune(rng.IntN(4)))
		}
	}
	if rng.IntN(12) == 0 {
		fmt.Fprintf(sb, "/gap=%d", 1+rng.IntN(4))
	}
	return q == "*" || q == "?"
}

func randomEvents(rng *rand.Rand) (out []ev) {
	at := int64(10)
	for i := range 3 + rng.IntN(6) {
		out = append(out, ev{fmt.Sprintf("%c%d", 'a'+rune(rng.IntN(4)), i), at})
		at += int64(rng.IntN(3))
	}
	return out
}

// TestAgainstReference compares random patterns over random events with all
// ways to put them there, with the state written and read between any two.
func TestAgainstReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 7))
	patterns, matches := 0, 0
	for patterns < 2000 {
		shape := randomPattern(rng)
		p := pattern(t, shape)
		a, faults := cepop.Compile(p)
		if len(faults) > 0 {
			continue // one that the rules refuse
		}
		patterns++
		for range 4 {
			in := randomEvents(rng)
			matches += compareWith(t, shape, p, a, in, rng.IntN(2) == 0)
		}
	}
	if matches < patterns {
		t.Errorf("%d patterns had only %d matches: the test shows nothing", patterns, matches)
	}
}

func compareWith(t *testing.T, shape string, p cepop.Pattern[ev], a *cepop.Automaton[ev], in []ev, reload bool) int {
	t.Helper()
	f := newFinder(t, a)
	for _, e := range in {
		f.step(e)
		if reload {
			f.reload()
		}
	}
	if err := f.m.Advance(1 << 40); err != nil {
		t.Fatal(err)
	}
	if err := f.m.Finish(1 << 40); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, h := range reference(p, in) {
		var names []string
		for _, i := range h.at {
			names = append(names, in[i].Name)
		}
		want = append(want, strings.Join(names, " "))
	}
	got := slices.Clone(f.matches)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%s over %v\n got %q\nwant %q", shape, in, got, want)
	}
	return len(got)
}
