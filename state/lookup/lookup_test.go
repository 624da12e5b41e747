package lookup_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/lookup"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statetest"
)

func backends() map[string]statetest.Factory {
	return map[string]statetest.Factory{
		"memory": func(g dataflow.KeyGroupRange, m int) state.Backend { return memstate.New(g, m) },
		"dumb":   statetest.NewReference,
	}
}

// filled makes a backend of random state, and the entries that it holds.
func filled(t *testing.T, f statetest.Factory, rng *rand.Rand) (state.Backend, []lookup.Entry) {
	t.Helper()
	b := f(dataflow.KeyGroupsOf(0, 128, 1), 128)
	var all []lookup.Entry
	for i, d := range []state.Descriptor{{Name: "fixed", Schema: "int64", Fixed: 8}, {Name: "map", Schema: "map string to string", Sub: true}, {Name: "value", Schema: "string"}} {
		table, err := b.Table(d)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 150 {
			key := fmt.Appendf(nil, "key-%02d", rng.IntN(40))
			e := lookup.Entry{Table: i, Namespace: rng.Int64N(5) - 2, Key: key, Value: fmt.Appendf(nil, "%08d", n)}
			if d.Sub {
				e.Sub = fmt.Appendf(nil, "sub-%d", rng.IntN(4))
				table.(state.SubTable).PutSub(e.Namespace, state.KeyOf(key), e.Sub, e.Value)
			} else {
				table.Put(e.Namespace, state.KeyOf(key), e.Value)
			}
			all = slices.DeleteFunc(all, func(o lookup.Entry) bool { return order(o, e) == 0 })
			all = append(all, e)
		}
	}
	slices.SortFunc(all, order)
	return b, all
}

func order(a, b lookup.Entry) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), bytes.Compare(a.Key, b.Key), cmp.Compare(a.Namespace, b.Namespace), bytes.Compare(a.Sub, b.Sub))
}

func show(es []lookup.Entry) string {
	var b strings.Builder
	for _, e := range es {
		fmt.Fprintf(&b, "%d %s %d %s %s\n", e.Table, e.Key, e.Namespace, e.Sub, e.Value)
	}
	return b.String()
}

func where(es []lookup.Entry, keep func(lookup.Entry) bool) (out []lookup.Entry) {
	for _, e := range es {
		if keep(e) {
			out = append(out, e)
		}
	}
	return out
}

// TestAnswersEqualAScan compares queries of random state with what was put.
func TestAnswersEqualAScan(t *testing.T) {
	t.Parallel()
	for name, f := range backends() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			b, all := filled(t, f, rng)
			s, err := b.Snapshot(7)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Release()
			for range 100 {
				key := fmt.Appendf(nil, "key-%02d", rng.IntN(42))
				to := fmt.Appendf(nil, "key-%02d", rng.IntN(42))
				q := lookup.Query{Key: key, From: rng.Int64N(5) - 2, To: rng.Int64N(5) - 2, Limit: 1 + rng.IntN(60)}
				got, err := lookup.Key(b, q)
				check(t, "key", got, err, q.Limit, where(all, func(e lookup.Entry) bool {
					return bytes.Equal(e.Key, key) && e.Namespace >= q.From && e.Namespace <= q.To
				}))
				q.KeyFrom, q.KeyTo = key, to
				got, err = lookup.Range(s, q)
				check(t, "range", got, err, q.Limit, where(all, func(e lookup.Entry) bool {
					return bytes.Compare(e.Key, key) >= 0 && bytes.Compare(e.Key, to) <= 0 && e.Namespace >= q.From && e.Namespace <= q.To
				}))
			}
			q := lookup.All()
			q.Table = "map"
			got, err := lookup.Range(s, q)
			for i := range got.Entries {
				got.Entries[i].Table = 1
			}
			check(t, "one table", got, err, lookup.EntriesMax, where(all, func(e lookup.Entry) bool { return e.Table == 1 }))
		})
	}
}

func check(t *testing.T, what string, got lookup.Answer, err error, limit int, want []lookup.Entry) {
	t.Helper()
	more := len(want) > limit
	want = want[:min(limit, len(want))]
	if err != nil || got.More != more || show(got.Entries) != show(want) {
		t.Fatalf("%s: error %v, more %t, got\n%swant more %t\n%s", what, err, got.More, show(got.Entries), more, show(want))
	}
}

func TestTablesAreCounted(t *testing.T) {
	t.Parallel()
	for name, f := range backends() {
		b, all := filled(t, f, rand.New(rand.NewPCG(3, 4)))
		a, err := lookup.Tables(b)
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range a.Tables {
			if want := len(where(all, func(e lookup.Entry) bool { return e.Table == i })); a.Sizes[i] != want {
				t.Errorf("%s: table %q has %d entries, want %d", name, d.Name, a.Sizes[i], want)
			}
		}
	}
}

// TestAnswersAreBoundedInBytes: large values cut an answer short.
func TestAnswersAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	b := memstate.New(dataflow.KeyGroupsOf(0, 128, 1), 128)
	table, err := b.Table(state.Descriptor{Name: "large", Schema: "string"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(10) {
		table.Put(i, state.KeyOf([]byte("k")), make([]byte, lookup.BytesMax/4))
	}
	q := lookup.All()
	q.Key = []byte("k")
	a, err := lookup.Key(b, q)
	if err != nil || !a.More || len(a.Entries) != 3 {
		t.Errorf("%d entries, more %t, error %v", len(a.Entries), a.More, err)
	}
}

type bare struct{ state.Backend }

func TestABackendWithoutAListIsNamed(t *testing.T) {
	t.Parallel()
	b := bare{memstate.New(dataflow.KeyGroupsOf(0, 128, 1), 128)}
	if _, err := lookup.Key(b, lookup.All()); !errors.Is(err, lookup.ErrUnlisted) {
		t.Error(err)
	}
	if _, err := lookup.Tables(b); !errors.Is(err, lookup.ErrUnlisted) {
		t.Error(err)
	}
}

type broken struct{ state.Snapshot }

func (broken) WriteTo(io.Writer) (int64, error) {
	return 0, errors.New("the disk is gone")
}

func TestAFailedSnapshotIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := lookup.Range(broken{}, lookup.All()); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("error %v", err)
	}
}
