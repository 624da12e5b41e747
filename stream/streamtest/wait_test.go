package streamtest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/stream"
)

// slow hands each batch on from a goroutine of its own, one at a time, when
// let. Its watermark waits for it.
type slow struct {
	ctx  *operators.Context
	let  chan struct{}
	away int
	wait sync.WaitGroup
}

func (s *slow) Open(ctx *operators.Context) error {
	s.ctx = ctx
	return nil
}

func (s *slow) Process(_ int, b *columnar.Batch) error {
	if s.away++; s.away > 1 {
		return errors.New("a row came although there was no room")
	}
	s.wait.Go(func() {
		<-s.let
		s.ctx.Mail(func() error {
			s.away--
			s.ctx.Out.Emit(b)
			return nil
		})
	})
	return nil
}

func (s *slow) InputReady() bool              { return s.away == 0 }
func (s *slow) Watermark(int64) (bool, error) { return s.away == 0, nil }
func (s *slow) End() (bool, error)            { return s.away == 0, nil }

func (s *slow) Close() error { return nil }

// TestDriverWaitsForGoroutines: an operator that works elsewhere gets its
// results and is given no row before it has room.
func TestDriverWaitsForGoroutines(t *testing.T) {
	t.Parallel()
	env := stream.NewEnv()
	in := stream.From(env, Source(0), stream.UID("in"), ExplicitWatermarks())
	stream.Map(in, func(n int) int { return n }, stream.UID("slow"))
	d := NewDriver(t, env)
	op := &slow{let: make(chan struct{}, 10)}
	defer op.wait.Wait()
	d.run.standIn("slow", op)
	push, out := Input(d, "in", 0), Output(d, "slow", 0)
	push.Push(1)
	if out.Len() != 0 {
		t.Fatal("a row came out before it was let")
	}
	op.let <- struct{}{}
	out.Await(1)
	op.let <- struct{}{}
	op.let <- struct{}{}
	push.Push(2, 3)            // 3 waits for 2
	push.Watermark(time.Now()) // and the watermark for 3
	if got := out.Take(); len(got) != 3 {
		t.Fatalf("rows %v", got)
	}
	push.Push(4)
	d.run.waitMax = time.Millisecond
	if err := d.Catch(func() { out.Await(1) }); err == nil || !strings.Contains(err.Error(), "what the test awaits has not happened within 1ms") {
		t.Errorf("error %v", err)
	}
	op.let <- struct{}{}
}
