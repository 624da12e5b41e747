package streamtest_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// idleReference is what the Driver's contract says of splits, from scratch.
type idleReference struct {
	after, lag time.Duration
	splits     []idleSplit
	now        time.Duration // that has passed by Advance
	out        time.Time
}

type idleSplit struct {
	wm   time.Time
	last time.Duration // when it was last heard of
	idle bool          // by Idle
}

func (r *idleReference) settle() {
	var least, most time.Time
	active := false
	for _, s := range r.splits {
		if s.wm.After(most) {
			most = s.wm
		}
		if s.idle || r.after > 0 && r.now-s.last >= r.after {
			continue
		}
		if !active || s.wm.Before(least) {
			least = s.wm
		}
		active = true
	}
	wm := most
	if active {
		wm = least
	}
	if wm.After(r.out) {
		r.out = wm
	}
}

// advance goes in steps of a second, at each of which a split may fall silent.
func (r *idleReference) advance(d time.Duration) {
	for ; d > 0; d -= time.Second {
		r.now += time.Second
		r.settle()
	}
}

// TestDriverIdlenessFollowsTheReference: rows, time, Idle, new splits and
// restarts in any order.
func TestDriverIdlenessFollowsTheReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 12))
		ref := &idleReference{after: 20 * time.Second, lag: 3 * time.Second, splits: make([]idleSplit, 1)}
		strategy := stream.BoundedOutOfOrderness(ref.lag).WithIdleness(ref.after)
		switch seed % 4 {
		case 0:
			ref.after = 0
			strategy = strategy.WithIdleness(-1)
		case 1:
			ref.after = time.Minute
			strategy = stream.BoundedOutOfOrderness(ref.lag)
		}
		d := streamtest.NewDriver(t, quiet(streamtest.Source(visit{}), stream.Watermarks(strategy)))
		in := streamtest.Input(d, "visits", visit{})
		for step := range 80 {
			n := r.IntN(len(ref.splits))
			switch r.IntN(12) {
			case 0, 1:
				by := time.Duration(r.IntN(40)) * time.Second
				d.Advance(by)
				ref.advance(by)
			case 2:
				in.Split(n).Idle()
				ref.splits[n].idle = true
			case 3:
				d.Rescale(1 + r.IntN(3))
				for i := range ref.splits {
					ref.splits[i].last = ref.now
				}
			case 4:
				if len(ref.splits) < 4 {
					in.Split(len(ref.splits))
					ref.splits = append(ref.splits, idleSplit{last: ref.now})
				}
			default:
				at := sec(100 + 2*step + r.IntN(30))
				in.Split(n).Push(visit{"ann", at})
				s := &ref.splits[n]
				s.idle, s.last = false, ref.now
				if wm := at.Add(-ref.lag - time.Millisecond); wm.After(s.wm) {
					s.wm = wm
				}
			}
			ref.settle()
			got, ok := d.Watermark("quiet")
			if ok != !ref.out.IsZero() || ok && !got.Equal(ref.out) {
				t.Fatalf("seed %d, step %d: watermark %s %v, want %s", seed, step, got, ok, ref.out)
			}
		}
	}
}

// TestDriverSplits: the input itself speaks for all its splits, a split for
// itself, and time alone makes none idle that has explicit watermarks.
func TestDriverSplits(t *testing.T) {
	t.Parallel()
	d, in, out := newQuiet(t)
	in.Split(2).PushAt(sec(1), visit{"ann", sec(1)})
	in.Split(2).Watermark(sec(50))
	d.Advance(time.Hour)
	out.Take()
	if wm, ok := d.Watermark("quiet"); ok {
		t.Fatalf("watermark %s with two splits that said nothing", wm)
	}
	in.Split(0).Idle()
	in.Split(1).End()
	same(t, out.Take(), []string{"ann quiet after 1"})
	in.PushAt(sec(60), visit{"bob", sec(60)}) // split 0
	in.Watermark(sec(69))
	same(t, out.Len(), 0)
	in.Idle()
	in.Watermark(sec(70))
	same(t, out.Take(), []string{"bob quiet after 1"})
	in.End()
	for _, n := range []int{-1, 10_000, 3} {
		d, in, _ := newQuiet(t)
		if n == 3 {
			in.End()
		}
		if err := d.Catch(func() { in.Split(n) }); err == nil {
			t.Errorf("split %d is refused by nothing", n)
		}
	}
}

// TestDriverRestoresSplits: an older snapshot does not know the newer splits,
// which hold event time back as any that has just been found.
func TestDriverRestoresSplits(t *testing.T) {
	t.Parallel()
	d := streamtest.NewDriver(t, quiet(streamtest.Source(visit{}), stream.Watermarks(stream.Monotonous())))
	in := streamtest.Input(d, "visits", visit{})
	in.Push(visit{"ann", sec(100)})
	before := d.Snapshot()
	in.Split(1).Push(visit{"ann", sec(200)})
	in.Push(visit{"ann", sec(300)})
	d.Restore(before)
	wants := func(want time.Time) {
		t.Helper()
		if wm, _ := d.Watermark("quiet"); !wm.Equal(want.Add(-time.Millisecond)) {
			t.Fatalf("watermark %s, want %s", wm, want)
		}
	}
	wants(sec(100))
	in.Push(visit{"ann", sec(400)})
	wants(sec(100))
	in.Split(1).Push(visit{"ann", sec(150)})
	wants(sec(150))

	// A Driver that has no such split yet gets it by the snapshot.
	after := d.Snapshot()
	d = streamtest.NewDriver(t, quiet(streamtest.Source(visit{}), stream.Watermarks(stream.Monotonous())))
	in = streamtest.Input(d, "visits", visit{})
	d.Restore(after)
	in.Push(visit{"ann", sec(500)})
	wants(sec(150))
	d.Advance(time.Minute)
	wants(sec(500))
}
