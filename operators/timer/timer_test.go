package timer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/stateform"
)

const groups = 64

func backend(subtask, parallelism int) state.Backend {
	return memstate.New(dataflow.KeyGroupsOf(subtask, groups, parallelism), groups)
}

func service(tb testing.TB, b state.Backend, frontMax int) *Service {
	tb.Helper()
	s, err := New(b, "t")
	if err != nil {
		tb.Fatal(err)
	}
	s.event.frontMax, s.processing.frontMax = frontMax, frontMax
	return s
}

// entry is a timer of the reference.
type entry struct {
	key      string
	ns, time int64
}

// reference is a set of timers; firing takes the least again and again.
type reference map[entry]bool

func (r reference) least(subtask, parallelism int) (e entry, ok bool) {
	less := func(a, b entry) bool {
		ha, hb := state.KeyOf([]byte(a.key)).Hash, state.KeyOf([]byte(b.key)).Hash
		switch {
		case a.time != b.time:
			return a.time < b.time
		case ha != hb:
			return ha < hb
		}
		return a.ns < b.ns
	}
	for x := range r {
		g := state.KeyOf([]byte(x.key)).Group(groups)
		if dataflow.SubtaskOf(g, groups, parallelism) == subtask && (!ok || less(x, e)) {
			e, ok = x, true
		}
	}
	return e, ok
}

// model drives services and the reference with the same random operations.
type model struct {
	t        *testing.T
	rnd      *rand.Rand
	ref      reference
	backends []state.Backend
	services []*Service
	frontMax int
	now      int64
}

func (m *model) open(parallelism int) {
	var files [][]byte
	for i, b := range m.backends {
		s, err := b.Snapshot(dataflow.CheckpointID(i + 1))
		if err != nil {
			m.t.Fatal(err)
		}
		var buf bytes.Buffer
		if _, err := s.WriteTo(&buf); err != nil {
			m.t.Fatal(err)
		}
		s.Release()
		files = append(files, buf.Bytes())
	}
	m.backends, m.services = nil, nil
	for i := range parallelism {
		b := backend(i, parallelism)
		for _, f := range files {
			if err := b.Restore(bytes.NewReader(f), state.RestorePart{}); err != nil {
				m.t.Fatal(err)
			}
		}
		m.backends = append(m.backends, b)
		m.services = append(m.services, service(m.t, b, m.frontMax))
	}
}

func (m *model) random() (e entry, k state.Key, s *Service) {
	span := []int64{5, 3000, 200_000}[m.rnd.IntN(3)]
	e = entry{key: fmt.Sprint("k", m.rnd.IntN(40)), ns: m.rnd.Int64N(3) - 1, time: m.now + m.rnd.Int64N(span) - span/4}
	if m.rnd.IntN(100) == 0 {
		e.time = []int64{math.MinInt64, math.MaxInt64, -1, 0}[m.rnd.IntN(4)]
	}
	k = state.KeyOf([]byte(e.key))
	return e, k, m.services[dataflow.SubtaskOf(k.Group(groups), groups, len(m.services))]
}

func (m *model) change() {
	e, k, s := m.random()
	if m.rnd.IntN(3) > 0 {
		s.RegisterEvent(k, e.ns, e.time)
		m.ref[e] = true
		return
	}
	if m.rnd.IntN(2) == 0 { // most random timers do not exist: take one that does
		subtask := m.rnd.IntN(len(m.services))
		if x, ok := m.ref.least(subtask, len(m.services)); ok {
			e, k, s = x, state.KeyOf([]byte(x.key)), m.services[subtask]
		}
	}
	s.DeleteEvent(k, e.ns, e.time)
	delete(m.ref, e)
}

// advance fires all timers up to wm, in pieces, and compares each.
func (m *model) advance(subtask int, wm int64) {
	s := m.services[subtask]
	if want, ok := m.ref.least(subtask, len(m.services)); true {
		if time, has := s.NextEvent(); has != ok || ok && time != want.time {
			m.t.Fatalf("next timer of subtask %d at %d %t, want %d %t", subtask, time, has, want.time, ok)
		}
	}
	fire := func(k state.Key, ns, time int64) error {
		got := entry{string(k.Bytes), ns, time}
		want, ok := m.ref.least(subtask, len(m.services))
		if !ok || got != want || time > wm {
			m.t.Fatalf("at watermark %d fired %v, want %v %t", wm, got, want, ok)
		}
		delete(m.ref, got)
		if m.rnd.IntN(4) == 0 {
			again := entry{got.key, ns, dataflow.AddTime(time, m.rnd.Int64N(3000)+1)}
			s.RegisterEvent(k, ns, again.time)
			m.ref[again] = true
			s.DeleteEvent(k, ns+1, again.time)
			delete(m.ref, entry{got.key, ns + 1, again.time})
		}
		return nil
	}
	room := 0
	for {
		done, err := s.AdvanceEvent(wm, fire, func() bool { room--; return room >= 0 })
		if err != nil {
			m.t.Fatal(err)
		}
		if done {
			break
		}
		room = m.rnd.IntN(5)
	}
	if e, ok := m.ref.least(subtask, len(m.services)); ok && e.time <= wm {
		m.t.Fatalf("at watermark %d timer %v did not fire", wm, e)
	}
}

