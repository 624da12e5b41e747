package statetest

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// handlesV1 is a snapshot of the handles that openV1 makes, filled by fillV1.
// It is of the first version of their form and is never written again: every
// later version must read it.
//
//go:embed testdata/handles_v1.state
var handlesV1 []byte

// RunMigration runs the suite of state whose type has changed on backends of f:
// what can be read is rewritten when the handle is made, with any TTL before
// and after, and what cannot is an error that names it.
func RunMigration(t *testing.T, f Factory) {
	t.Helper()
	if _, ok := f(whole(), suiteGroups).(state.Migrator); !ok {
		t.Skip("the backend does not migrate")
	}
	t.Run("a snapshot of the first version", func(t *testing.T) { t.Parallel(); wantV2(t, f, handlesV1, 0, 0, false) })
	for old := range 3 {
		for now := range 3 {
			t.Run(fmt.Sprintf("ttl %d to %d", old, now), func(t *testing.T) {
				t.Parallel()
				wantV2(t, f, fileV1(t, f, old), old, now, true)
			})
		}
	}
	t.Run("what cannot be read", func(t *testing.T) { t.Parallel(); testUnreadable(t, f) })
	t.Run("keys of another type", func(t *testing.T) { t.Parallel(); testBindKey(t, f) })
}

// itemV1 and itemV2 are a type before and after it was changed: fields are
// gone, new, wider, renamed and in another order.
type itemV1 struct {
	Name  string
	Gone  []int64
	Count int32
	Ratio float32
	Last  string
}

type itemV2 struct {
	Count int64
	New   *time.Time
	Ratio float64
	Title string `leat:"was=Name"`
	Last  string
}

type dictKeyV1 struct {
	Shop string
	ID   int16
}

type dictKeyV2 struct {
	ID   int64
	Shop string
	Zone uint8
}

func makeV1(i int) itemV1 {
	return itemV1{Name: fmt.Sprint("name ", i), Gone: make([]int64, i%5), Count: int32(i - 20), Ratio: float32(i) / 4, Last: "z"}
}

func makeV2(i int) itemV2 {
	return itemV2{Title: fmt.Sprint("name ", i), Count: int64(i - 20), Ratio: float64(i) / 4, Last: "z"}
}

// items are handles of each kind over a type of items.
type items[T, N, K any] struct {
	k     *state.Keyed
	fixed *state.Value[N]
	value *state.Value[T]
	list  *state.List[T]
	dict  *state.Map[K, T]
	sum   *state.Reducing[T]
	agg   *state.Aggregating[T, []T, int]
}

// ttlOf are the options of a handle by number: none, processing and event time.
func ttlOf(n int) []state.Option {
	if n == 0 {
		return nil
	}
	return []state.Option{state.WithTTL(state.TTL{After: time.Hour, Time: state.TTLTime(n - 1)})}
}

func openItems[T, N, K any](b state.Backend, ttl int, now int64) (h items[T, N, K], err error) {
	h.k = state.NewKeyed(b)
	h.k.Advance(now, dataflow.TimeMin, 0)
	opts := ttlOf(ttl)
	if h.fixed, err = state.NewValue[N](h.k, "fixed", opts...); err != nil {
		return h, err
	}
	if h.value, err = state.NewValue[T](h.k, "value", opts...); err != nil {
		return h, err
	}
	if h.list, err = state.NewList[T](h.k, "list", opts...); err != nil {
		return h, err
	}
	if h.dict, err = state.NewMap[K, T](h.k, "dict", opts...); err != nil {
		return h, err
	}
	if h.sum, err = state.NewReducing(h.k, "sum", func(_, b T) T { return b }, opts...); err != nil {
		return h, err
	}
	h.agg, err = state.NewAggregating(h.k, "agg", state.Aggregator[T, []T, int]{
		Add:    func(acc *[]T, v T) { *acc = append(*acc, v) },
		Result: func(acc *[]T) int { return len(*acc) },
	}, opts...)
	return h, err
}

const itemKeys = 40

// fileV1 is a snapshot of filled handles of the old types.
func fileV1(t *testing.T, f Factory, ttl int) []byte {
	t.Helper()
	b := f(whole(), suiteGroups)
	defer b.Close()
	if err := state.BindKey(b, "string"); err != nil {
		t.Fatal(err)
	}
	h, err := openItems[itemV1, int32, dictKeyV1](b, ttl, 1000)
	if err != nil {
		t.Fatal(err)
	}
	h.k.Advance(1000, 1000, 0)
	for i := range itemKeys {
		h.k.SetKey(key(fmt.Sprint("key", i)))
		h.k.SetNamespace(int64(i % 3))
		h.fixed.Set(int32(-i))
		h.value.Set(makeV1(i))
		for j := range i {
			h.list.Add(makeV1(i + j))
			h.dict.Put(dictKeyV1{fmt.Sprint("shop\x00", j%3), int16(-j)}, makeV1(j))
		}
		h.sum.Add(makeV1(i))
		h.agg.Add(makeV1(i))
	}
	s, err := b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	return write(t, s)
}

