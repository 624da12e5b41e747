package statetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// RunTTL runs the suite of state that expires on backends of f, with handles
// of every kind: random operations while time goes on, with snapshots,
// restores at other parallelisms and restarts in between, against a model that
// is too simple to be wrong.
func RunTTL(t *testing.T, f Factory) {
	t.Helper()
	if b, tabs := fresh(t, f); b != nil {
		sweepers(t, tabs)
	}
	for _, update := range []state.TTLUpdate{state.OnCreateAndWrite, state.OnReadAndWrite} {
		for _, show := range []state.TTLVisibility{state.NeverReturnExpired, state.ReturnExpiredIfNotCleanedUp} {
			for _, in := range []state.TTLTime{state.ProcessingTime, state.EventTime} {
				ttl := state.TTL{After: 500 * time.Millisecond, Update: update, Visibility: show, Time: in}
				t.Run(fmt.Sprintf("update=%d,visibility=%d,time=%d", update, show, in), func(t *testing.T) {
					t.Parallel()
					for seed := range uint64(6) {
						w := &agedWorld{t: t, f: f, ttl: ttl, rnd: rand.New(rand.NewPCG(seed, 9)), now: 1_000_000, wm: dataflow.TimeMin, model: newAgedModel(ttl)}
						if seed >= 3 {
							w.chains = newChains(t, w.rnd)
						}
						w.open(1, nil)
						w.advance(0)
						w.run(3000)
						w.close()
					}
				})
			}
		}
	}
	t.Run("memory falls without reads", func(t *testing.T) { t.Parallel(); testExpiryFreesMemory(t, f) })
}

// agedHandles are one of each kind, of one subtask.
type agedHandles struct {
	b     state.Backend
	k     *state.Keyed
	fixed *state.Value[int64]
	text  *state.Value[string]
	sum   *state.Reducing[int64]
	cat   *state.Aggregating[string, string, string]
	list  *state.List[string]
	dict  *state.Map[int64, string]
}

func openAged(b state.Backend, ttl state.TTL, now int64) (h agedHandles, err error) {
	h.b, h.k = b, state.NewKeyed(b)
	h.k.Advance(now, dataflow.TimeMin, 0)
	with := state.WithTTL(ttl)
	if h.fixed, err = state.NewValue[int64](h.k, "fixed", with, state.Default[int64](-7)); err != nil {
		return h, err
	}
	if h.text, err = state.NewValue[string](h.k, "text", with); err != nil {
		return h, err
	}
	if h.sum, err = state.NewReducing(h.k, "sum", func(a, b int64) int64 { return a + b }, with); err != nil {
		return h, err
	}
	if h.cat, err = state.NewAggregating(h.k, "cat", state.Aggregator[string, string, string]{
		Add:    func(acc *string, s string) { *acc += s },
		Result: func(acc *string) string { return *acc },
	}, with); err != nil {
		return h, err
	}
	if h.list, err = state.NewList[string](h.k, "list", with); err != nil {
		return h, err
	}
	h.dict, err = state.NewMap[int64, string](h.k, "dict", with)
	return h, err
}

// agedWorld is the subtasks of one operator, and what they should hold.
type agedWorld struct {
	t     *testing.T
	f     Factory
	ttl   state.TTL
	rnd   *rand.Rand
	now   int64
	wm    int64
	row   int64
	parts []agedHandles
	model *agedModel

	chains *chains // of its checkpoints; nil: each is written whole
	cp     dataflow.CheckpointID
}

func (w *agedWorld) open(parallelism int, files [][]byte) {
	w.t.Helper()
	var bs []state.Backend
	for i := range parallelism {
		b := w.f(dataflow.KeyGroupsOf(i, suiteGroups, parallelism), suiteGroups)
		for _, file := range files {
			if err := b.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
				w.t.Fatal(err)
			}
		}
		bs = append(bs, b)
	}
	w.with(bs)
}

// with goes on with other backends.
func (w *agedWorld) with(bs []state.Backend) {
	w.t.Helper()
	w.close()
	w.parts = nil
	for _, b := range bs {
		h, err := openAged(b, w.ttl, w.now)
		if err != nil {
			w.t.Fatal(err)
		}
		w.parts = append(w.parts, h)
	}
}

