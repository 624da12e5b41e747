package state_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statetest"
)

func TestFaultsOfOptions(t *testing.T) {
	t.Parallel()
	k := keyed()
	untimed := state.NewKeyed(memstate.New(dataflow.KeyGroupsOf(0, 128, 1), 128))
	k.Advance(1, dataflow.TimeMin, 0)
	value := func(opts ...state.Option) func(name string) error {
		return func(name string) error { _, err := state.NewValue[int64](k, name, opts...); return err }
	}
	sum := func(a, b int64) int64 { return a + b }
	hour := state.TTL{After: time.Hour}
	for name, c := range map[string]struct {
		make func(name string) error
		want string
	}{
		"negative":   {value(state.WithTTL(state.TTL{After: -time.Second})), "TTL.After is -1s: give a millisecond or more"},
		"tiny":       {value(state.WithTTL(state.TTL{After: time.Microsecond})), "TTL.After is 1µs: give a millisecond or more"},
		"none":       {value(state.WithTTL(state.TTL{})), "TTL.After is 0s"},
		"update":     {value(state.WithTTL(state.TTL{After: time.Hour, Update: 9})), "TTL.Update is 9: use OnCreateAndWrite"},
		"visibility": {value(state.WithTTL(state.TTL{After: time.Hour, Visibility: 9})), "TTL.Visibility is 9: use Never"},
		"time":       {value(state.WithTTL(state.TTL{After: time.Hour, Time: 9})), "TTL.Time is 9: use ProcessingTime"},
		"nil":        {value(state.WithTTL(hour), nil), "option 1 is nil"},
		"default":    {value(state.Default("x")), "default of type string, but the state holds int64: write state.Default[int64](…)"},
		"list": {func(n string) error { _, err := state.NewList[int64](k, n, state.Default(int64(1))); return err },
			"a default is for values"},
		"aggregating": {func(n string) error {
			a := state.Aggregator[int64, int64, int64]{Add: func(*int64, int64) {}, Result: func(a *int64) int64 { return *a }}
			_, err := state.NewAggregating(k, n, a, state.Default(int64(1)))
			return err
		}, "a default is for values"},
		"map":      {func(n string) error { _, err := state.NewMap[int64, int64](k, n, state.Default("x")); return err }, "default of type string"},
		"reducing": {func(n string) error { _, err := state.NewReducing(k, n, sum, state.Default("x")); return err }, "default of type string"},
		"reduce":   {func(n string) error { _, err := state.NewReducing[int64](k, n, nil); return err }, "the reduce function is nil"},
		"functions": {func(n string) error {
			_, err := state.NewAggregating(k, n, state.Aggregator[int64, int64, int64]{})
			return err
		}, "needs the functions Add and Result"},
		"untimed": {func(n string) error { _, err := state.NewValue[int64](untimed, n, state.WithTTL(hour)); return err },
			"this operator does not tell its state the time"},
		"twice": {func(n string) error {
			if err := value(state.WithTTL(hour))(n); err != nil {
				t.Error(err)
			}
			if err := value(state.WithTTL(hour))(n); err != nil {
				t.Error(err)
			}
			return value(state.WithTTL(state.TTL{After: time.Minute}))(n)
		}, "another handle of that name has the TTL"},
	} {
		err := c.make(name)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `state "`+name+`"`) {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, k *state.Keyed) {
		v := must[*state.Value[[]string]](t)(state.NewValue[[]string](k, "v", state.Default([]string{"a", "b"})))
		m := must[*state.Map[string, int64]](t)(state.NewMap[string, int64](k, "m", state.Default(int64(7))))
		r := must[*state.Reducing[int64]](t)(state.NewReducing(k, "r", func(a, b int64) int64 { return a + b }, state.Default(int64(9))))
		for range 2 {
			got, ok := v.Get()
			if ok || !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("default is %v, %t", got, ok)
			}
			got[0] = "changed in the caller's hand"
		}
		if n, ok := m.Get("x"); ok || n != 7 || m.Contains("x") || m.Len() != 0 {
			t.Errorf("default of a map is %d, %t", n, ok)
		}
		r.Add(1)
		if n, ok := r.Get(); !ok || n != 1 {
			t.Errorf("the sum is %d, %t: the default was added", n, ok)
		}
		v.Set(nil)
		if got, ok := v.Get(); !ok || got != nil {
			t.Errorf("a value that was set to nil is %v, %t", got, ok)
		}
	})
}

