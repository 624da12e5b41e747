package stream_test

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// sessions counts the clicks of a user and tells of it once the user has been
// quiet for half a minute.
type sessions struct {
	count state.Value[int64]
	until state.Value[int64]
}

var large = stream.SideTag("large", "")

func (s *sessions) Open(ctx *stream.ProcessContext[string, string]) error {
	if err := s.count.Open(ctx.State(), "count"); err != nil {
		return err
	}
	return s.until.Open(ctx.State(), "until")
}

func (s *sessions) Process(ctx *stream.ProcessContext[string, string], c click) error {
	if c.N > 20 {
		stream.EmitSide(ctx, large, fmt.Sprint(ctx.Key(), " ", c.N))
	}
	if old, ok := s.until.Get(); ok {
		end := time.UnixMilli(old).UTC()
		ctx.ClearTimer(end)
		if !c.At.Before(end) { // the timer was due, but the watermark is not there yet
			s.close(ctx, end)
		}
	}
	n, _ := s.count.Get()
	s.count.Set(n + 1)
	end := c.At.Add(30 * time.Second)
	s.until.Set(end.UnixMilli())
	ctx.SetTimer(end)
	return nil
}

func (s *sessions) close(ctx *stream.ProcessContext[string, string], end time.Time) {
	n, _ := s.count.Get()
	ctx.Emit(fmt.Sprintf("%s %s: %d", end.Format("15:04:05"), ctx.Key(), n))
	s.count.Clear()
	s.until.Clear()
}

func (s *sessions) OnTimer(ctx *stream.ProcessContext[string, string], t stream.Timer) error {
	s.close(ctx, t.At)
	return nil
}

func ExampleProcess() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	show(env, stream.Process(byUser, &sessions{}, stream.UID("sessions")))
	// Output:
	// 00:00:35 ann: 1
	// 00:00:40 bob: 1
	// 00:01:31 ann: 2
	// 00:02:29 bob: 1
	// 00:02:40 ann: 1
}

func ExampleSide() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	ends := stream.Process(byUser, &sessions{}, stream.UID("sessions"))
	ends.To(collection.NewCollector(""), stream.UID("ends"))
	show(env, stream.Side(ends, large))
	// Output:
	// ann 32
}

func ExampleReduce() {
	env := stream.NewEnv()
	byUser := stream.KeyBy(from(env), func(c click) string { return c.User })
	sums := stream.Reduce(byUser, func(a, b click) click {
		a.N += b.N
		return a
	}, stream.UID("sums"))
	show(env, stream.Map(sums, func(c click) string { return fmt.Sprintf("%s %02d", c.User, c.N) }))
	// Output:
	// ann 01
	// ann 05
	// ann 13
	// ann 45
	// bob 02
	// bob 18
}
