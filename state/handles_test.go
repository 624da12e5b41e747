package state_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statetest"
)

type point struct {
	X, Y int64
	Name string
}

func backends() map[string]statetest.Factory {
	return map[string]statetest.Factory{
		"memory": func(g dataflow.KeyGroupRange, m int) state.Backend { return memstate.New(g, m) },
		"dumb":   statetest.NewReference,
	}
}

func eachBackend(t *testing.T, run func(t *testing.T, k *state.Keyed)) {
	t.Helper()
	for name, f := range backends() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, state.NewKeyed(f(dataflow.KeyGroupsOf(0, 128, 1), 128)))
		})
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func setKey(k *state.Keyed, i int) { k.SetKey(state.KeyOf(fmt.Append(nil, "key", i))) }

func TestValueIsByKeyAndNamespace(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, k *state.Keyed) {
		points := must[*state.Value[point]](t)(state.NewValue[point](k, "points"))
		fixed := must[*state.Value[int32]](t)(state.NewValue[int32](k, "fixed"))
		for i := range 200 {
			setKey(k, i)
			k.SetNamespace(int64(i % 3))
			points.Set(point{int64(i), -1, strings.Repeat("n", i)})
			fixed.Set(int32(-i))
		}
		for i := range 200 {
			setKey(k, i)
			for ns := range int64(3) {
				k.SetNamespace(ns)
				p, ok := points.Get()
				f, okf := fixed.Get()
				there := ns == int64(i%3)
				if ok != there || okf != there || there && (p != point{int64(i), -1, strings.Repeat("n", i)} || f != int32(-i)) {
					t.Fatalf("key %d in %d: %v %t, %d %t", i, ns, p, ok, f, okf)
				}
			}
			k.SetNamespace(int64(i % 3))
			points.Clear()
			if _, ok := points.Get(); ok {
				t.Errorf("key %d is there after Clear", i)
			}
		}
	})
}

func TestListKeepsOrder(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, k *state.Keyed) {
		l := must[*state.List[point]](t)(state.NewList[point](k, "list"))
		empties := must[*state.List[struct{}]](t)(state.NewList[struct{}](k, "empties"))
		want := map[int][]point{}
		for i := range 2000 {
			key := i % 7
			setKey(k, key)
			p := point{X: int64(i), Name: strings.Repeat("x", i%5)}
			l.Add(p)
			l.Add()
			want[key] = append(want[key], p)
			empties.Add(struct{}{})
		}
		for key, ps := range want {
			setKey(k, key)
			if got := slices.Collect(l.All()); !slices.Equal(got, ps) {
				t.Errorf("key %d: %d elements, want %d", key, len(got), len(ps))
			}
			if n := len(slices.Collect(empties.All())); n != len(ps) {
				t.Errorf("%d empty elements, want %d", n, len(ps))
			}
			for p := range l.All() {
				if p != ps[0] {
					t.Errorf("first is %v", p)
				}
				break
			}
			l.Set(ps[1:2])
			if got := slices.Collect(l.All()); !slices.Equal(got, ps[1:2]) {
				t.Errorf("after Set: %v", got)
			}
			l.Set(nil)
			if got := slices.Collect(l.All()); got != nil {
				t.Errorf("after Set(nil): %v", got)
			}
		}
		if n := l.All(); slices.Collect(n) != nil {
			t.Error("cleared list has elements")
		}
	})
}

