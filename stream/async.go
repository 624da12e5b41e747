package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/dataflow/graph"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/asyncio"
)

// AsyncOption sets an option of Async and AsyncFlat: an Option, a
// LookupOption but CacheFor, Unordered, or OnTimeout.
type AsyncOption interface{ applyAsync(*asyncConfig) }

// LookupOption sets an option of LookupJoin: an Option, Unordered, Capacity,
// Timeout, Retry, or CacheFor.
type LookupOption interface{ applyLookup(*asyncConfig) }

// RequestOption is an option of both Async and LookupJoin.
type RequestOption interface {
	AsyncOption
	LookupOption
}

// asyncConfig is what options say of an operator that asks.
type asyncConfig struct {
	unordered bool
	capacity  int
	timeout   time.Duration
	retry     asyncio.Retry
	fallback  any // func(T) (R, error)
	ttl       time.Duration
	entries   int
	cached    bool
	node      []Option
	faults    []string
}

func (o nodeOption) applyAsync(c *asyncConfig)  { c.node = append(c.node, o) }
func (o nodeOption) applyLookup(c *asyncConfig) { c.node = append(c.node, o) }

type requestOption func(*asyncConfig)

func (o requestOption) applyAsync(c *asyncConfig)  { o(c) }
func (o requestOption) applyLookup(c *asyncConfig) { o(c) }

type asyncOption func(*asyncConfig)

func (o asyncOption) applyAsync(c *asyncConfig) { o(c) }

type lookupOption func(*asyncConfig)

func (o lookupOption) applyLookup(c *asyncConfig) { o(c) }

func (c *asyncConfig) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// Unordered emits each answer as it comes, so that a slow one holds up no
// other. None overtakes a watermark. Without it answers are emitted in the
// order of their rows.
func Unordered() RequestOption {
	return requestOption(func(c *asyncConfig) { c.unordered = true })
}

// Capacity is how many rows a subtask has asked for and not yet emitted, at
// most: 100 by default. When it is reached the input waits.
func Capacity(n int) RequestOption {
	return requestOption(func(c *asyncConfig) {
		if n < 1 {
			c.fault("capacity %d is less than 1: nothing could be asked for", n)
		}
		c.capacity = n
	})
}

// Timeout bounds the time of each row, with all its attempts. When it is over
// the function's context ends, and the row has an error (OnError), or the
// answer of OnTimeout. By default there is no bound.
func Timeout(d time.Duration) RequestOption {
	return requestOption(func(c *asyncConfig) {
		if d <= 0 {
			c.fault("time-out %s is not positive: leave Timeout out to have none", d)
		}
		c.timeout = d
	})
}

// OnTimeout answers for a row whose Timeout is over. It must not block.
func OnTimeout[T, R any](fallback func(v T) (R, error)) AsyncOption {
	return asyncOption(func(c *asyncConfig) {
		if fallback == nil {
			c.fault("OnTimeout is given a nil function")
			return
		}
		c.fallback = fallback
	})
}

// Retry says that a request whose function returned an error is tried again.
type Retry struct {
	// Attempts is how often a row is asked for at most, the first included.
	Attempts int
	// Delay is the time before the second attempt, Factor (default 2) what it
	// is multiplied by before each further one, DelayMax (default a minute)
	// its bound.
	Delay    time.Duration
	Factor   float64
	DelayMax time.Duration
	// If says which errors are worth another attempt; nil: all.
	If func(error) bool
}

func (r Retry) applyAsync(c *asyncConfig)  { r.apply(c) }
func (r Retry) applyLookup(c *asyncConfig) { r.apply(c) }

func (r Retry) apply(c *asyncConfig) {
	switch {
	case r.Attempts < 1:
		c.fault("Retry has %d attempts: give at least 1, the first one included", r.Attempts)
	case r.Delay < 0 || r.DelayMax < 0:
		c.fault("Retry has a negative delay (%s, at most %s)", r.Delay, r.DelayMax)
	case r.Factor != 0 && !(r.Factor >= 1):
		c.fault("Retry has the factor %v: give 1 for equal delays, or more", r.Factor)
	}
	c.retry = asyncio.Retry(r)
}

// CacheFor keeps the answers of a LookupJoin, also that there is none, for ttl
// (by the wall clock), and entriesMax of them in each subtask: the one used
// longest ago goes first. Keys that are being looked up are not looked up again
// meanwhile. Errors are not kept. The cache is empty after a restart.
func CacheFor(ttl time.Duration, entriesMax int) LookupOption {
	return lookupOption(func(c *asyncConfig) {
		if ttl <= 0 {
			c.fault("the cache keeps answers for %s: give a positive time", ttl)
		}
		if entriesMax < 1 {
			c.fault("the cache has room for %d entries: give at least 1", entriesMax)
		}
		c.ttl, c.entries, c.cached = ttl, entriesMax, true
	})
}