func TestFiresLikeASet(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := &model{t: t, rnd: rand.New(rand.NewPCG(seed, 2)), ref: reference{}, frontMax: []int{2, 7, frontMax}[seed%3], now: -5000}
			m.open(1)
			for step := range 4000 {
				switch n := m.rnd.IntN(100); {
				case n < 80:
					m.change()
				case n < 99:
					m.now += m.rnd.Int64N(800)
					for i := range m.services {
						m.advance(i, m.now)
					}
				case step%7 == 0:
					m.open(m.rnd.IntN(4) + 1)
				}
			}
			for i := range m.services {
				m.advance(i, math.MaxInt64-5000)
				if n := len(m.services[i].event.later); n > 4*frontSmall {
					t.Errorf("%d buckets remembered at the end", n)
				}
			}
		})
	}
}

func TestProcessingTimerWaitsForItsMillisecondToEnd(t *testing.T) {
	t.Parallel()
	s := service(t, backend(0, 1), frontMax)
	k := state.KeyOf([]byte("a"))
	s.RegisterProcessing(k, 3, 1000)
	if time, ok := s.NextProcessing(); !ok || time != 1000 {
		t.Fatalf("next at %d %t, want 1000", time, ok)
	}
	var fired []int64
	fire := func(_ state.Key, _, time int64) error { fired = append(fired, time); return nil }
	for _, now := range []int64{math.MinInt64, 999, 1000} {
		if done, err := s.AdvanceProcessing(now, fire, nil); !done || err != nil || fired != nil {
			t.Fatalf("at %d: %t %v, fired %v", now, done, err, fired)
		}
	}
	if _, err := s.AdvanceProcessing(1001, fire, nil); err != nil || !slices.Equal(fired, []int64{1000}) {
		t.Fatalf("at 1001 fired %v, %v", fired, err)
	}
	if _, ok := s.NextProcessing(); ok {
		t.Error("a timer is left")
	}
}

func TestDrainFiresOnceAndTakesNoMore(t *testing.T) {
	t.Parallel()
	s := service(t, backend(0, 1), frontMax)
	for i := range int64(10) {
		s.RegisterProcessing(state.KeyOf([]byte{byte(i)}), 0, i*5000)
	}
	fired := 0
	done, err := s.DrainProcessing(func(k state.Key, ns, time int64) error {
		fired++
		s.RegisterProcessing(k, ns, time+1)
		return nil
	}, nil)
	if !done || err != nil || fired != 10 {
		t.Errorf("drained %d timers, %t %v; want 10", fired, done, err)
	}
}

func TestErrorOfCallbackIsReturned(t *testing.T) {
	t.Parallel()
	s := service(t, backend(0, 1), frontMax)
	s.RegisterEvent(state.KeyOf([]byte("a")), 0, 1)
	boom := errors.New("boom")
	if done, err := s.AdvanceEvent(1, func(state.Key, int64, int64) error { return boom }, nil); done || err != boom { //nolint:errorlint // as it is
		t.Errorf("got %t %v", done, err)
	}
}

// A timer that is registered and deleted again and again must not pile up in
// what the service remembers beside the table.
func TestDeletedTimersTakeNoRoom(t *testing.T) {
	t.Parallel()
	s := service(t, backend(0, 1), frontMax)
	k := state.KeyOf([]byte("a"))
	s.RegisterEvent(k, 0, 500)
	s.NextEvent()
	for i := range int64(10_000) {
		s.RegisterEvent(k, 1, 600)
		s.DeleteEvent(k, 1, 600)
		s.RegisterEvent(k, 1, i*1024*7)
		s.DeleteEvent(k, 1, i*1024*7)
	}
	if n := s.event.front.len() + len(s.event.later); n > 8*frontSmall {
		t.Errorf("%d timers and buckets are remembered for one timer", n)
	}
	if n := s.event.table.Len(); n != 1 {
		t.Errorf("%d keys in the table, want 1", n)
	}
}

// What is told of timers to people is what was registered.
func TestTimersAreTold(t *testing.T) {
	t.Parallel()
	b := memstate.New(dataflow.KeyGroupsOf(0, 16, 1), 16)
	s, err := New(b, "timers")
	if err != nil {
		t.Fatal(err)
	}
	k := state.KeyOf([]byte("key"))
	s.RegisterEvent(k, 7, 5000)
	s.RegisterEvent(k, 0, 100)
	s.RegisterProcessing(k, 1, 30)
	var got []string
	for _, d := range b.Tables() {
		if !stateform.IsTimers(d.Schema) {
			t.Errorf("table %q (%s) is not one of timers", d.Name, d.Schema)
		}
		table, err := b.Table(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, ns := range table.Namespaces() {
			table.Scan(ns, func(_, val []byte) bool {
				if err := stateform.Timers(val, func(time, ns int64) error {
					got = append(got, fmt.Sprintf("%s %d in %d", d.Name, time, ns))
					return nil
				}); err != nil {
					t.Error(err)
				}
				return true
			})
		}
	}
	if want := []string{"timers/event-timers 100 in 0", "timers/event-timers 5000 in 7", "timers/processing-timers 30 in 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
