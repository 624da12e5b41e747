package statetest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// aged is a value with the time of its last update.
type aged struct {
	v     any
	stamp int64
}

// agedModel is what handles with a TTL should do, in Go maps.
type agedModel struct {
	ttl          state.TTL
	now, wm, row int64
	vals         map[string]*aged // by kind and key
	lists        map[int64][]aged
	dicts        map[int64]map[int64]*aged
}

func newAgedModel(ttl state.TTL) *agedModel {
	return &agedModel{ttl: ttl, now: 1_000_000, wm: dataflow.TimeMin, row: dataflow.TimeNone, vals: map[string]*aged{}, lists: map[int64][]aged{}, dicts: map[int64]map[int64]*aged{}}
}

func (m *agedModel) stamp() int64 {
	if m.ttl.Time == state.EventTime {
		return max(m.row, m.wm)
	}
	return m.now
}

func (m *agedModel) expired(a aged) bool {
	at := m.now
	if m.ttl.Time == state.EventTime {
		at = m.wm
	}
	return at != math.MinInt64 && a.stamp != math.MinInt64 && a.stamp+m.ttl.After.Milliseconds() <= at
}

func (m *agedModel) hidden(a aged) bool {
	return m.expired(a) && m.ttl.Visibility == state.NeverReturnExpired
}

func (m *agedModel) touch(a *aged) {
	if m.ttl.Update == state.OnReadAndWrite && !m.expired(*a) {
		a.stamp = max(a.stamp, m.stamp())
	}
}

// drop forgets what has expired.
func (m *agedModel) drop() {
	maps.DeleteFunc(m.vals, func(_ string, a *aged) bool { return m.expired(*a) })
	for k, l := range m.lists {
		m.lists[k] = slices.DeleteFunc(l, m.expired)
	}
	for _, d := range m.dicts {
		maps.DeleteFunc(d, func(_ int64, a *aged) bool { return m.expired(*a) })
	}
}

// alive counts what has not expired, a list as one.
func (m *agedModel) alive() (n int) {
	for _, a := range m.vals {
		if !m.expired(*a) {
			n++
		}
	}
	for _, l := range m.lists {
		if slices.ContainsFunc(l, func(a aged) bool { return !m.expired(a) }) {
			n++
		}
	}
	for _, d := range m.dicts {
		for _, a := range d {
			if !m.expired(*a) {
				n++
			}
		}
	}
	return n
}

func (m *agedModel) get(kind string, id int64, zero any) (any, bool) {
	a := m.vals[fmt.Sprint(kind, id)]
	if a == nil || m.hidden(*a) {
		return zero, false
	}
	m.touch(a)
	return a.v, true
}

func (m *agedModel) set(kind string, id int64, v any) {
	m.vals[fmt.Sprint(kind, id)] = &aged{v, m.stamp()}
}

// peek is get without counting as a read.
func (m *agedModel) peek(kind string, id int64, zero any) any {
	if a := m.vals[fmt.Sprint(kind, id)]; a != nil && !m.hidden(*a) {
		return a.v
	}
	return zero
}

// do is agedHandles.do of the model.
func (m *agedModel) do(op int, id int64, text string) string {
	n := int64(len(text))
	switch op {
	case 0, 1:
		m.set("fixed", id, n)
	case 2:
		return fmt.Sprint(m.get("fixed", id, int64(-7)))
	case 3, 4:
		m.set("text", id, text)
	case 5:
		return fmt.Sprint(m.get("text", id, ""))
	case 6, 7:
		m.set("sum", id, m.peek("sum", id, int64(0)).(int64)+n)
	case 8:
		return fmt.Sprint(m.get("sum", id, int64(0)))
	case 9:
		m.set("cat", id, m.peek("cat", id, "").(string)+text)
	case 10:
		return fmt.Sprint(m.get("cat", id, ""))
	case 11, 12, 13, 14, 20:
		return m.doList(op, id, text)
	case 21:
		if n%5 == 0 {
			delete(m.vals, fmt.Sprint("fixed", id))
			delete(m.lists, id)
			delete(m.dicts, id)
		}
		delete(m.dicts[id], n%7)
	default:
		return m.doDict(op, id, text)
	}
	return ""
}

