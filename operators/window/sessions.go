package window

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/bound"
	"github.com/leatstream/leat/operators/timer"
	"github.com/leatstream/leat/state"
)

// Names of the tables of sessions.
const (
	tableSessions = "sessions"
	tableOthers   = "sessions-others"
)

// SessionConfig describes an operator of sessions over rows T with keys K: a
// session ends when no row has come for its gap. It emits O when one ends.
type SessionConfig[K comparable, T, O any] struct {
	// Gap returns the gap after a row in milliseconds, which is positive.
	Gap      func(T) int64
	Lateness int64
	Key      func(T) K
	Hasher   columnar.KeyHasher
	KeyCodec *codec.Codec[K]
}

// AggregateSessions returns the factory of an operator that folds the rows of
// each session; fold merges.
func AggregateSessions[K comparable, T, A, O any](cfg SessionConfig[K, T, O], fold Fold[T, A], result func(K, Window, *A) O) operators.Factory {
	return operators.FactoryFunc(func() operators.Operator {
		return &sessions[K, T, A, O]{cfg: cfg, fold: fold, result: result}
	})
}

// session is one session of a key. Of a key's sessions, the one that rows came
// for last is in a table of its own, and More counts the others: nearly always
// there is none.
//
// Timer is when the session is looked at. It is at or before the time at
// which the session ends, or is dropped, so that it need not be moved with
// each row: a timer that comes too early is set anew.
type session[A any] struct {
	Start, End int64
	Timer      int64
	More       int64
	Acc        A
}

func (s *session[A]) win() Window { return Window{start: s.Start, end: s.End} }

func (s *session[A]) valid() bool { return s.End > s.Start }

// keySessions is what the batch in work has of a key.
type keySessions[A any] struct {
	main   session[A]
	others []session[A] // loaded when needed
	loaded bool
	found  int64 // others in state when loaded
}

type sessions[K comparable, T, A, O any] struct {
	cfg    SessionConfig[K, T, O]
	fold   Fold[T, A]
	result func(K, Window, *A) O

	out    operators.Output
	bounds *bound.Bounds
	wm     int64
	timers *timer.Service
	main   aggregates[session[A]]
	others state.SubTable
	slots  slots[K, keySessions[A]]
	bulk   bulk
	hashes []uint64
	late   []int32
	sub    [8]byte
	buf    []byte
	enc    []byte

	rows  columnar.Builder[O]
	arena codec.Arena // of the keys of results
	cur   session[A]  // looked at by due
	one   session[A]

	lateCount, lateDropped operators.Counter
	batch                  *columnar.Batch
	at                     int
	inWork                 Window
}

var (
	_ operators.WatermarkHandler = (*sessions[int, int, int, int])(nil)
	_ operators.Snapshotter      = (*sessions[int, int, int, int])(nil)
	_ operators.Positioner       = (*sessions[int, int, int, int])(nil)
)

// Open implements operators.Operator.
func (o *sessions[K, T, A, O]) Open(ctx *operators.Context) (err error) {
	o.out, o.wm = ctx.Out, dataflow.TimeMin
	o.lateCount = ctx.Metrics.Counter(MetricLate)
	o.lateDropped = ctx.Metrics.Counter(MetricLateDropped)
	o.slots.encode = o.cfg.KeyCodec.AppendKey
	if o.bounds, err = bound.Open(ctx, firedName); err != nil {
		return err
	}
	if o.timers, err = timer.New(ctx.State, timersName); err != nil {
		return err
	}
	o.timers.Ahead(func(keys []state.Key) { o.main.prefetch(0, keys) })
	o.main.name = tableSessions
	if o.main.codec, err = codec.Of[session[A]](); err != nil {
		return err
	}
	if err := o.main.open(ctx.State); err != nil {
		return err
	}
	o.others, err = subTable(ctx.State, tableOthers, o.main.codec, rewrite)
	return err
}

