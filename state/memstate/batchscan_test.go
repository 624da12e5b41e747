package memstate

import (
	"encoding/binary"
	"testing"

	"github.com/leatstream/leat/state"
)

// Tables with the same keys are scanned in about the same order, in whatever
// order they were written; and the index of one that is filled by the scan of
// another is not larger than any.
func TestScanBatchOrder(t *testing.T) {
	t.Parallel()
	const n = 300_000 // more than an index is made ready for
	b := New(allGroups(), 1024)
	open := func(name string) *table {
		tab, err := b.Table(state.Descriptor{Name: name, Schema: "x", Fixed: 8})
		if err != nil {
			t.Fatal(err)
		}
		return tab.(*table)
	}
	fill := func(tab *table, stride uint64) {
		for i := range uint64(n) {
			k := i * stride % n
			v, _ := tab.Upsert(0, state.KeyOf(binary.BigEndian.AppendUint64(nil, k*largeScrambler)))
			binary.LittleEndian.PutUint64(v, k)
		}
	}
	one, two, copied := open("one"), open("two"), open("copied")
	fill(one, 1)
	fill(two, 7919)
	place, at := make([]int, n), 0
	to := make([][]byte, scanRows)
	one.ScanBatch(0, func(keys []state.Key, vals [][]byte) bool {
		copied.UpsertBatch(0, keys, to, nil)
		for i, v := range vals {
			place[binary.LittleEndian.Uint64(v)] = at
			at++
			copy(to[i], v)
		}
		return true
	})
	for _, tab := range []*table{two, copied} {
		at, far := 0, 0
		tab.ScanBatch(0, func(_ []state.Key, vals [][]byte) bool {
			for _, v := range vals {
				if d := place[binary.LittleEndian.Uint64(v)] - at; max(d, -d) > 8*segSlotsMax {
					far++
				}
				at++
			}
			return true
		})
		if at != n || far > 0 {
			t.Errorf("table %q: of %d entries %d came far from where they came before", tab.d.Name, at, far)
		}
	}
	if have, most := copied.spaces[0].idx.own, one.spaces[0].idx.own*3/2; have > most {
		t.Errorf("the index takes %d bytes, more than %d", have, most)
	}
}