func TestMapAndListInParts(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, k *state.Keyed) {
		m := must[*state.Map[int32, string]](t)(state.NewMap[int32, string](k, "m"))
		l := must[*state.List[int64]](t)(state.NewList[int64](k, "l"))
		for _, i := range []int32{5, -3, 900, 0} {
			m.Put(i, strings.Repeat("x", int(i+3)))
			l.Add(int64(i), int64(i)+1)
		}
		var keys []int32
		var lens []int
		for key, v := range m.Sorted() {
			keys, lens = append(keys, key), append(lens, len(v))
		}
		if !slices.Equal(keys, []int32{-3, 0, 5, 900}) || !slices.Equal(lens, []int{0, 3, 8, 903}) {
			t.Errorf("sorted: %v %v", keys, lens)
		}
		var all []int32
		for key := range m.All() {
			all = append(all, key)
		}
		if got := slices.Collect(m.Keys()); !slices.Equal(got, all) || len(slices.Collect(m.Values())) != 4 {
			t.Errorf("keys %v, want %v", got, all)
		}
		for range m.Sorted() {
			break
		}
		if l.Len() != 8 {
			t.Errorf("%d elements", l.Len())
		}
		l.Retain(func(n int64) bool { return n%2 == 0 })
		if got := slices.Collect(l.All()); !slices.Equal(got, []int64{6, -2, 900, 0}) {
			t.Errorf("retained %v", got)
		}
		l.Retain(func(int64) bool { return true })
		l.Retain(func(int64) bool { return false })
		if l.Len() != 0 || k.Backend().(interface{ Bytes() int64 }).Bytes() < 0 {
			t.Error("elements are left")
		}
	})
}

func TestFixedValuesWithTTLDoNotAllocate(t *testing.T) {
	k := keyed()
	k.Advance(1, dataflow.TimeMin, 0)
	ttl := state.WithTTL(state.TTL{After: time.Hour, Update: state.OnReadAndWrite})
	v := must[*state.Value[[2]int64]](t)(state.NewValue[[2]int64](k, "v", ttl))
	m := must[*state.Map[int64, int64]](t)(state.NewMap[int64, int64](k, "m", ttl))
	setKey(k, 1)
	now := int64(1)
	if n := testing.AllocsPerRun(100, func() {
		now++
		k.Advance(now, now, 10)
		x, _ := v.Get()
		x[0]++
		v.Set(x)
		n, _ := m.Get(5)
		m.Put(5, n+1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBackendWithoutSweepRefusesTTL(t *testing.T) {
	t.Parallel()
	k := state.NewKeyed(plainBackend{statetest.NewReference(dataflow.KeyGroupsOf(0, 128, 1), 128)})
	k.Advance(1, dataflow.TimeMin, 0)
	if _, err := state.NewValue[int64](k, "v", state.WithTTL(state.TTL{After: time.Hour})); err == nil || !strings.Contains(err.Error(), "does not remove what has expired") {
		t.Errorf("error %v", err)
	}
}

// plainBackend is a backend without optional abilities.
type plainBackend struct{ state.Backend }

type plainTable struct{ state.Table }

func (b plainBackend) Table(d state.Descriptor) (state.Table, error) {
	t, err := b.Backend.Table(d)
	return plainTable{t}, err
}

func TestScanKeysAndReadersLeaveOutWhatExpired(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, k *state.Keyed) {
		k.Advance(0, dataflow.TimeMin, 0)
		ttl := state.WithTTL(state.TTL{After: time.Second, Update: state.OnReadAndWrite})
		v := must[*state.Value[string]](t)(state.NewValue[string](k, "v", ttl))
		m := must[*state.Map[int64, string]](t)(state.NewMap[int64, string](k, "m", ttl))
		l := must[*state.List[string]](t)(state.NewList[string](k, "l", ttl))
		keys := func(s state.KeyScanner) (n int) {
			s.ScanKeys(func([]byte) bool { n++; return true })
			return n
		}
		for i := range 10 {
			setKey(k, i)
			v.Set("v")
			m.Put(1, "m")
			l.Add("l")
			if i == 4 {
				k.Advance(500, dataflow.TimeMin, 0)
			}
		}
		// A reader of the same tables does not make them young.
		r := state.NewKeyed(k.Backend())
		r.ReadAt(900, dataflow.TimeMax)
		rv := must[*state.Value[string]](t)(state.NewValue[string](r, "v", ttl))
		rm := must[*state.Map[int64, string]](t)(state.NewMap[int64, string](r, "m", ttl))
		for i := range 10 {
			setKey(r, i)
			_, okV := rv.Get()
			_, okM := rm.Get(1)
			if !okV || !okM {
				t.Errorf("key %d: %t %t", i, okV, okM)
			}
		}
		r.ReadAt(1000, dataflow.TimeMin)
		k.Advance(1000, dataflow.TimeMin, 0)
		if a, b, c := keys(v), keys(m), keys(l); a != 5 || b != 5 || c != 5 {
			t.Errorf("%d, %d and %d keys are left, want 5", a, b, c)
		}
	})
}