// Process implements operators.Operator.
func (o *sessions[K, T, A, O]) Process(_ int, b *columnar.Batch) error {
	rows := columnar.Rows[T](b)
	o.batch, o.late = b, o.late[:0]
	o.hashes = o.cfg.Hasher.HashRows(o.hashes[:0], b.Rows)
	o.slots.reset(len(rows))
	nums := o.bulk.nums[:0]
	for i := range rows {
		o.at = i
		if b.Time(i) == dataflow.TimeNone {
			return fmt.Errorf("record without event time in a window: add stream.Timestamps to the From of its source")
		}
		key := o.cfg.Key(rows[i])
		n, place := o.slots.find(o.hashes[i], 0, key)
		if n < 0 {
			o.slots.add(place, slot[K, keySessions[A]]{hash: o.hashes[i], key: key})
			n = int32(len(o.slots.list) - 1)
		}
		nums = append(nums, n)
	}
	o.bulk.nums = nums
	if err := o.load(); err != nil {
		return err
	}
	for i := range rows {
		o.at = i
		if err := o.row(&o.slots.list[nums[i]], &rows[i], b.Time(i)); err != nil {
			return err
		}
	}
	o.store()
	o.flush()
	o.slots.release()
	setAside(o.out, b, rows, o.late, o.lateCount, o.lateDropped)
	o.batch = nil
	b.Release()
	return nil
}

func (o *sessions[K, T, A, O]) keyOf(s *slot[K, keySessions[A]]) state.Key {
	return state.Key{Bytes: o.slots.encoded(s), Hash: s.hash}
}

// load reads the main sessions of all keys of the batch.
func (o *sessions[K, T, A, O]) load() error {
	x := &o.bulk
	if o.main.bulk == nil {
		for i := range o.slots.list {
			s := &o.slots.list[i]
			if err := o.main.begin(0, o.keyOf(s), &s.acc.main); err != nil {
				return fmt.Errorf("window state of %v: %w", s.key, err)
			}
		}
		return nil
	}
	x.keys = x.keys[:0]
	for i := range o.slots.list {
		x.keys = append(x.keys, o.keyOf(&o.slots.list[i]))
	}
	if len(x.vals) < len(x.keys) {
		x.vals = make([][]byte, 2*len(x.keys))
	}
	o.main.bulk.UpsertBatch(0, x.keys, x.vals, nil)
	for i := range o.slots.list {
		o.main.codec.FixedLoad(x.vals[i], &o.slots.list[i].acc.main)
	}
	return nil
}

// store writes them back. The values lie where state keeps them, as long as
// nothing else was asked of the table.
func (o *sessions[K, T, A, O]) store() {
	for i := range o.slots.list {
		s := &o.slots.list[i]
		if m := &s.acc.main; m.valid() {
			if s.acc.loaded {
				m.More = int64(len(s.acc.others))
			}
			if o.main.bulk != nil {
				o.main.codec.FixedStore(o.bulk.vals[i], m)
			}
		}
	}
	for i := range o.slots.list {
		s := &o.slots.list[i]
		k := o.keyOf(s)
		switch {
		case !s.acc.main.valid(): // all rows were late
			o.main.table.Delete(0, k)
		case o.main.bulk == nil:
			o.main.commit(0, k, &s.acc.main)
		}
		if s.acc.loaded && (s.acc.found > 0 || len(s.acc.others) > 0) {
			o.storeOthers(k, s.acc.others)
		}
	}
	clear(o.bulk.vals)
}

func (o *sessions[K, T, A, O]) storeOthers(k state.Key, others []session[A]) {
	o.others.ClearSub(0, k)
	for i := range others {
		binary.BigEndian.PutUint64(o.sub[:], uint64(others[i].Start)^1<<63)
		o.buf = o.main.codec.Append(o.buf[:0], &others[i])
		o.others.PutSub(0, k, o.sub[:], o.buf)
	}
}

