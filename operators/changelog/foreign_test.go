package changelog_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/operators"
	"github.com/leatstream/leat/operators/changelog"
	"github.com/leatstream/leat/operators/operatortest"
)

// pointing is a left row: what it points at, and something else.
type pointing struct {
	To string
	N  int64
}

type (
	leftChange   = changelog.Change[string, pointing]
	rightChange  = changelog.Change[string, string]
	subscription = changelog.Subscription[string, string, pointing]
	version      = changelog.Version[string]
	answer       = changelog.Answer[string, string]
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func keys[T any](of func(T) string) changelog.Keys[string, T] {
	return changelog.Keys[string, T]{Of: of, Hasher: must(columnar.HasherOf(of)), Codec: must(codec.Of[string]())}
}

// foreignJoin is the operators of a join by foreign key, with two subtasks of
// the second one, and the channels between them: each in order, but any of
// them may be far behind.
type foreignJoin struct {
	t         *testing.T
	subscribe *operatortest.Harness
	serve     [2]*operatortest.Harness
	resolve   *operatortest.Harness
	places    [2][]subscription
	rights    [2][]rightChange
	versions  []version
	answers   [2][]answer
	table     map[string]string
}

func newForeignJoin(t *testing.T) *foreignJoin {
	text := must(codec.Of[string]())
	f := &foreignJoin{t: t, table: make(map[string]string)}
	lefts, versions := keys(changelog.KeyOf[string, pointing]), keys(changelog.VersionKey[string])
	subs := keys(changelog.To[string, string, pointing])
	f.subscribe = operatortest.New(t, operatortest.Config{
		Key: lefts.Hasher, Sides: []string{changelog.SideVersions},
		Factory: changelog.Subscribe[string](func(p pointing) (string, bool) { return p.To, p.To != "" }),
	})
	for i := range f.serve {
		f.serve[i] = operatortest.New(t, operatortest.Config{
			Key: subs.Hasher,
			Factory: changelog.Serve(changelog.ServeConfig[string, string, pointing, string, string]{
				Subscriptions: subs, Rights: keys(changelog.KeyOf[string, string]), RightCodec: text,
				Pair: changelog.Pairing[pointing, string, string]{Left: true, Func: pair},
			}),
		})
	}
	f.resolve = operatortest.New(t, operatortest.Config{
		Key: versions.Hasher,
		Factory: changelog.Resolve(changelog.ResolveConfig[string, string]{
			Versions: versions, Answers: keys(changelog.AnswerKey[string, string]), Values: text,
		}),
	})
	return f
}

func pair(l *pointing, r *string) string {
	if r == nil {
		return fmt.Sprint(l.N, " alone")
	}
	return fmt.Sprint(l.N, " ", *r)
}

func place(to string) int {
	if to == "" {
		return 0
	}
	return int(to[len(to)-1]) % 2
}

func give[T any](t *testing.T, h *operatortest.Harness, input int, rows ...T) {
	t.Helper()
	if err := h.Subs[0].Operator.Process(input, columnar.NewBatch(rows, nil)); err != nil {
		t.Fatal(err)
	}
}

func (f *foreignJoin) left(c leftChange) {
	give(f.t, f.subscribe, 0, c)
	f.versions = append(f.versions, operatortest.Rows[version](f.subscribe, changelog.SideVersions)...)
	for _, e := range f.subscribe.Take() {
		if e.Side == "" {
			for _, s := range columnar.Rows[subscription](e.Batch) {
				f.places[place(s.To)] = append(f.places[place(s.To)], s)
			}
		}
	}
}

func take[T any](queue *[]T) (v T, ok bool) {
	if len(*queue) == 0 {
		return v, false
	}
	v, *queue = (*queue)[0], (*queue)[1:]
	return v, true
}

// deliver moves one row on, along a channel that chance picks.
func (f *foreignJoin) deliver(rng *rand.Rand) {
	i := rng.IntN(2)
	switch rng.IntN(4) {
	case 0:
		if s, ok := take(&f.places[i]); ok {
			give(f.t, f.serve[i], 0, s)
		}
	case 1:
		if c, ok := take(&f.rights[i]); ok {
			give(f.t, f.serve[i], 1, c)
		}
	case 2:
		if v, ok := take(&f.versions); ok {
			give(f.t, f.resolve, 0, v)
		}
	case 3:
		if a, ok := take(&f.answers[i]); ok {
			give(f.t, f.resolve, 1, a)
		}
	}
	f.answers[i] = append(f.answers[i], operatortest.Rows[answer](f.serve[i], "")...)
	f.serve[i].Take()
	for _, c := range operatortest.Rows[rightChange](f.resolve, "") {
		was, ok := f.table[c.Key]
		if ok == (c.Op == changelog.Insert) || was != c.Before || c.Op == changelog.Update && was == c.Value {
			f.t.Fatalf("%v follows %q", c, was)
		}
		if delete(f.table, c.Key); !c.Deleted() {
			f.table[c.Key] = c.Value
		}
	}
	f.resolve.Take()
}

func (f *foreignJoin) busy() bool {
	n := len(f.versions)
	for i := range f.serve {
		n += len(f.places[i]) + len(f.rights[i]) + len(f.answers[i])
	}
	return n > 0
}

// tabled makes the change that edits a table.
func tabled[V comparable](table map[string]V, key string, v V, gone bool) (c changelog.Change[string, V], ok bool) {
	was, had := table[key]
	c = changelog.Change[string, V]{Key: key, Value: v, Before: was}
	switch {
	case gone && !had, had && !gone && was == v:
		return c, false
	case gone:
		var zero V
		c.Op, c.Value = changelog.Delete, zero
		delete(table, key)
		return c, true
	case had:
		c.Op = changelog.Update
	}
	table[key] = v
	return c, true
}

// TestForeignJoinInAnyOrder lets every channel be behind as chance has it:
// what is stale never comes out last, and nothing is kept of what is gone.
func TestForeignJoinInAnyOrder(t *testing.T) {
	t.Parallel()
	empty := emptyBytes(t)
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		f := newForeignJoin(t)
		lefts, rights := make(map[string]pointing), make(map[string]string)
		for i := range 300 {
			switch rng.IntN(3) {
			case 0:
				to := fmt.Sprint("r", rng.IntN(5))
				if rng.IntN(5) == 0 {
					to = ""
				}
				if c, ok := tabled(lefts, fmt.Sprint("l", rng.IntN(4)), pointing{to, int64(i)}, rng.IntN(4) == 0); ok {
					f.left(c)
				}
			case 1:
				if c, ok := tabled(rights, fmt.Sprint("r", rng.IntN(5)), fmt.Sprint(i), rng.IntN(4) == 0); ok {
					f.rights[place(c.Key)] = append(f.rights[place(c.Key)], c)
				}
			}
			for range rng.IntN(6) {
				f.deliver(rng)
			}
			if rng.IntN(40) == 0 {
				f.restore()
			}
		}
		if seed%2 == 0 { // delete all: nothing may be left
			for k := range maps.Clone(lefts) {
				c, _ := tabled(lefts, k, pointing{}, true)
				f.left(c)
			}
		}
		for f.busy() {
			f.deliver(rng)
		}
		f.restore()
		want := make(map[string]string)
		for k, l := range lefts {
			want[k] = pair(&l, nil)
			if r, ok := rights[l.To]; ok {
				want[k] = pair(&l, &r)
			}
		}
		if !maps.Equal(f.table, want) {
			t.Fatalf("seed %d: table %v, want %v", seed, f.table, want)
		}
		if n := f.resolve.Subs[0].State.Bytes(); seed%2 == 0 && n > empty {
			t.Errorf("seed %d: %d bytes are kept of rows that are gone, want %d", seed, n, empty)
		}
	}
}

// restore throws all operators away and makes them anew of a snapshot.
func (f *foreignJoin) restore() {
	for _, h := range []*operatortest.Harness{f.subscribe, f.serve[0], f.serve[1], f.resolve} {
		h.Restore(h.Checkpoint(operators.Checkpoint{ID: 1}), 1)
	}
}

// emptyBytes is what the last operator holds when a row came and went.
func emptyBytes(t *testing.T) int64 {
	f := newForeignJoin(t)
	lefts := make(map[string]pointing)
	for _, gone := range []bool{false, true} {
		c, _ := tabled(lefts, "l", pointing{"r0", 1}, gone)
		f.left(c)
		for rng := rand.New(rand.NewPCG(1, 1)); f.busy(); {
			f.deliver(rng)
		}
	}
	f.restore()
	return f.resolve.Subs[0].State.Bytes()
}
