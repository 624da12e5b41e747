package opstate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/opstate"
)

type writer struct{}

func (writer) MayWriteBroadcast() {}

func open(t *testing.T, old [][]byte, subtask, parallelism int) *opstate.Set {
	t.Helper()
	s, err := opstate.Open(&operators.Context{
		Info: dataflow.TaskInfo{UID: "op", Subtask: subtask, Parallelism: parallelism}, Restored: old,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
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

// TestRescaleAgainstReference moves random lists through random parallelisms:
// each element stays in one list, in order, and lists differ by one in length
// at most, or stay as they are when the parallelism does; a union has all elements of all; broadcast maps are copies.
func TestRescaleAgainstReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var old [][]byte
		var want []string
		var before [][]string // of each subtask
		rules := make(map[string]int)
		n := 0
		for round := range 6 {
			p := 1 + rng.IntN(7)
			var all, next []string
			var snaps [][]byte
			var after [][]string
			name := fmt.Sprint("rule", rng.IntN(4))
			rules[name] = round
			for i := range p {
				s := open(t, old, i, p)
				l := must[*opstate.List[string]](t)(opstate.NewList[string](s, "list"))
				u := must[*opstate.List[string]](t)(opstate.NewUnion[string](s, "union"))
				m := must[*opstate.Map[string, int]](t)(opstate.NewMap[string, int](s, "rules"))
				if p == len(old) {
					if got := slices.Collect(l.All()); !slices.Equal(got, before[i]) {
						t.Fatalf("seed %d: subtask %d has %v, had %v at the same parallelism", seed, i, got, before[i])
					}
				} else if d := l.Len() - len(want)/p; d < 0 || d > 1 {
					t.Fatalf("seed %d: subtask %d of %d has %d elements of %d", seed, i, p, l.Len(), len(want))
				}
				all = slices.AppendSeq(all, l.All())
				if got := slices.Collect(u.All()); round > 0 && !slices.Equal(got, want) {
					t.Fatalf("seed %d: union %v, want %v", seed, got, want)
				}
				u.Clear()
				for range rng.IntN(4) {
					n++
					l.Add(fmt.Sprint(n))
				}
				u.Set(slices.Collect(l.All()))
				next = slices.AppendSeq(next, l.All())
				after = append(after, slices.Collect(l.All()))
				m.Put(writer{}, name, round)
				for k, v := range m.All() {
					if rules[k] != v {
						t.Fatalf("seed %d: %s is %d, want %d", seed, k, v, rules[k])
					}
				}
				if m.Len() != len(rules) {
					t.Fatalf("seed %d: %d rules, want %d", seed, m.Len(), len(rules))
				}
				snaps = append(snaps, s.Snapshot())
			}
			if !slices.Equal(all, want) {
				t.Fatalf("seed %d: lists %v, want %v", seed, all, want)
			}
			old, want, before = snaps, next, after
		}
	}
}

// TestUnclaimedStateGoesOn keeps state through a run of a program that does
// not know it.
func TestUnclaimedStateGoesOn(t *testing.T) {
	t.Parallel()
	s := open(t, nil, 0, 1)
	must[*opstate.List[int]](t)(opstate.NewList[int](s, "l")).Add(1, 2, 3)
	old := [][]byte{s.Snapshot()}
	old = [][]byte{open(t, old, 0, 2).Snapshot(), open(t, old, 1, 2).Snapshot()}
	l := must[*opstate.List[int]](t)(opstate.NewList[int](open(t, old, 0, 1), "l"))
	if got := slices.Collect(l.All()); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("elements %v", got)
	}
}

func TestStateOfAnotherTypeIsRefused(t *testing.T) {
	t.Parallel()
	s := open(t, nil, 0, 1)
	must[*opstate.List[int]](t)(opstate.NewList[int](s, "l")).Add(1)
	if _, err := opstate.NewUnion[int](s, "l"); err == nil || !strings.Contains(err.Error(), "made twice") {
		t.Errorf("a second state of the name: %v", err)
	}
	old := [][]byte{s.Snapshot()}
	if _, err := opstate.NewList[string](open(t, old, 0, 1), "l"); err == nil || !strings.Contains(err.Error(), "give the new state another name") {
		t.Errorf("another type: %v", err)
	}
	if _, err := opstate.NewUnion[int](open(t, old, 0, 1), "l"); err == nil || !strings.Contains(err.Error(), "union list") {
		t.Errorf("another kind: %v", err)
	}
	if _, err := opstate.NewList[chan int](s, "c"); err == nil {
		t.Error("a list of channels was accepted")
	}
}

