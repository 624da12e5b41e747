package groupvalue_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/groupvalue"
	"github.com/leatstream/leat/state/statefile"
)

var groups = dataflow.KeyGroupRange{First: 3, Last: 5}

// place is a name and a key group.
type place struct {
	name  string
	group dataflow.KeyGroup
}

// collector is the values of a section's body.
type collector struct {
	group dataflow.KeyGroup
	into  map[place]string
}

func (c collector) Entry(int, int64, []byte, []byte) error            { return fmt.Errorf("an entry") }
func (c collector) SubEntry(int, int64, []byte, []byte, []byte) error { return fmt.Errorf("an entry") }
func (c collector) GroupValue(name string, val []byte) error {
	c.into[place{name, c.group}] = string(val)
	return nil
}

func contents(t *testing.T, f groupvalue.Frozen) map[place]string {
	t.Helper()
	into := map[place]string{}
	h := statefile.Header{Groups: groups, Tables: []state.Descriptor{}}
	for i := range groups.Len() {
		c := collector{groups.First + dataflow.KeyGroup(i), into}
		if _, err := h.Parse(statefile.Section{Group: c.group, Body: f.AppendTo(nil, i)}, c); err != nil {
			t.Fatal(err)
		}
	}
	return into
}

// TestWhatIsFrozenStays sets and unsets values at random beside a map, and
// looks at each frozen set after many changes.
func TestWhatIsFrozenStays(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	s, want := groupvalue.New(groups), map[place]string{}
	type moment struct {
		frozen groupvalue.Frozen
		want   map[place]string
	}
	var moments []moment
	for range 2000 {
		p := place{string(rune('a' + rng.IntN(4))), groups.First + dataflow.KeyGroup(rng.IntN(groups.Len()))}
		switch rng.IntN(8) {
		case 0:
			s.Put(p.name, p.group, nil)
			delete(want, p)
		case 1:
			moments = append(moments, moment{s.Freeze(), maps.Clone(want)})
		default:
			v := fmt.Sprint(rng.IntN(300))
			s.Put(p.name, p.group, []byte(v))
			want[p] = v
		}
		if got := string(s.Get(p.name, p.group)); got != want[p] {
			t.Fatalf("value %q of group %d is %q, want %q", p.name, p.group, got, want[p])
		}
	}
	for i, m := range moments {
		if got := contents(t, m.frozen); !maps.Equal(got, m.want) {
			t.Fatalf("frozen set %d holds %v, want %v", i, got, m.want)
		}
	}
}

func TestSettingAgainDoesNotAllocate(t *testing.T) {
	s, v := groupvalue.New(groups), []byte("12345678")
	s.Put("bound", 4, v)
	if n := testing.AllocsPerRun(100, func() { s.Put("bound", 4, v) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestForeignGroups(t *testing.T) {
	t.Parallel()
	s := groupvalue.New(groups)
	if got := s.Get("bound", 9); got != nil {
		t.Errorf("a value %q of a foreign group", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a value was set for a foreign group")
		}
	}()
	s.Put("bound", 9, []byte("v"))
}