func (m *agedModel) doList(op int, id int64, text string) string {
	switch op {
	case 11, 12:
		m.lists[id] = append(m.lists[id], aged{text, m.stamp()}, aged{text + "2", m.stamp()})
		return ""
	case 20:
		m.lists[id] = slices.DeleteFunc(m.lists[id], func(a aged) bool { return m.hidden(a) || len(a.v.(string))%2 == 1 })
		return ""
	}
	seen := []any{}
	for i := range m.lists[id] {
		a := &m.lists[id][i]
		if m.hidden(*a) {
			continue
		}
		seen = append(seen, a.v)
		if op == 13 {
			m.touch(a)
		}
	}
	if op == 14 {
		return fmt.Sprint(len(seen))
	}
	return fmt.Sprint(seen)
}

func (m *agedModel) doDict(op int, id int64, text string) string {
	n := int64(len(text))
	d := m.dicts[id]
	if d == nil {
		d = map[int64]*aged{}
		m.dicts[id] = d
	}
	seen := map[int64]any{}
	for k, a := range d {
		if !m.hidden(*a) {
			seen[k] = a.v
		}
	}
	switch op {
	case 15, 16:
		d[n%7] = &aged{text, m.stamp()}
		return ""
	case 17:
		a := d[n%7]
		if a == nil || m.hidden(*a) {
			return fmt.Sprint("", false)
		}
		m.touch(a)
		return fmt.Sprint(a.v, true)
	case 18:
		for k := range seen {
			m.touch(d[k])
		}
		return fmt.Sprint(seen)
	}
	_, ok := seen[n%7]
	return fmt.Sprint(len(seen), ok)
}

// kindOf is the kind of value that an operation is on, "" for lists and maps.
func kindOf(op int) string {
	switch {
	case op <= 2:
		return "fixed"
	case op <= 5:
		return "text"
	case op <= 8:
		return "sum"
	case op <= 10:
		return "cat"
	}
	return ""
}

// couldBe says whether got is what is seen when some of what has expired is
// gone. Values that are gone are forgotten; of lists and maps, which may lose
// a part now and a part later, it wants what is alive at least.
func (m *agedModel) couldBe(op int, id int64, text, got string) bool {
	if kind := kindOf(op); kind != "" {
		if a := m.vals[fmt.Sprint(kind, id)]; a == nil || !m.expired(*a) {
			return false
		}
		delete(m.vals, fmt.Sprint(kind, id))
		return m.do(op, id, text) == got
	}
	all := m.do(op, id, text)
	left := newAgedModel(m.ttl)
	left.now, left.wm, left.row = m.now, m.wm, m.row
	left.lists[id] = slices.Clone(m.lists[id])
	left.dicts[id] = maps.Clone(m.dicts[id])
	left.drop()
	alive := left.do(op, id, text)
	counts := op == 14 || op == 19
	return alive != all && (counts || len(got) <= len(all) && len(got) >= len(alive))
}

// testExpiryFreesMemory writes much, lets it expire, and never reads it.
func testExpiryFreesMemory(t *testing.T, f Factory) {
	for _, in := range []state.TTLTime{state.ProcessingTime, state.EventTime} {
		b := f(whole(), suiteGroups)
		h, err := openAged(b, state.TTL{After: time.Second, Time: in}, 1)
		if err != nil {
			t.Fatal(err)
		}
		now := int64(1000)
		at := func(rows int) { h.k.Advance(now, now, rows) }
		at(0)
		const keys = 4000
		for i := range int64(keys) {
			h.k.SetKey(key(fmt.Sprint("key", i)))
			h.fixed.Set(i)
			h.text.Set("some text that takes room")
			h.list.Add("one", "two", "three")
			for j := range int64(3) {
				h.dict.Put(j, "value of an entry")
			}
		}
		full, idle := b.Bytes(), 0
		for _, ok := h.k.NextSweep(); ok && in == state.ProcessingTime; _, ok = h.k.NextSweep() {
			// No row comes: the operator calls when it is told to.
			next, _ := h.k.NextSweep()
			now = max(now+1, next)
			at(0)
			if idle++; idle > 100*keys {
				t.Fatalf("after %d calls state is still to be removed", idle)
			}
		}
		for i := 0; i < 200; i++ {
			now += 20
			at(100)
		}
		if left := b.Bytes(); left > full/20 {
			t.Errorf("time %d: %d of %d bytes are left of state that has expired", in, left, full)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
