package cases_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// datastreamPrograms are programs of Flink's examples.
func datastreamPrograms() map[string]program {
	return map[string]program{
		"wordcount":           wordCount,
		"count-news-clicks":   countNewsClicks,
		"session-windowing":   sessionWindowing,
		"top-speed-windowing": topSpeedWindowing,
		"e2e-stream-sql-kill": overThenJoin,
	}
}

type wordN struct {
	Word string
	N    int64
}

func (w wordN) key() string { return w.Word }

var nonWord = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// wordsOf counts the words of lines: each word's count so far.
func wordsOf(lines *stream.DataStream[string]) *stream.DataStream[wordN] {
	words := stream.FlatMap(lines, func(line string, emit func(wordN)) {
		for _, w := range nonWord.Split(strings.ToLower(line), -1) {
			if w != "" {
				emit(wordN{w, 1})
			}
		}
	})
	return stream.Reduce(stream.KeyBy(words, wordN.key), func(a, b wordN) wordN {
		a.N += b.N
		return a
	}, stream.UID("counts"))
}

// wordCount compares the last count of each word: a bounded run in Flink emits
// no other.
func wordCount(t *testing.T, c *file) {
	lines := c.lines(t, "input/text.txt")
	want := arrays(t, c, "expect/result.jsonl", func(w *wordN) []any { return []any{&w.Word, &w.N} })
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		half := len(lines) / 2
		in := streamtest.From(b, "lines", streamtest.Rows(lines[:half]...), streamtest.Rows(lines[half:]...))
		streamtest.ExpectTable(b, "out", wordsOf(in), wordN.key, nil, want)
	}})
}

type newsEvent struct {
	News   int64
	Millis int64
	Type   string
}

type newsClicks struct {
	News   int64
	Clicks int64
}

// clicksOfAnHour counts the clicks until an hour after publication.
type clicksOfAnHour struct {
	until  *state.Value[int64]
	clicks *state.List[int64] // their times
}

const hourMillis = 3_600_000

func (p *clicksOfAnHour) Open(ctx *stream.ProcessContext[int64, newsClicks]) (err error) {
	if p.until, err = state.NewValue[int64](ctx.State(), "until"); err != nil {
		return err
	}
	p.clicks, err = state.NewList[int64](ctx.State(), "clicks")
	return err
}

func (p *clicksOfAnHour) Process(ctx *stream.ProcessContext[int64, newsClicks], e newsEvent) error {
	if e.Type == "CLICK" {
		p.clicks.Add(e.Millis)
		return nil
	}
	p.until.Set(e.Millis + hourMillis)
	ctx.SetTimer(time.UnixMilli(e.Millis + hourMillis))
	return nil
}

func (p *clicksOfAnHour) OnTimer(ctx *stream.ProcessContext[int64, newsClicks], _ stream.Timer) error {
	until, _ := p.until.Get()
	n := int64(0)
	for at := range p.clicks.All() {
		if at <= until {
			n++
		}
	}
	ctx.Emit(newsClicks{ctx.Key(), n})
	p.until.Clear()
	p.clicks.Clear()
	return nil
}

func countNewsClicks(t *testing.T, c *file) {
	events := arrays(t, c, "input/events.jsonl", func(e *newsEvent) []any { return []any{&e.News, &e.Millis, &e.Type} })
	want := arrays(t, c, "expect/result.jsonl", func(n *newsClicks) []any { return []any{&n.News, &n.Clicks} })
	streamtest.Check(t, streamtest.Case{Build: func(b *streamtest.Bench) {
		// The input is out of order by more than the ten seconds of the
		// program; what its periodic watermark had passed by then depends on
		// the clock. As in a run over a file that is shorter than the period,
		// it comes at the end.
		in := streamtest.From(b, "events", streamtest.Timed(func(e newsEvent) int64 { return e.Millis }, events...))
		byNews := stream.KeyBy(in, func(e newsEvent) int64 { return e.News })
		streamtest.Expect(b, "out", stream.Process(byNews, &clicksOfAnHour{}, stream.UID("clicks")), want)
	}})
}