func TestMapIsLikeAMap(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, k *state.Keyed) {
		m := must[*state.Map[int32, string]](t)(state.NewMap[int32, string](k, "map"))
		floats := must[*state.Map[float64, int8]](t)(state.NewMap[float64, int8](k, "floats"))
		want := map[int32]string{}
		setKey(k, 1)
		m.Put(5, "of another key")
		setKey(k, 2)
		for i := range int32(1000) {
			sub := i * 7919 % 97
			if i%3 == 0 {
				m.Delete(sub)
				delete(want, sub)
			} else {
				m.Put(sub, fmt.Sprint(i))
				want[sub] = fmt.Sprint(i)
			}
			if v, ok := m.Get(sub); ok != (i%3 != 0) || v != want[sub] {
				t.Fatalf("step %d: %q %t", i, v, ok)
			}
		}
		if got := maps.Collect(m.All()); !maps.Equal(got, want) || m.Len() != len(want) {
			t.Errorf("map %v, len %d; want %v", got, m.Len(), want)
		}
		m.Clear()
		if _, ok := m.Get(1); ok || m.Len() != 0 {
			t.Error("cleared map has entries")
		}
		floats.Put(math.NaN(), 1)
		floats.Put(math.Copysign(0, -1), 2)
		a, _ := floats.Get(math.NaN())
		b, _ := floats.Get(0)
		if a != 1 || b != 2 {
			t.Errorf("NaN holds %d, 0 holds %d", a, b)
		}
	})
}

func TestHandlesSurviveRestoreAndRefuseOtherTypes(t *testing.T) {
	t.Parallel()
	for name, f := range backends() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := state.NewKeyed(f(dataflow.KeyGroupsOf(0, 128, 1), 128))
			v := must[*state.Value[int64]](t)(state.NewValue[int64](k, "v"))
			r := must[*state.Reducing[int64]](t)(state.NewReducing(k, "r", func(a, b int64) int64 { return a - b }))
			for i := range 5 {
				setKey(k, i)
				v.Set(int64(i))
				r.Add(10)
				r.Add(1)
			}
			s, err := k.Backend().Snapshot(1)
			if err != nil {
				t.Fatal(err)
			}
			var file bytes.Buffer
			if _, err := s.WriteTo(&file); err != nil {
				t.Fatal(err)
			}
			s.Release()
			b := f(dataflow.KeyGroupsOf(0, 128, 1), 128)
			if err := b.Restore(&file, state.RestorePart{}); err != nil {
				t.Fatal(err)
			}
			k = state.NewKeyed(b)
			if _, err := state.NewValue[string](k, "v"); err == nil || !strings.Contains(err.Error(), "int64") || !strings.Contains(err.Error(), "string") {
				t.Errorf("another type: %v", err)
			}
			if _, err := state.NewReducing(k, "v", func(a, _ int64) int64 { return a }); err == nil {
				t.Error("another kind of the same type was accepted")
			}
			if _, err := state.NewMap[int64, int64](k, "v"); err == nil {
				t.Error("a map of the name was accepted")
			}
			v = must[*state.Value[int64]](t)(state.NewValue[int64](k, "v"))
			r = must[*state.Reducing[int64]](t)(state.NewReducing(k, "r", func(a, b int64) int64 { return a - b }))
			setKey(k, 3)
			got, _ := v.Get()
			red, _ := r.Get()
			if got != 3 || red != 9 {
				t.Errorf("restored %d and %d", got, red)
			}
		})
	}
}

func TestTypesWithoutCodecAreRefused(t *testing.T) {
	t.Parallel()
	k := state.NewKeyed(memstate.New(dataflow.KeyGroupsOf(0, 128, 1), 128))
	if _, err := state.NewValue[chan int](k, "c"); err == nil || !strings.Contains(err.Error(), `"c"`) {
		t.Errorf("value of a channel: %v", err)
	}
	if _, err := state.NewList[func()](k, "c"); err == nil {
		t.Error("list of functions was accepted")
	}
	if _, err := state.NewMap[chan int, int](k, "c"); err == nil {
		t.Error("map from channels was accepted")
	}
	if _, err := state.NewMap[int64, chan int](k, "c"); err == nil {
		t.Error("map to channels was accepted")
	}
}

func TestFixedValuesDoNotAllocate(t *testing.T) {
	k := keyed()
	v := must[*state.Value[[2]int64]](t)(state.NewValue[[2]int64](k, "v"))
	r := must[*state.Reducing[int64]](t)(state.NewReducing(k, "r", func(a, b int64) int64 { return a + b }))
	setKey(k, 1)
	if n := testing.AllocsPerRun(100, func() {
		x, _ := v.Get()
		x[0]++
		v.Set(x)
		r.Add(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if x, _ := v.Get(); x[0] != 101 {
		t.Errorf("counted %d", x[0])
	}
}
