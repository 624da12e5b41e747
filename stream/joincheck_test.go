package stream_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// mark is a row with little in it.
type mark struct {
	Key    string
	N      int64
	Millis int64
}

func (m mark) String() string { return fmt.Sprintf("%s%d", m.Key, m.N) }

func markKey(m mark) string   { return m.Key }
func markMillis(m mark) int64 { return m.Millis }

// disorder is how far marks are out of order.
const disorder = 500

func randomMarks(rng *rand.Rand, n int) []mark {
	out := make([]mark, n)
	for i := range out {
		out[i] = mark{string(rune('a' + rng.IntN(4))), rng.Int64N(1000), int64(i)*40 + rng.Int64N(disorder)}
	}
	return out
}

// scripted is the marks as an input that is never late.
func scripted(b *streamtest.Bench, uid string, marks []mark) *stream.DataStream[mark] {
	half := len(marks) / 2
	return streamtest.From(b, uid,
		streamtest.Timed(markMillis, marks[:half]...).WatermarkEach(disorder*time.Millisecond),
		streamtest.Timed(markMillis, marks[half:]...).WatermarkEach(disorder*time.Millisecond))
}

func orNone(m *mark) string {
	if m == nil {
		return "none"
	}
	return m.String()
}

// TestIntervalJoinManyWays compares a full outer join with all pairs.
func TestIntervalJoinManyWays(t *testing.T) {
	t.Parallel()
	seed := streamtest.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	ls, rs := randomMarks(rng, 60), randomMarks(rng, 60)
	var want []string
	matched := make(map[int]bool)
	for _, l := range ls {
		alone := true
		for i, r := range rs {
			if d := r.Millis - l.Millis; l.Key == r.Key && d >= -100 && d <= 400 {
				want = append(want, l.String()+" "+r.String())
				alone, matched[i] = false, true
			}
		}
		if alone {
			want = append(want, l.String()+" none")
		}
	}
	for i, r := range rs {
		if !matched[i] {
			want = append(want, "none "+r.String())
		}
	}
	streamtest.Check(t, streamtest.Case{Seed: seed, Build: func(b *streamtest.Bench) {
		l, r := scripted(b, "left", ls), scripted(b, "right", rs)
		joined := stream.IntervalJoin(stream.KeyBy(l, markKey), stream.KeyBy(r, markKey),
			stream.Between(-100*time.Millisecond, 400*time.Millisecond),
			stream.FullOuter(func(l, r *mark) string { return orNone(l) + " " + orNone(r) }), stream.UID("join"))
		streamtest.Expect(b, "joined", joined, want)
	}})
}
