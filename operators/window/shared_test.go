package window

import (
	"bytes"
	"errors"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
)

// gappy is of fixed size, but not kept as it lies in memory.
type gappy struct {
	Set  bool
	Sum  int64
	Tail [3]uint8
}

// A suffix is moved between live and its own table as bytes.
func TestLiveBeginsAsSuffixDoes(t *testing.T) {
	lives, suffixes := must(codec.Of[live[gappy]]()), must(codec.Of[suffix[gappy]]())
	front := gappy{Set: true, Sum: -7, Tail: [3]uint8{1, 2, 3}}
	whole, part := make([]byte, lives.Fixed()), make([]byte, suffixes.Fixed())
	lives.FixedStore(whole, &live[gappy]{Mark: 12345<<1 | hasBack, Front: front, Back: gappy{Sum: 9}})
	suffixes.FixedStore(part, &suffix[gappy]{Mark: 12345<<1 | hasBack, Acc: front})
	if len(part) == 0 || !bytes.HasPrefix(whole, part) {
		t.Errorf("live is %x, a suffix %x", whole, part)
	}
	if m := markOf(whole); m != 12345<<1|hasBack {
		t.Errorf("the mark reads %x", m)
	}
}

// What a snapshot of an older form holds of live and suffixes is dropped: they
// are made of the panes again.
func TestOlderFormOfSharedIsDropped(t *testing.T) {
	type olderLive struct {
		First       int64
		HasBack     bool
		Front, Back int64
	}
	type olderSuffix struct{ Next, Acc int64 }
	b := memstate.New(dataflow.KeyGroupRange{First: 0, Last: 7}, 8)
	must(state.RowTable(b, tableLive, must(codec.Of[olderLive]()), false)).Upsert(0, numbered(1))
	must(state.RowTable(b, tableSuffixes, must(codec.Of[olderSuffix]()), false)).Upsert(10, numbered(1))
	snap := must(b.Snapshot(1))
	var buf bytes.Buffer
	must(snap.WriteTo(&buf))
	snap.Release()
	restored := memstate.New(dataflow.KeyGroupRange{First: 0, Last: 7}, 8)
	if err := restored.Restore(&buf, state.RestorePart{}); err != nil {
		t.Fatal(err)
	}
	s := &shared[int64]{panes: Sliding{Size: 20, Slide: 10}}
	if err := s.open(restored); err != nil {
		t.Fatal(err)
	}
	if n := s.live.table.Len() + s.suffixes.table.Len(); n > 0 {
		t.Errorf("%d entries are left", n)
	}
}

// A table that gives its entries one by one is scanned as one that gives many.
func TestAheadCollects(t *testing.T) {
	b := memstate.New(dataflow.KeyGroupRange{First: 0, Last: 7}, 8)
	tab := must(b.Table(state.Descriptor{Name: "x", Schema: "x"}))
	var x ahead
	for _, n := range []int{0, 1, aheadKeys - 1, aheadKeys, aheadKeys + 1, 1000} {
		for i := range n {
			tab.Put(int64(n), numbered(i), bytes.Repeat([]byte{byte(i)}, i%50))
		}
		for name, from := range map[string]state.Table{"one by one": struct{ state.Table }{tab}, "many": tab} {
			seen := map[string]bool{}
			err := x.scan(from, int64(n), func(keys []state.Key, vals [][]byte) error {
				if len(keys) == 0 || len(keys) > aheadKeys || len(keys) != len(vals) {
					t.Errorf("%d keys with %d values", len(keys), len(vals))
				}
				for i, k := range keys {
					if want, ok := tab.Get(int64(n), state.KeyOf(k.Bytes)); !ok || !bytes.Equal(vals[i], want) || k.Hash != codec.HashKey(k.Bytes) {
						t.Errorf("key %x has %x, want %x", k.Bytes, vals[i], want)
					}
					seen[string(k.Bytes)] = true
				}
				return nil
			})
			if err != nil || len(seen) != n {
				t.Errorf("%s: %d of %d keys, %v", name, len(seen), n, err)
			}
			stop := errors.New("stop")
			if err := x.scan(from, int64(n), func([]state.Key, [][]byte) error { return stop }); n > 0 && !errors.Is(err, stop) {
				t.Errorf("%s: of %d keys the error is %v", name, n, err)
			}
		}
	}
}