// Async replaces each row by the answer of fn, which may take its time: each
// subtask asks for up to Capacity rows at once, in goroutines, so fn must be
// safe for concurrent use and should heed its context. Event times stay.
//
// Rows in flight are part of the checkpoint. After a restore fn is asked for
// them again, so that it may be called more than once for a row, while its
// answers go on exactly once. A watermark waits until the answers for the rows
// before it are out, and the rows after it wait as well. Errors of fn go the
// way of OnError; a panic fails the attempt. It is stateful.
func Async[T, R any](d *DataStream[T], fn func(ctx context.Context, v T) (R, error), opts ...AsyncOption) *DataStream[R] {
	emit := func(out *operators.Collector[R], _ T, t int64, a *R) { out.Add(*a, t) }
	return async(d, "async", callSite(), fn, emit, asyncOptions(opts))
}

// AsyncFlat is Async by a function that answers with any number of rows. They
// have the event time of the row that they are the answer for.
func AsyncFlat[T, R any](d *DataStream[T], fn func(ctx context.Context, v T) ([]R, error), opts ...AsyncOption) *DataStream[R] {
	emit := func(out *operators.Collector[R], _ T, t int64, a *[]R) {
		for i := range *a {
			out.Add((*a)[i], t)
		}
	}
	return async(d, "async-flat", callSite(), fn, emit, asyncOptions(opts))
}

// found is what a lookup answers.
type found[V any] struct {
	value V
	there bool
}

// LookupJoin joins each row with what lookup finds under its key somewhere
// outside, at that time; the value is nil when there is none. lookup is called
// as the function of Async is, join on the task's goroutine; the value may be
// that of other rows, too (CacheFor), and must not be changed.
func LookupJoin[T, V, R any, K comparable](d *DataStream[T], key func(T) K, lookup func(ctx context.Context, key K) (V, bool, error), join func(v T, with *V) R, opts ...LookupOption) *DataStream[R] {
	where := callSite()
	if key == nil || lookup == nil || join == nil {
		d.env.fail(where, "lookup-join is given a nil function: it needs one for key, lookup and join each")
	}
	c := &asyncConfig{}
	for _, o := range opts {
		o.applyLookup(c)
	}
	ask := func(ctx context.Context, v T) (f found[V], err error) {
		f.value, f.there, err = lookup(ctx, key(v))
		return f, err
	}
	emit := func(out *operators.Collector[R], v T, t int64, f *found[V]) {
		with := &f.value
		if !f.there {
			with = nil
		}
		out.Add(join(v, with), t)
	}
	s := asyncStep[T, found[V], R]{d: d, op: "lookup-join", where: where, cfg: asyncio.Config[T, found[V], R]{Ask: ask, Emit: emit}}
	if c.cached {
		keys, err := codec.Of[K]()
		if err != nil {
			d.env.fail(where, "the keys of a cache: %w", err)
		}
		s.cfg.Cache = func() asyncio.Cache[T, found[V]] {
			return asyncio.NewCache[K, T, found[V]](key, keys, c.ttl, c.entries)
		}
	}
	return s.add(c)
}

func asyncOptions(opts []AsyncOption) *asyncConfig {
	c := &asyncConfig{}
	for _, o := range opts {
		o.applyAsync(c)
	}
	return c
}

// async adds an operator by a function of the user's.
func async[T, A, R any](d *DataStream[T], op, where string, fn func(context.Context, T) (A, error), emit func(*operators.Collector[R], T, int64, *A), c *asyncConfig) *DataStream[R] {
	if fn == nil {
		d.env.fail(where, "%s is given a nil function", op)
	}
	s := asyncStep[T, A, R]{d: d, op: op, where: where, cfg: asyncio.Config[T, A, R]{Ask: fn, Emit: emit}}
	if c.fallback != nil {
		fallback, ok := c.fallback.(func(T) (A, error))
		if !ok {
			c.fault("OnTimeout is given a %T, but %s needs a %T", c.fallback, op, fallback)
		}
		if c.timeout == 0 {
			c.fault("OnTimeout is never asked: add stream.Timeout")
		}
		s.cfg.Fallback = fallback
	}
	return s.add(c)
}

// asyncStep is an operator that asks, before its options are applied.
type asyncStep[T, A, R any] struct {
	d         *DataStream[T]
	op, where string
	cfg       asyncio.Config[T, A, R]
}

func (s *asyncStep[T, A, R]) add(c *asyncConfig) *DataStream[R] {
	e := s.d.env
	for _, f := range c.faults {
		e.fail(s.where, "%s: %s", s.op, f)
	}
	s.cfg.Unordered, s.cfg.Capacity, s.cfg.Timeout, s.cfg.Retry = c.unordered, c.capacity, c.timeout, c.retry
	out := rowTypeOf[R](e, s.where)
	n := step{
		op: s.op, kind: graph.KindOperator, stateful: true, fallible: true,
		factory: asyncio.New(s.cfg), out: out, where: s.where,
	}
	return then[R](e, e.add(n, s.d.ports, s.d.typ, c.node), out, s.d.untimed)
}