// row adds a row to its session.
func (o *sessions[K, T, A, O]) row(s *slot[K, keySessions[A]], v *T, t int64) error {
	gap := o.cfg.Gap(*v)
	if gap <= 0 {
		return fmt.Errorf("the gap of a session is %d ms for a row: it must be at least 1", gap)
	}
	fired := max(o.wm, o.bounds.Of(s.hash))
	m := &s.acc.main
	end := dataflow.AddTime(t, gap)
	if m.valid() && m.More == 0 && !s.acc.loaded && t >= m.Start && t <= m.End {
		// What nearly all rows do: go on with the only session of the key.
		m.End = max(m.End, end)
	} else {
		ok, err := o.place(s, Window{start: t, end: end}, fired)
		if err != nil {
			return err
		}
		if !ok {
			o.late = append(o.late, int32(o.at))
			return nil
		}
	}
	o.fold.Add(&m.Acc, *v)
	due := dataflow.AddTime(m.End, -1)
	if due <= fired {
		o.emit(s.key, m)
		due = dataflow.AddTime(due, o.cfg.Lateness)
	}
	if m.Timer > due {
		m.Timer = due
		o.timers.RegisterEvent(o.keyOf(s), 0, due)
	}
	return nil
}

// place makes the session that a row is in, or joins, the main one.
func (o *sessions[K, T, A, O]) place(s *slot[K, keySessions[A]], w Window, fired int64) (ok bool, err error) {
	x := &s.acc
	if !x.main.valid() && !x.loaded && x.main.More == 0 { // the first of its key
		if dataflow.AddTime(w.last(), o.cfg.Lateness) <= fired {
			return false, nil
		}
		x.main = session[A]{Start: w.start, End: w.end, Timer: dataflow.TimeMax}
		return true, nil
	}
	if err := o.loadOthers(s); err != nil {
		return false, err
	}
	all := x.others
	if x.main.valid() {
		all = append(all, x.main)
	}
	span := w
	var joined, rest []session[A]
	for _, have := range all {
		if have.Start <= w.end && w.start <= have.End {
			span = Window{start: min(span.start, have.Start), end: max(span.end, have.End)}
			joined = append(joined, have)
		} else {
			rest = append(rest, have)
		}
	}
	if dataflow.AddTime(span.last(), o.cfg.Lateness) <= fired {
		return false, nil
	}
	main := session[A]{Timer: dataflow.TimeMax}
	sort.Sort(byWindow[A](joined))
	for i := range joined {
		main.Timer = min(main.Timer, joined[i].Timer)
		if i == 0 {
			main.Acc = joined[i].Acc
		} else {
			o.fold.Merge(&main.Acc, &joined[i].Acc)
		}
	}
	main.Start, main.End = span.start, span.end
	x.main, x.others = main, rest
	return true, nil
}

func (o *sessions[K, T, A, O]) loadOthers(s *slot[K, keySessions[A]]) (err error) {
	x := &s.acc
	if x.loaded {
		return nil
	}
	x.loaded, x.found = true, x.main.More
	if x.main.More > 0 {
		x.others, err = o.readOthers(o.keyOf(s))
	}
	return err
}

func (o *sessions[K, T, A, O]) readOthers(k state.Key) (all []session[A], err error) {
	o.others.ScanSub(0, k, func(_, val []byte) bool {
		var x session[A]
		err = decodeAll(o.main.codec, val, &x)
		all = append(all, x)
		return err == nil
	})
	sort.Sort(byWindow[A](all))
	return all, err
}

// byWindow is sort.Interface and not an argument of slices.SortFunc, whose body
// would be compiled again for each type of accumulator.
type byWindow[A any] []session[A]

func (s byWindow[A]) Len() int           { return len(s) }
func (s byWindow[A]) Less(i, j int) bool { return s[i].win().compare(s[j].win()) < 0 }
func (s byWindow[A]) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

