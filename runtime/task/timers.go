package task

import (
	"container/heap"
	"math"
	"sync"
	"sync/atomic"
)

// TimersMax bounds the wall-clock timers of a task. Operators keep their
// keyed timers in state and ask for one wake-up at a time.
const TimersMax = 1 << 16

// timers holds what operators want to run at a wall time. at and cancel are
// safe from any goroutine; due belongs to the task's.
type timers struct {
	wake func()
	// first is the time of the first timer, noTimer without one: most steps
	// need to know no more.
	first atomic.Int64
	mu    sync.Mutex
	heap  timerHeap // guarded by mu
	seq   uint64    // guarded by mu
}

// noTimer is later than any timer.
const noTimer = math.MaxInt64

// note publishes the time of the first timer. mu is held.
func (ts *timers) note() {
	if len(ts.heap) == 0 {
		ts.first.Store(noTimer)
		return
	}
	ts.first.Store(ts.heap[0].millis)
}

type timer struct {
	millis int64
	seq    uint64 // equal times fire in the order they were set
	fn     func() error
	node   *node
	place  int // in the heap, -1 when out
}

// at adds a timer that is due once the wall time has passed millis. It
// reports false when there are too many.
func (ts *timers) at(n *node, millis int64, fn func() error) (cancel func(), ok bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.heap) >= TimersMax {
		return func() {}, false
	}
	ts.seq++
	tm := &timer{millis: millis, seq: ts.seq, fn: fn, node: n}
	heap.Push(&ts.heap, tm)
	ts.note()
	ts.wake()
	return func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if tm.place >= 0 {
			heap.Remove(&ts.heap, tm.place)
			ts.note()
		}
	}, true
}

// due removes and returns the first timer that lies before now, or nil. One
// that was set after upTo is not due yet.
func (ts *timers) due(nowMillis int64, upTo uint64) *timer {
	if ts.first.Load() >= nowMillis {
		return nil
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if len(ts.heap) == 0 || ts.heap[0].millis >= nowMillis || ts.heap[0].seq > upTo {
		return nil
	}
	tm, _ := heap.Pop(&ts.heap).(*timer)
	ts.note()
	return tm
}

// latest names the timer that was set last.
func (ts *timers) latest() uint64 {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.seq
}

// next returns the wall time in milliseconds at which a timer is due.
func (ts *timers) next() (millis int64, ok bool) {
	first := ts.first.Load()
	if first == noTimer {
		return 0, false
	}
	return first + 1, true
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if h[i].millis != h[j].millis {
		return h[i].millis < h[j].millis
	}
	return h[i].seq < h[j].seq
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements heap.Interface.
func (h *timerHeap) Push(x any) {
	tm, _ := x.(*timer)
	tm.place = len(*h)
	*h = append(*h, tm)
}

// Pop implements heap.Interface.
func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	tm := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	tm.place = -1
	return tm
}
