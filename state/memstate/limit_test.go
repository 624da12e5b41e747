package memstate_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statefile"
)

// limited makes two backends of one worker, with a table each.
func limited(t *testing.T, bytes int64) (bs [2]*memstate.Backend, tabs [2]state.Table) {
	t.Helper()
	among := memstate.Open(bytes)
	for i := range bs {
		b, err := among.New(dataflow.KeyGroupRange{First: 0, Last: 127}, 128)
		if err != nil {
			t.Fatal(err)
		}
		bs[i] = b.(*memstate.Backend)
		if tabs[i], err = b.Table(state.Descriptor{Name: []string{"small", "rows"}[i], Schema: "bytes"}); err != nil {
			t.Fatal(err)
		}
	}
	return bs, tabs
}

func put(tab state.Table, ns int64, from, to int, val []byte) {
	var k [8]byte
	for i := from; i < to; i++ {
		binary.BigEndian.PutUint64(k[:], uint64(i))
		tab.Put(ns, state.KeyOf(k[:]), val)
	}
}

// The limit holds for the worker; the error names what has grown and what is
// in it, and stays.
func TestLimitNamesWhatHasGrown(t *testing.T) {
	t.Parallel()
	bs, tabs := limited(t, 4<<20)
	put(tabs[0], 0, 0, 10, make([]byte, 10))
	put(tabs[1], 0, 0, 1000, make([]byte, 1000))
	put(tabs[1], 60000, 0, 1000, make([]byte, 1000))
	tabs[1].Put(60000, state.KeyOf([]byte("a-busy-key")), make([]byte, 1<<20))
	for _, b := range bs {
		if err := b.Err(); err != nil {
			t.Fatalf("%d bytes: %v", b.Bytes(), err)
		}
	}
	put(tabs[1], 60000, 1000, 3000, make([]byte, 1000))
	if err := bs[0].Err(); err != nil {
		t.Fatalf("the one that stood still is blamed: %v", err)
	}
	err := bs[1].Err()
	var e *state.LimitError
	if !errors.As(err, &e) {
		t.Fatalf("%d bytes under a limit of 4 MiB: %v", bs[1].Bytes(), err)
	}
	if e.Own != bs[1].Bytes() || e.Total <= e.Own || e.Total > bs[0].Bytes()+bs[1].Bytes() || e.Limit != 4<<20 || string(e.Key) != "a-busy-key" || e.KeyBytes < 1<<20 || e.KeyBytes > 2<<20 {
		t.Errorf("%+v with %d and %d bytes", e, bs[0].Bytes(), bs[1].Bytes())
	}
	if len(e.Tables) != 1 || e.Tables[0].Name != "rows" || e.Tables[0].Keys != 4001 || e.Tables[0].Namespaces != 2 || e.Tables[0].Bytes > e.Own {
		t.Errorf("%+v", e.Tables)
	}
	for _, part := range []string{"may take 4.0 MiB", `table "rows": 4001 keys in 2 windows`, `the largest key, "a-busy-key", has 1.0 MiB`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	tabs[1].DropNamespace(60000)
	if !errors.Is(bs[1].Err(), err) {
		t.Error("the failure did not stay")
	}
}

// What leaves makes room: namespaces, snapshots, and backends that are closed.
func TestLimitCountsWhatIsHeld(t *testing.T) {
	t.Parallel()
	bs, tabs := limited(t, 4<<20)
	ok := func(what string) {
		t.Helper()
		for _, b := range bs {
			if err := b.Err(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	put(tabs[1], 0, 0, 2500, make([]byte, 1000))
	ok("2.5 MB")
	tabs[1].DropNamespace(0)
	ok("dropped")
	put(tabs[0], 0, 0, 2500, make([]byte, 1000))
	ok("2.5 MB elsewhere")
	snap, err := bs[0].Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	put(tabs[0], 0, 0, 1000, make([]byte, 1000)) // copies of pages
	ok("3.5 MB with the snapshot")
	snap.Release()
	put(tabs[1], 0, 0, 1000, make([]byte, 1000))
	ok("3.5 MB after the snapshot, though the first was not asked since")
	if err := bs[0].Close(); err != nil {
		t.Fatal(err)
	}
	put(tabs[1], 0, 1000, 3500, make([]byte, 1000))
	ok("3.5 MB, the first is closed")
	snap, err = bs[1].Snapshot(2)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	put(tabs[1], 0, 0, 3500, make([]byte, 1000))
	if bs[1].Err() == nil {
		t.Errorf("%d bytes with what the snapshot holds, under a limit of 4 MiB", bs[1].Bytes())
	}
}

// What is kept for namespaces to come is little beside the limit, and no state
// fails for it.
func TestLimitIsOfWhatIsInUse(t *testing.T) {
	t.Parallel()
	bs, tabs := limited(t, 6<<20)
	put(tabs[0], 0, 0, 2500, make([]byte, 1000))
	put(tabs[0], 1, 0, 2500, make([]byte, 1000))
	if err := bs[0].Err(); err != nil {
		t.Fatal(err)
	}
	tabs[0].DropNamespace(0)
	if err := bs[0].Err(); err != nil {
		t.Fatal(err)
	}
	if n := bs[0].Bytes(); n > 3_500_000 {
		t.Errorf("%d bytes when one of two namespaces of 2.6 MB was dropped", n)
	}
	put(tabs[1], 0, 0, 2500, make([]byte, 1000))
	if err := bs[1].Err(); err != nil {
		t.Errorf("another's memory that is spare: %v", err)
	}
}

// A restore ends at the limit, not when all is in memory.
func TestLimitOfARestore(t *testing.T) {
	t.Parallel()
	from, tabs := limited(t, 0)
	put(tabs[1], 0, 0, 30_000, make([]byte, 1000))
	snap, err := from[1].Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	var file bytes.Buffer
	if _, err := snap.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	to, _ := limited(t, 8<<20)
	b, err := memstate.Open(8<<20).New(to[0].KeyGroups(), 128)
	if err != nil {
		t.Fatal(err)
	}
	var over *state.LimitError
	if err := b.Restore(&file, state.RestorePart{}); !errors.As(err, &over) || b.Bytes() > 16<<20 {
		t.Errorf("%d bytes under a limit of 8 MiB: %v", b.Bytes(), err)
	}
}

// Maps count with all that a key has; without a limit nothing fails.
func TestLimitOfMaps(t *testing.T) {
	t.Parallel()
	for limit, fails := range map[int64]bool{0: false, 1 << 20: true} {
		b, err := memstate.Open(limit).New(dataflow.KeyGroupRange{First: 0, Last: 127}, 128)
		if err != nil {
			t.Fatal(err)
		}
		tab, err := b.Table(state.Descriptor{Name: "seen", Schema: "map", Sub: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20_000 {
			key := "few"
			if i%2 == 0 {
				key = "few" + string(rune('a'+i%20))
			}
			tab.(state.SubTable).PutSub(0, state.KeyOf([]byte(key)), binary.BigEndian.AppendUint32(nil, uint32(i)), make([]byte, 50))
		}
		err = b.(state.Failer).Err()
		var e *state.LimitError
		if errors.As(err, &e) != fails {
			t.Fatalf("limit %d: %v", limit, err)
		}
		if fails && (string(e.Key) != "few" || e.KeyBytes < 500_000 || e.KeyBytes > e.Own*2/3) {
			t.Errorf("%+v", e)
		}
	}
}

func TestEntryTooLarge(t *testing.T) {
	t.Parallel()
	_, tabs := limited(t, 0)
	long := state.KeyOf(make([]byte, state.KeyBytesMax))
	for _, c := range []struct {
		limit int64
		says  string
		put   func()
	}{
		{state.EntryBytesMax, "256.0 MiB", func() { tabs[0].Put(0, state.KeyOf([]byte("k")), make([]byte, state.EntryBytesMax)) }},
		{state.KeyBytesMax, "2.0 MiB", func() { tabs[0].Put(0, long, nil) }},
	} {
		func() {
			defer func() {
				e, ok := recover().(*state.LimitError)
				if !ok || e.Entry != c.limit || e.Limit != c.limit || !strings.Contains(e.Error(), c.says) {
					t.Errorf("%v", e)
				}
			}()
			c.put()
		}()
	}
}

// A file of a time when keys could be longer is refused, not a cause to panic.
func TestKeyOfFileTooLong(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	w, err := statefile.NewWriter(&file, statefile.Header{Checkpoint: 1, MaxParallelism: 1, Tables: []state.Descriptor{{Name: "values", Schema: "x"}}})
	body := statefile.AppendEntry(statefile.AppendEntries(nil, 0, 0, 1), 0, make([]byte, state.KeyBytesMax), nil)
	if err := errors.Join(err, w.Chunk([]statefile.Section{{Body: body}}), w.Finish(1)); err != nil {
		t.Fatal(err)
	}
	var e *state.LimitError
	if err := memstate.New(dataflow.KeyGroupRange{}, 1).Restore(&file, state.RestorePart{}); !errors.As(err, &e) || e.Limit != state.KeyBytesMax {
		t.Errorf("got %v", err)
	}
}

// What is noted of deletions goes before state fails: the next checkpoint holds
// everything then.
func TestLogsGoBeforeTheLimitFails(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	bs, tabs := limited(t, limit)
	b := bs[0]
	snapshot := func(cp dataflow.CheckpointID) state.Snapshot {
		s, err := b.Snapshot(cp)
		if err != nil {
			t.Fatal(err)
		}
		s.Release()
		return s
	}
	put(tabs[0], 0, 0, 1500, make([]byte, 200))
	snapshot(1)
	b.Committed(1)
	for i := range uint64(1500) {
		tabs[0].Delete(0, state.KeyOf(binary.BigEndian.AppendUint64(nil, i)))
	}
	if s := snapshot(2).(state.Delta); s.Base() != 1 {
		t.Fatalf("base %d, want 1", s.Base())
	}
	for i := 2000; b.Bytes() <= limit; i++ {
		put(tabs[0], 0, i, i+1, make([]byte, 200))
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if s := snapshot(3).(state.Delta); s.Base() != 0 || b.Bytes() > limit {
		t.Errorf("base %d, %d bytes: the logs are kept", s.Base(), b.Bytes())
	}
}