func (w *agedWorld) close() {
	for _, h := range w.parts {
		if err := h.b.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *agedWorld) run(steps int) {
	for i := range steps {
		switch w.rnd.IntN(60) {
		case 0, 1, 2, 3, 4, 5:
			w.advance(w.rnd.Int64N(60))
		case 6:
			if w.rnd.IntN(8) == 0 {
				w.advance(w.rnd.Int64N(2000))
			}
		case 7:
			if w.rnd.IntN(6) == 0 {
				w.restart()
			} else if w.chains != nil {
				w.checkpoint(w.rnd.IntN(3) > 0)
			}
		default:
			w.step(fmt.Sprint("step ", i))
		}
		if w.t.Failed() {
			return
		}
	}
}

// advance lets both times go on by d, or the watermark begin.
func (w *agedWorld) advance(d int64) {
	w.now += d
	if w.wm == dataflow.TimeMin {
		w.wm = 5000
	}
	w.wm += d
	w.model.now, w.model.wm = w.now, max(w.model.wm, w.wm)
	for _, h := range w.parts {
		h.k.Advance(w.now, w.wm, w.rnd.IntN(10))
	}
}

// restart goes on from a snapshot, at another parallelism. The watermark
// begins anew behind where it was.
func (w *agedWorld) restart() {
	if w.chains != nil {
		w.restartChains()
		return
	}
	var files [][]byte
	raw := 0
	for _, h := range w.parts {
		s, err := h.b.Snapshot(1)
		if err != nil {
			w.t.Fatal(err)
		}
		file := write(w.t, s)
		files = append(files, file)
		s.Release()
		raw += w.entries(file)
	}
	if want := w.model.alive(); raw != want {
		w.t.Errorf("the snapshots hold %d entries, %d are alive", raw, want)
	}
	if w.rnd.IntN(2) == 0 {
		w.now += w.rnd.Int64N(400)
	}
	w.model.now = w.now
	w.model.drop()
	w.wm = []int64{dataflow.TimeMin, w.wm - 300, w.wm}[w.rnd.IntN(3)]
	w.open(1+w.rnd.IntN(4), files)
	for _, h := range w.parts {
		h.k.Advance(w.now, w.wm, 0)
	}
}

// restartChains is restart with files that may hold what has expired: what did
// not change since its key group was last written whole.
func (w *agedWorld) restartChains() {
	w.checkpoint(true)
	w.now += w.rnd.Int64N(400)
	w.model.now = w.now
	w.wm = []int64{dataflow.TimeMin, w.wm - 300, w.wm}[w.rnd.IntN(3)]
	w.with(w.chains.open(w.cp, w.f, 1+w.rnd.IntN(3)))
	for _, h := range w.parts {
		h.k.Advance(w.now, w.wm, 0)
	}
}

func (w *agedWorld) checkpoint(commit bool) {
	var bs []state.Backend
	for _, h := range w.parts {
		bs = append(bs, h.b)
	}
	w.cp++
	w.chains.take(w.cp, bs)()
	if commit {
		w.chains.committed(w.cp, bs)
	}
}

// entries counts what a file holds in all tables.
func (w *agedWorld) entries(file []byte) (n int) {
	ref := NewReference(whole(), suiteGroups).(*Reference)
	if err := ref.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
		w.t.Fatal(err)
	}
	for _, tab := range ref.tables {
		n += tab.Len()
	}
	return n
}

// step does one operation on the handles and on the model.
func (w *agedWorld) step(where string) {
	id := w.rnd.Int64N(12)
	k := key(fmt.Sprint("k", id))
	h := w.parts[dataflow.SubtaskOf(k.Group(suiteGroups), suiteGroups, len(w.parts))]
	w.row = dataflow.TimeNone
	if w.wm != dataflow.TimeMin && w.rnd.IntN(5) > 0 {
		w.row = w.wm - 100 + w.rnd.Int64N(400)
	}
	h.k.SetKey(k)
	h.k.SetRowTime(w.row)
	w.model.row = w.row
	text := strings.Repeat("x", w.rnd.IntN(30)) + fmt.Sprint(w.rnd.IntN(100))
	op := w.rnd.IntN(22)
	if w.ttl.Visibility == state.ReturnExpiredIfNotCleanedUp && (op == 6 || op == 7 || op == 9) {
		w.compare(h, map[int]int{6: 8, 7: 8, 9: 10}[op], id, text, where) // what is added to must be known
	}
	w.compare(h, op, id, text, where)
}

func (w *agedWorld) compare(h agedHandles, op int, id int64, text, where string) {
	got, want := h.do(op, id, text), w.model.do(op, id, text)
	if got != want && w.ttl.Visibility == state.ReturnExpiredIfNotCleanedUp && w.model.couldBe(op, id, text, got) {
		return // what has expired may be gone
	}
	if got != want {
		w.t.Errorf("%s, operation %d of key %d at %d, watermark %d: %.200s, want %.200s", where, op, id, w.now, w.model.wm, got, want)
	}
}

// do does an operation and returns what it saw, as text.
func (h *agedHandles) do(op int, id int64, text string) string {
	n := int64(len(text))
	switch op {
	case 0, 1:
		h.fixed.Set(n)
	case 2:
		return fmt.Sprint(h.fixed.Get())
	case 3, 4:
		h.text.Set(text)
	case 5:
		return fmt.Sprint(h.text.Get())
	case 6, 7:
		h.sum.Add(n)
	case 8:
		return fmt.Sprint(h.sum.Get())
	case 9:
		h.cat.Add(text)
	case 10:
		return fmt.Sprint(h.cat.Get())
	case 11, 12:
		h.list.Add(text, text+"2")
	case 13:
		return fmt.Sprint(slices.Collect(h.list.All()))
	case 14:
		return fmt.Sprint(h.list.Len())
	case 15, 16:
		h.dict.Put(n%7, text)
	case 17:
		return fmt.Sprint(h.dict.Get(n % 7))
	case 18:
		return fmt.Sprint(maps.Collect(h.dict.All()))
	case 19:
		return fmt.Sprint(h.dict.Len(), h.dict.Contains(n%7))
	case 20:
		h.list.Retain(func(s string) bool { return len(s)%2 == 0 })
	case 21:
		if n%5 == 0 {
			h.fixed.Clear()
			h.list.Clear()
			h.dict.Clear()
		}
		h.dict.Delete(n % 7)
	}
	return ""
}