// wantV2 restores a file of the old types, at two parallelisms, into handles
// of the new.
func wantV2(t *testing.T, f Factory, file []byte, old, ttl int, rescale bool) {
	t.Helper()
	parallelism := 1
	if rescale {
		parallelism = 3
	}
	for i := range parallelism {
		groups := dataflow.KeyGroupsOf(i, suiteGroups, parallelism)
		b := f(groups, suiteGroups)
		if err := b.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
		now := int64(2000)
		if err := state.BindKey(b, "string"); err != nil {
			t.Error(err)
		}
		h, err := openItems[itemV2, int64, dictKeyV2](b, ttl, now)
		if err != nil {
			t.Fatal(err)
		}
		wantItems(t, h, groups, true)
		h.k.Advance(now, 2000, 100000)
		// Age counts from the last update, or else from the restore.
		left := time.Hour.Milliseconds()
		if old == ttl {
			left -= 1000
		}
		h.k.Advance(now+left-1, 2000+left-1, 100000)
		wantItems(t, h, groups, true)
		h.k.Advance(now+left, 2000+left, 100000)
		wantItems(t, h, groups, ttl == 0)
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func wantItems(t *testing.T, h items[itemV2, int64, dictKeyV2], groups dataflow.KeyGroupRange, there bool) {
	t.Helper()
	for i := range itemKeys {
		k := key(fmt.Sprint("key", i))
		if !groups.Contains(k.Group(suiteGroups)) {
			continue
		}
		h.k.SetKey(k)
		h.k.SetNamespace(int64(i % 3))
		n, okN := h.fixed.Get()
		v, okV := h.value.Get()
		s, okS := h.sum.Get()
		l, okL := h.agg.Get()
		if okN != there || okV != there || okS != there || okL != there {
			t.Fatalf("key %d: there are %t %t %t %t, want %t", i, okN, okV, okS, okL, there)
		}
		var list []itemV2
		dict := map[dictKeyV2]itemV2{}
		if there {
			if n != int64(-i) || v != makeV2(i) || s != makeV2(i) || l != 1 {
				t.Errorf("key %d: %d, %+v, %+v, %d", i, n, v, s, l)
			}
			for j := range i {
				list = append(list, makeV2(i+j))
				dict[dictKeyV2{ID: int64(-j), Shop: fmt.Sprint("shop\x00", j%3)}] = makeV2(j)
			}
		}
		if got := slices.Collect(h.list.All()); !slices.Equal(got, list) {
			t.Errorf("key %d: list %+v, want %+v", i, got, list)
		}
		if got := maps.Collect(h.dict.All()); !maps.Equal(got, dict) {
			t.Errorf("key %d: map %+v, want %+v", i, got, dict)
		}
		for k, want := range dict {
			if got, ok := h.dict.Get(k); !ok || got != want {
				t.Errorf("key %d, map key %+v: %+v %t", i, k, got, ok)
			}
		}
	}
}

// testUnreadable wants each error to name the state, the field, both types
// and what to do.
func testUnreadable(t *testing.T, f Factory) {
	type narrow struct {
		Name  string
		Count int16
	}
	type text struct{ Ratio string }
	type foreign struct{ Other string }
	type bigger struct{ Count string }
	file := fileV1(t, f, 0)
	for want, open := range map[string]func(k *state.Keyed) error{
		`"value"|narrow.Count: int32 cannot be read as int16|keep the old field`: func(k *state.Keyed) error { _, err := state.NewValue[narrow](k, "value"); return err },
		`"list"|text.Ratio: float32 cannot be read as string`:                    func(k *state.Keyed) error { _, err := state.NewList[text](k, "list"); return err },
		`"sum"|have no field in common|was=OLDNAME`: func(k *state.Keyed) error {
			_, err := state.NewReducing(k, "sum", func(a, _ foreign) foreign { return a })
			return err
		},
		`"agg"|[].Count: int32 cannot be read as string`: func(k *state.Keyed) error {
			_, err := state.NewAggregating(k, "agg", state.Aggregator[int, []bigger, int]{Add: func(*[]bigger, int) {}, Result: func(*[]bigger) int { return 0 }})
			return err
		},
		`"dict"|keys|Shop: string cannot be read as int64`: func(k *state.Keyed) error {
			_, err := state.NewMap[struct{ Shop int64 }, itemV1](k, "dict")
			return err
		},
		`"dict"|keys|the field ID is gone from a key`: func(k *state.Keyed) error {
			_, err := state.NewMap[struct{ Shop string }, itemV1](k, "dict")
			return err
		},
		`"dict"|values|cannot be read as`:              func(k *state.Keyed) error { _, err := state.NewMap[dictKeyV1, int64](k, "dict"); return err },
		`"fixed"|value int32|list int32`:               func(k *state.Keyed) error { _, err := state.NewList[int32](k, "fixed"); return err },
		`"list"|but the operator wants "map string to`: func(k *state.Keyed) error { _, err := state.NewMap[string, itemV1](k, "list"); return err },
	} {
		b := f(whole(), suiteGroups)
		if err := b.Restore(bytes.NewReader(file), state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
		k := state.NewKeyed(b)
		err := state.NameOperator(open(k), "my-operator")
		for part := range strings.SplitSeq(want+`|operator "my-operator"`, "|") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got error %v, want %s", want, err, part)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testBindKey(t *testing.T, f Factory) {
	b := f(whole(), suiteGroups)
	defer b.Close()
	if err := b.Restore(bytes.NewReader(fileV1(t, f, 0)), state.RestorePart{}); err != nil {
		t.Fatal(err)
	}
	err := state.BindKey(b, "int64")
	if err == nil || !strings.Contains(err.Error(), `by keys of type "string", but the operator's keys are of type "int64"`) {
		t.Errorf("another type of key: %v", err)
	}
	fresh := f(whole(), suiteGroups)
	defer fresh.Close()
	for range 2 {
		if err := state.BindKey(fresh, "int64"); err != nil {
			t.Error(err)
		}
	}
}
