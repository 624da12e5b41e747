package pebblestate

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/memstate"
	"github.com/leatstream/leat/state/statefile"
)

const (
	deltaGroups = 1024
	deltaSlices = 64
)

func deltaGroupsAll() dataflow.KeyGroupRange { return dataflow.KeyGroupsOf(0, deltaGroups, 1) }

// openDeltas opens a backend and a table in it, of values of a fixed size or
// of maps.
func openDeltas(t *testing.T, d state.Descriptor) (*Backend, state.Table) {
	t.Helper()
	s, err := Open(Config{Dir: filepath.Join(t.TempDir(), "state"), MemoryBytes: MemoryMin, fs: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.New(deltaGroupsAll(), deltaGroups)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	tab, err := b.Table(d)
	if err != nil {
		t.Fatal(err)
	}
	return b.(*Backend), tab
}

func freeze(t *testing.T, b *Backend, cp dataflow.CheckpointID) *snapshot {
	t.Helper()
	s, err := b.Snapshot(cp)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*snapshot)
}

// gather writes a file and returns its size and what was read for it.
func gather(t *testing.T, s *snapshot, whole dataflow.KeyGroupRange) (size int64, read uint64) {
	t.Helper()
	h, fill := s.header, (*chunker).all
	if s.base.cp != 0 {
		h, fill = s.deltaHeader(whole), (*chunker).delta
	}
	c, err := newChunker(s, io.Discard, h)
	if err == nil {
		err = c.write(fill)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.w.Bytes(), c.read
}

// Of state of which one per cent changes at a time that much is written and
// one slice, and only a part of the files is read for it.
func TestDeltaReadsAndWritesLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures, which the race detector distorts")
	}
	t.Parallel()
	const keys, rounds = 200_000, 12
	b, tab := openDeltas(t, state.Descriptor{Name: "values", Schema: "x", Fixed: 64})
	name := func(i uint64) state.Key { return state.KeyOf(fmt.Appendf(nil, "key %032d", i)) }
	for i := range uint64(keys) {
		scramble(tab.(state.Overwriter).Overwrite(0, name(i)), i)
	}
	s := freeze(t, b, 1)
	fullSize, fullRead := gather(t, s, deltaGroupsAll())
	s.Release()
	b.Committed(1)
	rnd := rand.New(rand.NewPCG(1, 1))
	var size int64
	var read uint64
	for i := range rounds {
		for range keys / 100 {
			scramble(tab.(state.Overwriter).Overwrite(0, name(rnd.Uint64N(keys))), rnd.Uint64())
		}
		s := freeze(t, b, dataflow.CheckpointID(i+2))
		n, r := gather(t, s, dataflow.KeyGroupsOf(i, deltaGroups, deltaSlices))
		s.Release()
		b.Committed(dataflow.CheckpointID(i + 2))
		size, read = size+n, read+r
	}
	t.Logf("all: %d KB written, %d KB read; a delta: %.2f %% written, %.2f %% read", fullSize/1000, fullRead/1000,
		100*float64(size)/rounds/float64(fullSize), 100*float64(read)/rounds/float64(fullRead))
	if size > rounds*fullSize*4/100 {
		t.Errorf("%d deltas of one per cent have %d bytes, everything has %d", rounds, size, fullSize)
	}
	if read == 0 || read > rounds*fullRead/2 {
		t.Errorf("for %d deltas %d bytes of blocks were read, for everything %d", rounds, read, fullRead)
	}
}

// What writing a file takes does not grow with the state.
func TestWritingTakesLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures, which the race detector distorts")
	}
	t.Parallel()
	b, tab := openDeltas(t, state.Descriptor{Name: "values", Schema: "x", Fixed: 4 << 10})
	for i := range uint64(10 << 10) {
		scramble(tab.(state.Overwriter).Overwrite(0, state.KeyOf(fmt.Append(nil, i))), i)
	}
	s := freeze(t, b, 1)
	defer s.Release()
	c, err := newChunker(s, io.Discard, s.header)
	if err == nil {
		err = c.write((*chunker).all)
	}
	if err != nil {
		t.Fatal(err)
	}
	held := cap(c.run)
	for _, body := range append(c.bodies, c.spare...) {
		held += cap(body)
	}
	if c.w.Bytes() < 40<<20 || held > 3*statefile.ChunkBytesMax {
		t.Errorf("%d bytes are held after a file of %d", held, c.w.Bytes())
	}
}