// TestUndo takes back all that was done since a mark.
func TestUndo(t *testing.T) {
	t.Parallel()
	s := open(t, nil, 0, 1)
	l := must[*opstate.List[int]](t)(opstate.NewList[int](s, "l"))
	m := must[*opstate.Map[int, string]](t)(opstate.NewMap[int, string](s, "m"))
	l.Add(1, 2)
	m.Put(writer{}, 1, "a")
	m.Put(writer{}, 2, "b")
	before := s.Snapshot()
	for _, change := range []func(){
		func() { l.Add(3); m.Put(writer{}, 1, "c"); m.Put(writer{}, 3, "d"); m.Put(writer{}, 3, "e") },
		func() { l.Clear(); m.Clear(writer{}); l.Add(9); m.Put(writer{}, 2, "x") },
		func() { m.Delete(writer{}, 1); m.Put(writer{}, 1, "y"); m.Delete(writer{}, 7) },
	} {
		s.Mark()
		change()
		if string(s.Snapshot()) == string(before) {
			t.Fatal("nothing changed")
		}
		s.Undo()
		if string(s.Snapshot()) != string(before) {
			t.Fatalf("state after undo:\n%q\nwant\n%q", s.Snapshot(), before)
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte("\x01\x01\x01\x01l\x03int\x01\x01\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := &operators.Context{Info: dataflow.TaskInfo{Parallelism: 1}, Restored: [][]byte{b}}
		s, err := opstate.Open(ctx)
		if err != nil {
			return
		}
		again, err := opstate.Open(&operators.Context{Info: ctx.Info, Restored: [][]byte{s.Snapshot()}})
		if err != nil || string(again.Snapshot()) != string(s.Snapshot()) {
			t.Errorf("%q does not come back: %v", s.Snapshot(), err)
		}
	})
}

// TestOlderTypesAreRead: elements and broadcast values of a type with fields
// added, dropped and widened.
func TestOlderTypesAreRead(t *testing.T) {
	t.Parallel()
	type older struct {
		Gone string
		N    int32
	}
	type newer struct {
		N    int64
		Note string
	}
	s := open(t, nil, 0, 1)
	must[*opstate.List[older]](t)(opstate.NewList[older](s, "list")).Add(older{"x", 1}, older{"", -2})
	must[*opstate.List[older]](t)(opstate.NewUnion[older](s, "union")).Add(older{"y", 3})
	must[*opstate.Map[string, older]](t)(opstate.NewMap[string, older](s, "rules")).Put(writer{}, "a", older{"z", 4})
	snap := [][]byte{s.Snapshot()}

	now := open(t, snap, 0, 1)
	l := must[*opstate.List[newer]](t)(opstate.NewList[newer](now, "list"))
	u := must[*opstate.List[newer]](t)(opstate.NewUnion[newer](now, "union"))
	m := must[*opstate.Map[string, newer]](t)(opstate.NewMap[string, newer](now, "rules"))
	got := append(slices.Collect(l.All()), slices.Collect(u.All())...)
	a, _ := m.Get("a")
	if got = append(got, a); !slices.Equal(got, []newer{{N: 1}, {N: -2}, {N: 3}, {N: 4}}) {
		t.Errorf("read %v", got)
	}
	// What is written is of the new type.
	again := open(t, [][]byte{now.Snapshot()}, 0, 1)
	if l := must[*opstate.List[newer]](t)(opstate.NewList[newer](again, "list")); l.Len() != 2 {
		t.Errorf("%d elements", l.Len())
	}

	type narrower struct{ N int8 }
	bad := open(t, snap, 0, 1)
	_, err := opstate.NewMap[string, narrower](bad, "rules")
	if err == nil || !strings.Contains(err.Error(), "int32 cannot be read as int8") || !strings.Contains(err.Error(), "keep the type") {
		t.Errorf("error %v", err)
	}
	_, err = opstate.NewMap[int, older](bad, "rules")
	if err == nil || !strings.Contains(err.Error(), "keep the type") {
		t.Errorf("error %v", err)
	}
}