func (o *sessions[K, T, A, O]) emit(k K, s *session[A]) {
	o.inWork = s.win()
	o.rows.Add(o.result(k, o.inWork, &s.Acc), o.inWork.last())
	if o.rows.Full() {
		o.flush()
	}
}

func (o *sessions[K, T, A, O]) flush() {
	o.inWork = Window{}
	if b := o.rows.Take(); b != nil {
		o.out.Emit(b)
	}
}

// Watermark implements operators.WatermarkHandler.
func (o *sessions[K, T, A, O]) Watermark(wm int64) (bool, error) {
	if wm <= o.wm {
		return true, nil
	}
	done, err := o.timers.AdvanceEvent(wm, o.due, o.out.Ready)
	o.flush()
	if done && err == nil {
		o.wm = wm
	}
	return done, err
}

// due looks at the sessions of a key: those that have ended fire, those that
// take no more rows go, and the others get a timer of when that will be.
func (o *sessions[K, T, A, O]) due(key state.Key, _, at int64) error {
	o.cur = session[A]{}
	main := &o.cur
	if err := o.main.begin(0, key, main); err != nil {
		return err
	}
	if !main.valid() {
		return nil
	}
	o.enc = append(o.enc[:0], key.Bytes...)
	key.Bytes = o.enc
	if main.More == 0 {
		over, err := o.look(key, main, at)
		switch {
		case err != nil:
			return err
		case over:
			o.main.table.Delete(0, key)
		default:
			o.main.commit(0, key, main)
		}
		return nil
	}
	all, err := o.readOthers(key)
	if err != nil {
		return err
	}
	all = append(all, *main)
	kept := all[:0]
	for i := range all {
		o.one = all[i]
		over, err := o.look(key, &o.one, at)
		if err != nil {
			return err
		}
		if !over {
			kept = append(kept, o.one)
		}
	}
	o.putAll(key, kept)
	return nil
}

// putAll stores the sessions of a key; the last is the main one.
func (o *sessions[K, T, A, O]) putAll(key state.Key, all []session[A]) {
	if len(all) == 0 {
		o.others.ClearSub(0, key)
		o.main.table.Delete(0, key)
		return
	}
	n := len(all) - 1
	o.storeOthers(key, all[:n])
	all[n].More = int64(n)
	o.main.commit(0, key, &all[n])
}

// look does what is due for a session; it reports whether that is over.
func (o *sessions[K, T, A, O]) look(key state.Key, s *session[A], at int64) (over bool, err error) {
	if s.Timer > at {
		return false, nil
	}
	last := s.win().last()
	if last == at {
		var k K
		if err := o.cfg.KeyCodec.DecodeKeyIn(&o.arena, key.Bytes, &k); err != nil {
			return false, fmt.Errorf("key of a timer: %w", err)
		}
		o.emit(k, s)
	}
	next := last
	if last <= at {
		if next = dataflow.AddTime(last, o.cfg.Lateness); next <= at {
			return true, nil
		}
	}
	s.Timer = next
	o.timers.RegisterEvent(key, 0, next)
	return false, nil
}

// Snapshot implements operators.Snapshotter: how far sessions have ended is
// written to keyed state, which is snapshotted after it.
func (o *sessions[K, T, A, O]) Snapshot(operators.Checkpoint) ([]byte, error) {
	o.bounds.Raise(o.wm)
	return nil, nil
}

// Position implements operators.Positioner.
func (o *sessions[K, T, A, O]) Position() string {
	if w := o.inWork; w != (Window{}) {
		return fmt.Sprintf("the session from %s to %s", w.Start().Format(timeFormat), w.End().Format(timeFormat))
	}
	if o.batch == nil {
		return ""
	}
	t := o.batch.Time(o.at)
	return fmt.Sprintf("row %d of batch, event time %s", o.at, timeText(t))
}

// Close implements operators.Operator.
func (o *sessions[K, T, A, O]) Close() error { return nil }
