package cepop_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators/cepop"
)

// ev is an event of the tests: its kind is its first letter.
type ev struct {
	Name string
	Time int64
}

func kind(letter byte) cepop.Cond[ev] {
	return func(e *ev, _ cepop.Match[ev]) bool { return e.Name[0] == letter }
}

// named is kind for one letter, else that very name.
func named(word string) cepop.Cond[ev] {
	if len(word) == 1 {
		return kind(word[0])
	}
	return func(e *ev, _ cepop.Match[ev]) bool { return e.Name == word }
}

// parser reads patterns in the notation of the tests:
//
//	a > b      b right after a          a >> b    the first b after a
//	a >>> b    any b after a            a > !b    not b right after
//	a >> !b    not b after              (a > b)+  a group
//	+ * ? {n} {n,} {n,m}                repetition, with * for +?
//	/strict /any                        what lies between repetitions
//	/greedy /until=x /gap=n             and the other options
//
// A step is named by a letter, its kind, and digits. A "." is any event. What
// until names is a kind, or one event.
type parser struct {
	t  testing.TB
	in string
}

func (p *parser) fail(what string) { p.t.Fatalf("pattern: %s at %q", what, p.in) }

func (p *parser) eat(s string) bool {
	p.in = strings.TrimLeft(p.in, " ")
	if strings.HasPrefix(p.in, s) {
		p.in = p.in[len(s):]
		return true
	}
	return false
}

func (p *parser) sequence() (steps []cepop.Step[ev]) {
	after := cepop.Strict
	for {
		s := p.step()
		s.After = after
		steps = append(steps, s)
		switch {
		case p.eat(">>>"):
			after = cepop.Any
		case p.eat(">>"):
			after = cepop.Relaxed
		case p.eat(">"):
			after = cepop.Strict
		default:
			return steps
		}
	}
}

func (p *parser) word() string {
	n := 0
	for n < len(p.in) && strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789.", p.in[n]) >= 0 {
		n++
	}
	w := p.in[:n]
	p.in = p.in[n:]
	return w
}

func (p *parser) step() cepop.Step[ev] {
	s := cepop.Step[ev]{Inner: cepop.Relaxed}
	s.Not = p.eat("!")
	if p.eat("(") {
		s.Group = p.sequence()
		if !p.eat(")") {
			p.fail("no )")
		}
	} else {
		if s.Name = p.word(); s.Name == "" {
			p.fail("no name")
		}
		if s.Name[0] != '.' {
			s.When = kind(s.Name[0])
		}
	}
	p.options(&s)
	return s
}

func (p *parser) options(s *cepop.Step[ev]) {
	for {
		switch {
		case p.eat("+"):
			s.Min, s.Max = 1, 0
		case p.eat("*"):
			s.Min, s.Max, s.Optional = 1, 0, true
		case p.eat("?"):
			s.Optional = true
		case p.eat("{"):
			text, rest, _ := strings.Cut(p.in, "}")
			p.in = rest
			least, most, ranged := strings.Cut(text, ",")
			s.Min, _ = strconv.Atoi(least)
			s.Max, _ = strconv.Atoi(most)
			if !ranged {
				s.Max = s.Min
			}
			s.Optional = s.Optional || s.Min == 0
			s.Min = max(s.Min, 1)
		case p.eat("/strict"):
			s.Inner = cepop.Strict
		case p.eat("/any"):
			s.Inner = cepop.Any
		case p.eat("/greedy"):
			s.Greedy = true
		case p.eat("/until="):
			s.Until = named(p.word())
		case p.eat("/gap="):
			n, _ := strconv.Atoi(p.word())
			s.Gap = int64(n)
		default:
			return
		}
	}
}

// pattern reads a pattern; after a comma may come "within n" and "skip …".
func pattern(t testing.TB, text string) cepop.Pattern[ev] {
	text, options, _ := strings.Cut(text, ";")
	p := &parser{t, text}
	out := cepop.Pattern[ev]{Steps: p.sequence()}
	if strings.TrimSpace(p.in) != "" {
		p.fail("rest")
	}
	words := strings.Fields(options)
	for len(words) > 1 {
		switch words[0] {
		case "within":
			n, _ := strconv.Atoi(words[1])
			out.Within = int64(n)
		case "skip":
			mode, name, _ := strings.Cut(words[1], ":")
			out.Skip = cepop.Skip{Name: name, Mode: map[string]cepop.SkipMode{
				"next": cepop.SkipToNext, "past": cepop.SkipPastLast, "first": cepop.SkipToFirst, "last": cepop.SkipToLast,
			}[mode]}
		}
		words = words[2:]
	}
	return out
}

// events reads "a1 b1@7": names with times, which else go up by one.
func events(text string) (out []ev) {
	at := int64(0)
	for _, w := range strings.Fields(text) {
		name, time, ok := strings.Cut(w, "@")
		at++
		if ok {
			at, _ = strconv.ParseInt(time, 10, 64)
		}
		out = append(out, ev{name, at})
	}
	return out
}

func compile(t testing.TB, p cepop.Pattern[ev]) *cepop.Automaton[ev] {
	t.Helper()
	a, faults := cepop.Compile(p)
	if len(faults) > 0 {
		t.Fatalf("%s: %v", cepop.Describe(p), faults)
	}
	return a
}

var rows = func() *codec.Codec[ev] {
	c, err := codec.Of[ev]()
	if err != nil {
		panic(err)
	}
	return c
}()

// finder runs a matcher over events and notes what it finds, with the number
// of the event in work.
type finder struct {
	t        testing.TB
	a        *cepop.Automaton[ev]
	m        *cepop.Matcher[ev]
	matches  []string
	timedOut []string
	buf      []byte
}

func newFinder(t testing.TB, a *cepop.Automaton[ev]) *finder {
	f := &finder{t: t, a: a}
	f.m = cepop.NewMatcher(a, rows, 1<<20, cepop.Sink[ev]{
		Found:    func(x cepop.Match[ev]) { f.matches = append(f.matches, text(x)) },
		TimedOut: func(x cepop.Match[ev]) { f.timedOut = append(f.timedOut, text(x)) },
	})
	return f
}

func text(x cepop.Match[ev]) string {
	var names []string
	for _, e := range x.All() {
		names = append(names, e.Name)
	}
	return strings.Join(names, " ")
}

func (f *finder) step(e ev) {
	f.t.Helper()
	if err := f.m.Step(&e, rows.Append(nil, &e), e.Time); err != nil {
		f.t.Fatal(err)
	}
}

// reload writes the state and reads it with another matcher's memory.
func (f *finder) reload() {
	f.t.Helper()
	f.buf = f.m.Append(f.buf[:0])
	if err := f.m.Load(f.buf); err != nil {
		f.t.Fatal(err)
	}
	if again := f.m.Append(nil); string(again) != string(f.buf) {
		f.t.Fatalf("state %x became %x", f.buf, again)
	}
	if err := f.m.Load(f.buf); err != nil {
		f.t.Fatal(err)
	}
}

func find(t testing.TB, pat, in string) (matches, timedOut []string, left bool) {
	t.Helper()
	f := newFinder(t, compile(t, pattern(t, pat)))
	for _, e := range events(in) {
		f.step(e)
		f.reload()
	}
	return f.matches, f.timedOut, !f.m.Empty()
}

func lines(text string) []string {
	var out []string
	for _, s := range strings.Split(text, "|") {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			out = append(out, s)
		}
	}
	return out
}
