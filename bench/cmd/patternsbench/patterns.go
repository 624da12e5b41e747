package main

import (
	"context"
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// converted is what filter and map make of a row: 64 bytes, of another type.
type converted struct {
	Name                   string
	Sum, Twice, X, Y, Z, W int64
}

// total is an accumulator, result what becomes of it, pair a result of a join.
type total struct{ Count, Sum int64 }

type result struct {
	Key        string
	Count, Sum int64
}

type pair struct {
	Key         string
	Left, Right int64
}

// funcs are the functions of the user, which engine and loop call alike.
type funcs struct {
	keep    func(row) bool
	convert func(row) converted
	key     func(row) string
	add     func(*total, row)
	merge   func(into, from *total)
	result  func(string, total) result
	due     func(*total) bool
	join    func(row, row) pair

	takeConverted func(*converted)
	takeResult    func(*result)
	takePair      func(*pair)
	takeRow       func(*row)
}

func newFuncs(c *cost) *funcs {
	count := func(n int64) {
		c.Results++
		c.Check += n
	}
	return &funcs{
		keep:    func(r row) bool { return r.A&1 == 0 },
		convert: func(r row) converted { return converted{r.Key, r.A + r.B, 2 * r.C, r.D, r.E, r.F, 1} },
		key:     func(r row) string { return r.Key },
		add: func(t *total, r row) {
			t.Count++
			t.Sum += r.A
		},
		merge: func(into, from *total) {
			into.Count += from.Count
			into.Sum += from.Sum
		},
		result: func(k string, t total) result { return result{k, t.Count, t.Sum} },
		due:    func(t *total) bool { return t.Count&15 == 0 },
		join:   func(l, r row) pair { return pair{l.Key, l.A, r.A} },

		takeConverted: func(v *converted) { count(v.Sum + v.Twice) },
		takeResult:    func(v *result) { count(v.Count + 3*v.Sum) },
		takePair:      func(v *pair) { count(v.Left + 3*v.Right) },
		takeRow:       func(v *row) { count(v.A) },
	}
}

// Add, Merge and Result make funcs an aggregator.
func (f *funcs) Add(t *total, r row)           { f.add(t, r) }
func (f *funcs) Merge(into, from *total)       { f.merge(into, from) }
func (f *funcs) Result(acc *total) (out total) { return *acc }

func (f *funcs) windowResult(k string, _ stream.Window, t total) result { return f.result(k, t) }

// counter counts the rows of a key.
type counter struct {
	f   *funcs
	acc *state.Value[total]
	now total // of the row in work, off the heap
}

// Open implements stream.KeyedProcessor.
func (p *counter) Open(ctx *stream.ProcessContext[string, result]) (err error) {
	p.acc, err = state.NewValue[total](ctx.State(), "total")
	return err
}

// Process implements stream.KeyedProcessor.
func (p *counter) Process(ctx *stream.ProcessContext[string, result], r row) error {
	p.now, _ = p.acc.Get()
	p.f.add(&p.now, r)
	p.acc.Set(p.now)
	if p.f.due(&p.now) {
		ctx.Emit(p.f.result(ctx.Key(), p.now))
	}
	return nil
}

// pattern is one thing to measure.
type pattern struct {
	name, about string
	keys        int
	perSecond   int64
	total, warm int64
	turns       bool // two halves of the keys take turns
	inputs      int
	// against names what the limit refers to: a pattern of the engine, or ""
	// for the loop.
	against string
	limit   float64
	build   func(env *stream.Env, f *funcs, in []*stream.DataStream[row]) error
	loop    func(f *funcs, in *feed, two *feed, m *meter)
}

const (
	minute = int64(60_000)
	// gapMillis ends a session.
	gapMillis = 3000
	// spanMillis is how far apart the rows of a join may be, either way.
	spanMillis = 60_000
)

func patterns() []pattern {
	return []pattern{
		{name: "filter+map", about: "half of the rows are kept, each becomes a row of another type", keys: 1000, perSecond: 100_000, total: 24 << 20, warm: 2 << 20, limit: 3, build: buildFilterMap, loop: loopFilterMap},
		{name: "keyed count", about: "1 M keys, a processor with a value; every 16th row of a key has a result", keys: 1_000_000, perSecond: 100_000, total: 12 << 20, warm: 4 << 20, limit: 1, build: buildCount, loop: loopCount},
		{name: "keyed count, window", about: "1 M keys, one window over all", keys: 1_000_000, perSecond: 100_000, total: 12 << 20, warm: 4 << 20, limit: 1, build: buildCountWindow, loop: loopCountWindow},
		{name: "tumbling", about: "100 k keys, 10 minutes of 100,000 rows a second, of which half are read", keys: 100_000, perSecond: 100_000, total: 30_000_000, warm: 4 << 20, limit: 1.5, build: buildTumbling, loop: loopTumbling},
		{name: "sliding", about: "as tumbling, 10 minutes every 10 seconds; measured over ten minutes when a window is full", keys: 100_000, perSecond: 100_000, total: 122_000_000, warm: 62_000_000, against: "tumbling", limit: 1.5, build: buildSliding},
		{name: "session", about: "100 k keys, sessions of ten rows, a gap of 3 seconds", keys: 100_000, perSecond: 100_000, total: 12 << 20, warm: 4 << 20, turns: true, limit: 3, build: buildSession, loop: loopSession},
		{name: "interval join", about: "100 k keys, a minute either way, 2,000 rows a second on each side", keys: 100_000, perSecond: 2000, total: 2 << 20, warm: 1 << 19, inputs: 2, limit: 3, build: buildJoin, loop: loopJoin},
	}
}

// feeds makes the inputs of a pattern; in each keys come in an order of its own.
func (p *pattern) feeds() []*feed {
	var all []*feed
	for n := range max(1, p.inputs) {
		f := &feed{rows: make([]row, min(1<<20, p.total)), perSecond: p.perSecond, total: p.total, warm: p.warm}
		names := make([]string, p.keys)
		for i := range names {
			names[i] = fmt.Sprintf("customer-%07d", i)
		}
		rng := uint64(n)*2654435761 + 1
		for i := range f.rows {
			rng = rng*6364136223846793005 + 1442695040888963407
			k := int(rng>>33) % p.keys
			switch {
			case p.keys >= len(f.rows)/2: // each key comes as often as any
				k = i * 7919 % p.keys
			case p.turns:
				half := p.keys / 2
				k = i*7919%half + i/(p.keys*5)%2*half
			}
			v := int64(rng >> 40)
			// The text is the row's own, as that of a decoder is.
			f.rows[i] = row{Key: string([]byte(names[k])), A: v, B: int64(i), C: v ^ int64(i), D: 4, E: 5, F: 6}
		}
		all = append(all, f)
	}
	return all
}

// engine runs the pattern as the engine does; bare leaves all between source
// and sink out.
func (p *pattern) engine(ctx context.Context, bare bool) (cost, error) {
	var c cost
	m := &meter{}
	f := newFuncs(&c)
	env := stream.NewEnv(stream.NoCheckpoints())
	feeds := map[string]operators.Factory{}
	var ins []*stream.DataStream[row]
	for i, in := range p.feeds() {
		uid := fmt.Sprintf("source-%d", i)
		feeds[uid] = newFeeder(in, m)
		ins = append(ins, stream.From(env, collection.Slice[row](), stream.UID(uid), timesAreFed(), stream.Watermarks(stream.Monotonous())))
		c.Rows += in.total - in.warm
	}
	build := p.build
	if bare {
		build = buildBare
	}
	if err := build(env, f, ins); err != nil {
		return c, err
	}
	g, err := env.Graph()
	if err != nil {
		return c, err
	}
	r, err := newRig(g, 1, feeds)
	if err != nil {
		return c, err
	}
	if err := r.run(ctx); err != nil {
		return c, err
	}
	m.stop(&c)
	return c, nil
}

// hand runs the loop; bare leaves all but the reading out.
func (p *pattern) hand(bare bool) cost {
	var c cost
	m := &meter{}
	f := newFuncs(&c)
	ins := p.feeds()
	var two *feed
	if len(ins) == 2 {
		two = ins[1]
	}
	for _, in := range ins {
		c.Rows += in.total - in.warm
	}
	loop := p.loop
	if bare {
		loop = loopBare
	}
	loop(f, ins[0], two, m)
	m.stop(&c)
	return c
}

func buildBare(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	for _, d := range in {
		s, err := sinkOf(func(r *row) { _ = r })
		if err != nil {
			return err
		}
		d.To(s)
	}
	return nil
}

func buildFilterMap(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	s, err := sinkOf(f.takeConverted)
	stream.Map(in[0].Filter(f.keep), f.convert).To(s)
	return err
}

func buildCount(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	s, err := sinkOf(f.takeResult)
	stream.Process(stream.KeyBy(in[0], f.key), &counter{f: f}, stream.UID("count")).To(s)
	return err
}

func buildWindow(f *funcs, d *stream.DataStream[row], w stream.WindowAssigner) error {
	s, err := sinkOf(f.takeResult)
	stream.AggregateWindow(stream.KeyBy(d, f.key).Window(w), f, f.windowResult, stream.UID("window")).To(s)
	return err
}

func buildCountWindow(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	return buildWindow(f, in[0], stream.Tumbling(time.Hour))
}

func buildTumbling(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	return buildWindow(f, in[0], stream.Tumbling(10*time.Minute))
}

func buildSliding(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	return buildWindow(f, in[0], stream.Sliding(10*time.Minute, 10*time.Second))
}

func buildSession(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	return buildWindow(f, in[0], stream.Session(gapMillis*time.Millisecond))
}

func buildJoin(_ *stream.Env, f *funcs, in []*stream.DataStream[row]) error {
	s, err := sinkOf(f.takePair)
	within := stream.Between(-spanMillis*time.Millisecond, spanMillis*time.Millisecond)
	stream.IntervalJoin(stream.KeyBy(in[0], f.key), stream.KeyBy(in[1], f.key), within, stream.Inner(f.join), stream.UID("join")).To(s)
	return err
}
