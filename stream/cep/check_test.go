package cep_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/cep"
	"github.com/leatstream/leat/stream/streamtest"
)

// pay is a payment: the order of those of one time is that of N.
type pay struct {
	Card   string
	N      int64
	Cents  int64
	Millis int64
}

func cardOf(p pay) string   { return p.Card }
func payMillis(p pay) int64 { return p.Millis }
func small(p pay) bool      { return p.Cents < 300 }
func large(p pay) bool      { return p.Cents >= 700 }
func earlier(a, b pay) int  { return cmp.Or(cmp.Compare(a.Millis, b.Millis), cmp.Compare(a.N, b.N)) }
func tellPays(ps ...pay) string {
	text := ps[0].Card
	for _, p := range ps {
		text += fmt.Sprint(" ", p.N)
	}
	return text
}

const (
	payDisorder = 400
	payWithin   = 900
)

func randomPays(rng *rand.Rand, n int) []pay {
	out := make([]pay, n)
	for i := range out {
		out[i] = pay{string(rune('a' + rng.IntN(4))), int64(i), rng.Int64N(1000), int64(i)*40 + rng.Int64N(payDisorder)/20*20}
	}
	return out
}

func pays(b *streamtest.Bench, all []pay) *stream.KeyedStream[string, pay] {
	half := len(all) / 2
	return stream.KeyBy(streamtest.From(b, "pays",
		streamtest.Timed(payMillis, all[:half]...).WatermarkEach(payDisorder*time.Millisecond),
		streamtest.Timed(payMillis, all[half:]...).WatermarkEach(payDisorder*time.Millisecond)), cardOf)
}

// ofCards sorts the payments of each card.
func ofCards(all []pay) map[string][]pay {
	out := make(map[string][]pay)
	for _, p := range all {
		out[p.Card] = append(out[p.Card], p)
	}
	for _, ps := range out {
		slices.SortFunc(ps, earlier)
	}
	return out
}

// TestFollowedByManyWays compares with two loops: matches and what times out.
func TestFollowedByManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	all := randomPays(rand.New(rand.NewPCG(seed, 0)), 120)
	var want, timedOut []string
	for _, ps := range ofCards(all) {
		for i, s := range ps {
			if !small(s) {
				continue
			}
			after := ps[i+1:]
			j := slices.IndexFunc(after, func(p pay) bool { return large(p) || p.Millis-s.Millis >= payWithin })
			if j >= 0 && after[j].Millis-s.Millis < payWithin {
				want = append(want, tellPays(s, after[j]))
			} else {
				timedOut = append(timedOut, tellPays(s))
			}
		}
	}
	pattern := cep.Begin("small", small).FollowedBy("large", large).Within(payWithin * time.Millisecond)
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		found := cep.Detect(pays(b, all), pattern).OrderBy(earlier)
		streamtest.Expect(b, "matches", cep.Select(found, func(m cep.Match[pay]) string {
			return tellPays(m.First("small"), m.Last("large"))
		}, stream.UID("found")), want)
		streamtest.Expect(b, "timed out", cep.TimedOut(found, func(m cep.Match[pay]) string {
			return tellPays(m.First("small"))
		}), timedOut)
	}})
}

// TestSkippingManyWays compares with a loop: three in a row, none of them in
// two matches, and a small one that nothing large follows.
func TestSkippingManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	all := randomPays(rand.New(rand.NewPCG(seed, 0)), 120)
	var triples, alone []string
	for _, ps := range ofCards(all) {
		for i := 0; i+2 < len(ps); i++ {
			if !large(ps[i]) && !large(ps[i+1]) && !large(ps[i+2]) {
				triples = append(triples, tellPays(ps[i:i+3]...))
				i += 2
			}
		}
		for i, s := range ps {
			followed := slices.ContainsFunc(ps[i+1:], func(p pay) bool { return large(p) && p.Millis-s.Millis < payWithin })
			if small(s) && !followed {
				alone = append(alone, tellPays(s))
			}
		}
	}
	notLarge := func(p pay) bool { return !large(p) }
	three := cep.Begin("p", notLarge).Times(3).Consecutive().AfterMatch(cep.SkipPastLast())
	lone := cep.Begin("small", small).NotFollowedBy("large", large).Within(payWithin * time.Millisecond)
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		in := pays(b, all)
		streamtest.Expect(b, "triples", cep.Select(cep.Detect(in, three).OrderBy(earlier), func(m cep.Match[pay]) string {
			return tellPays(m.Rows("p")...)
		}, stream.UID("three")), triples)
		streamtest.Expect(b, "alone", cep.Select(cep.Detect(in, lone).OrderBy(earlier), func(m cep.Match[pay]) string {
			return tellPays(m.First("small"))
		}, stream.UID("lone")), alone)
	}})
}