// What is deleted is in the log, and so in the delta; when that is too much of
// the state, there is no base any more, and the log is given up.
func TestMuchDeletedIsWrittenAnew(t *testing.T) {
	t.Parallel()
	b, tab := openDeltas(t, state.Descriptor{Name: "values", Schema: "x"})
	name := func(i int) state.Key { return state.KeyOf(fmt.Appendf(nil, "key %032d", i)) }
	const keys = 20_000
	for i := range keys {
		tab.Put(0, name(i), fmt.Append(nil, i))
	}
	freeze(t, b, 1).Release()
	b.Committed(1)
	for i := range 100 {
		tab.Delete(0, name(i))
	}
	s := freeze(t, b, 2)
	if s.Base() != 1 || b.past.bytes == 0 {
		t.Errorf("after few deletions the base is %d, and the log has %d bytes", s.Base(), b.past.bytes)
	}
	s.Release()
	for i := range keys {
		tab.Delete(0, name(i))
	}
	s = freeze(t, b, 3)
	if s.Base() != 0 || b.past.bytes != 0 || len(b.past.log) > 0 {
		t.Errorf("after many deletions the base is %d, and the log has %d and %d bytes", s.Base(), b.past.bytes, len(b.past.log))
	}
	if _, err := s.WriteDelta(io.Discard, deltaGroupsAll()); err == nil {
		t.Error("a delta without a base was written")
	}
	s.Release()
	b.Committed(2)
	s = freeze(t, b, 4)
	if s.Base() != 0 {
		t.Errorf("the base is %d, of a time whose log was given up", s.Base())
	}
	s.Release()
	b.Committed(3)
	s = freeze(t, b, 5)
	defer s.Release()
	if s.Base() != 3 {
		t.Errorf("the base is %d, want 3, the first since", s.Base())
	}
	var log int
	b.scan(appendTable(nil, logTable), appendLog(nil, 1<<31, 0), func(*pebble.Iterator) (bool, error) { log++; return true, nil })
	if log > 0 {
		t.Errorf("%d pieces of the log are left", log)
	}
}

// A map that is cleared is one deleted key in the log, whatever its size, and
// what is put into it afterwards is there.
func TestClearedMapsInDeltas(t *testing.T) {
	t.Parallel()
	for _, entries := range []int{1, 20, clearOneByOneMax + 50} {
		b, tab := openDeltas(t, state.Descriptor{Name: "maps", Schema: "x", Sub: true})
		m, k := tab.(state.SubTable), state.KeyOf([]byte("key"))
		for i := range entries {
			m.PutSub(0, k, fmt.Append(nil, i), []byte("old"))
		}
		s := freeze(t, b, 1)
		var base bytes.Buffer
		if _, err := s.WriteTo(&base); err != nil {
			t.Fatal(err)
		}
		s.Release()
		b.Committed(1)
		m.ClearSub(0, k)
		m.PutSub(0, k, []byte("0"), []byte("new"))
		m.PutSub(0, k, []byte("1"), []byte("passing"))
		m.DeleteSub(0, k, []byte("1"))
		s = freeze(t, b, 2)
		var delta bytes.Buffer
		n, err := s.WriteDelta(&delta, dataflow.KeyGroupRange{First: 1})
		if err != nil || n != int64(delta.Len()) || n > 200 {
			t.Errorf("%d entries: a delta of %d bytes says %d, %v", entries, delta.Len(), n, err)
		}
		s.Release()
		into := memstate.New(deltaGroupsAll(), deltaGroups)
		for i, file := range []*bytes.Buffer{&base, &delta} {
			if err := into.Restore(file, state.RestorePart{Follows: i > 0}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := into.Table(state.Descriptor{Name: "maps", Schema: "x", Sub: true})
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := got.(state.SubTable).GetSub(0, k, []byte("0")); got.Len() != 1 || string(v) != "new" {
			t.Errorf("%d entries: the map came back with %d, of which one is %q", entries, got.Len(), v)
		}
	}
}
