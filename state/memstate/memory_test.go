package memstate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// gcCPU returns the least CPU time of the process over a few collections.
func gcCPU(tb testing.TB) time.Duration {
	tb.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			tb.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	least := time.Hour
	for range 5 {
		from := used()
		runtime.GC()
		least = min(least, used()-from)
	}
	return least
}

// Ten million keys add less than 50 ms of CPU to a collection. The test is not
// parallel: it measures the process.
func TestCollectorDoesNotSeeTheKeys(t *testing.T) {
	n := 10_000_000
	if testing.Short() {
		n = 2_000_000
	}
	without := gcCPU(t)
	b := New(allGroups(), 1024)
	tab, err := b.Table(state.Descriptor{Name: "counts", Schema: "count", Fixed: 16})
	if err != nil {
		t.Fatal(err)
	}
	var key [8]byte
	for i := range n {
		binary.BigEndian.PutUint64(key[:], uint64(i))
		v, _ := tab.Upsert(0, state.KeyOf(key[:]))
		v[0] = 1
	}
	with := gcCPU(t)
	t.Logf("a collection takes %v of CPU without and %v with %d keys, which take %.1f bytes each", without, with, n, float64(b.Bytes())/float64(n))
	if with-without > 50*time.Millisecond {
		t.Errorf("the keys add %v of CPU to a collection, at most 50ms", with-without)
	}
	runtime.KeepAlive(b)
}

func TestSteadyAccessDoesNotAllocate(t *testing.T) {
	keys := keysOf(1000)
	_, tab := filled(t, keys)
	vals, created := make([][]byte, len(keys)), make([]bool, len(keys))
	b := New(allGroups(), 1024)
	varied, _ := b.Table(state.Descriptor{Name: "varied", Schema: "bytes"})
	maps, _ := b.Table(state.Descriptor{Name: "maps", Schema: "map", Sub: true})
	sub := maps.(state.SubTable)
	value := make([]byte, 100)
	steps := map[string]func(){
		"get":    func() { tab.Get(0, keys[7]) },
		"upsert": func() { tab.Upsert(0, keys[7]) },
		"batch":  func() { tab.(state.BatchUpserter).UpsertBatch(0, keys, vals, created) },
		"put":    func() { varied.Put(0, keys[7], value[:1+rand.IntN(50)]) },
		"sub":    func() { sub.PutSub(0, keys[7], keys[8].Bytes, value); sub.GetSub(0, keys[7], keys[8].Bytes) },
		"scan":   func() { tab.Scan(0, func(_, _ []byte) bool { return true }) },
		"group":  func() { b.SetGroupValue("bound", 3, value[:8]); b.GroupValue("bound", 3) },
	}
	for name, step := range steps {
		step()
		varied.Put(0, keys[7], value)
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// counted returns what Bytes should be, by walking all there is.
func counted(b *Backend) int64 {
	var n int64
	for _, list := range b.spare.pages {
		for _, buf := range list {
			n += int64(len(buf))
		}
	}
	for _, list := range b.spare.slots {
		for _, s := range list {
			n += int64(len(s)) * 8
		}
	}
	if n != b.spare.bytes.Load() {
		return -1
	}
	n = max(0, n-spareBytesMin)
	for _, t := range b.tables {
		for i := range t.gone {
			n += t.gone[i].bytes()
		}
		for _, s := range t.spaces {
			n += spaceBytes
			for _, buf := range s.pages.bufs {
				n += int64(len(buf))
			}
			n += int64(len(s.idx.dir)) * 8
			for i, g := range s.idx.dir {
				if i == 0 || s.idx.dir[i-1] != g {
					n += int64(len(g.slots)) * 8
				}
			}
		}
	}
	return n
}

// check compares all that is kept twice.
func check(t *testing.T, b *Backend, when string) {
	t.Helper()
	if got, want := b.Bytes(), counted(b); got != want {
		t.Errorf("%s: Bytes is %d, counted %d", when, got, want)
	}
	for _, tab := range b.tables {
		values := 0
		for ns, s := range tab.spaces {
			if s.pages.ns != ns || tab.lists[s.slot] != s.pages || tab.owners[s.slot] != s {
				t.Fatalf("%s: lists and spaces differ at %d", when, ns)
			}
			values += checkSpace(t, s, when)
		}
		if values != tab.count {
			t.Errorf("%s: table %q counts %d values, holds %d", when, tab.d.Name, tab.count, values)
		}
	}
}

func checkSpace(t *testing.T, s *space, when string) (values int) {
	t.Helper()
	var live int64
	entries := 0
	for p, buf := range s.pages.bufs {
		var pageLive int
		s.eachIn(uint32(p), buf, func(r reference, e []byte) bool {
			entries++
			pageLive += s.layout.size(e)
			if !s.sub || word(e, 0)&flagHead == 0 {
				values++
			}
			s.idx.move(s.tag(e), r, r) // panics unless it is in the index
			return true
		})
		live += int64(pageLive)
		if buf != nil && int32(p) != s.active && len(s.victims) == 0 && pageLive < (len(buf)+1)/2 {
			t.Errorf("%s: page %d holds %d live bytes of %d", when, p, pageLive, len(buf))
		}
		if int64(pageLive) != int64(s.meta[p].used-s.meta[p].dead) {
			t.Errorf("%s: page %d counts %d live bytes, holds %d", when, p, s.meta[p].used-s.meta[p].dead, pageLive)
		}
	}
	if s.active >= 0 && len(s.victims) == 0 && int64(len(s.pages.bufs[s.active])) > 4*max(s.live, pageBytesMin) {
		t.Errorf("%s: the active page has %d bytes for %d live ones", when, len(s.pages.bufs[s.active]), s.live)
	}
	deep, inSegments := 0, 0
	for i, g := range s.idx.dir {
		if i > 0 && s.idx.dir[i-1] == g {
			continue
		}
		inSegments += g.count
		if g.depth == s.idx.depth {
			deep++
		}
	}
	if live != s.live || entries != s.idx.count || entries != inSegments || deep != s.idx.deep || deep == 0 || len(s.idx.dir) != 1<<s.idx.depth {
		t.Errorf("%s: live %d counted %d; entries %d counted %d, in segments %d; deep %d counted %d of %d",
			when, s.live, live, s.idx.count, entries, inSegments, s.idx.deep, deep, len(s.idx.dir))
	}
	return values
}

// Compaction moves no more than in proportion to what dies, whatever the size
// of the namespace: all pages made while it is emptied, and then while it is
// kept at a size, are counted. Not parallel: it reads the process's figures.
func TestCompactionIsAmortised(t *testing.T) {
	for _, n := range []int{10, 100, 700, 1024, 5000} {
		_, tabs := opened(t)
		var keys []state.Key
		for i := range n {
			keys = append(keys, numbered(i))
			tabs[1].Put(0, keys[i], make([]byte, 16))
		}
		rnd := rand.New(rand.NewPCG(1, uint64(n)))
		value := make([]byte, 16)
		allocated := func(fn func()) uint64 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			fn()
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		steady := allocated(func() {
			for range 10 * n {
				k := keys[rnd.IntN(n)]
				tabs[1].Delete(0, k)
				tabs[1].Put(0, k, value)
			}
		})
		order := rnd.Perm(n)
		drain := allocated(func() {
			for _, i := range order {
				tabs[1].Delete(0, keys[i])
			}
		})
		const entry = 40
		if limit := uint64(10*n*entry*4 + 10_000); steady > limit {
			t.Errorf("%d keys: %d changes allocate %d bytes, at most %d", n, 10*n, steady, limit)
		}
		if limit := uint64(n*entry*4 + 20_000); drain > limit {
			t.Errorf("%d keys: deleting them allocates %d bytes, at most %d", n, drain, limit)
		}
	}
}

// After a burst is deleted, in any way, memory is in proportion to what the
// rest needs.
func TestMemoryShrinksAfterABurst(t *testing.T) {
	t.Parallel()
	burst, steady := 300_000, 1000
	if testing.Short() {
		burst = 60_000
	}
	put := map[string]func(b *Backend, tabs []state.Table, i int){
		"fixed":  func(_ *Backend, tabs []state.Table, i int) { tabs[0].Upsert(0, numbered(i)) },
		"varied": func(_ *Backend, tabs []state.Table, i int) { tabs[1].Put(0, numbered(i), make([]byte, i%50)) },
		"maps": func(_ *Backend, tabs []state.Table, i int) {
			tabs[2].(state.SubTable).PutSub(0, numbered(i/10), numbered(i).Bytes, []byte("v"))
		},
		"namespaces": func(_ *Backend, tabs []state.Table, i int) { tabs[0].Upsert(int64(i/4), numbered(i)) },
	}
	remove := map[string]func(tabs []state.Table, i int){
		"fixed":  func(tabs []state.Table, i int) { tabs[0].Delete(0, numbered(i)) },
		"varied": func(tabs []state.Table, i int) { tabs[1].Delete(0, numbered(i)) },
		"maps": func(tabs []state.Table, i int) {
			tabs[2].(state.SubTable).DeleteSub(0, numbered(i/10), numbered(i).Bytes)
		},
		"namespaces": func(tabs []state.Table, i int) { tabs[0].DropNamespace(int64(i / 4)) },
	}
	for name := range put {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(n int) *Backend {
				b, tabs := opened(t)
				for i := range n {
					put[name](b, tabs, i)
				}
				check(t, b, "full")
				for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n - steady) {
					remove[name](tabs, steady+i)
				}
				check(t, b, "emptied")
				return b
			}
			// Twice as much as is in use may be spare.
			full, rest := run(burst).Bytes(), run(steady).Bytes()
			if full > 7*rest/2 {
				t.Errorf("%d bytes after a burst, %d without", full, rest)
			}
		})
	}
}

func numbered(i int) state.Key {
	return state.KeyOf(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

func opened(t *testing.T) (*Backend, []state.Table) {
	t.Helper()
	b := New(allGroups(), 1024)
	var tabs []state.Table
	for _, d := range []state.Descriptor{{Name: "fixed", Fixed: 16}, {Name: "varied"}, {Name: "maps", Sub: true}} {
		tab, err := b.Table(d)
		if err != nil {
			t.Fatal(err)
		}
		tabs = append(tabs, tab)
	}
	return b, tabs
}

// heldBy sums up the pages that only the snapshot has.
func heldBy(b *Backend, s *snapshot) (n int64) {
	live := map[*byte]bool{}
	for _, t := range b.tables {
		for _, l := range t.lists {
			for _, buf := range l.bufs {
				live[unsafe.SliceData(buf)] = true
			}
		}
	}
	for _, t := range s.tables {
		for _, l := range t.lists {
			for _, buf := range l.bufs {
				if !live[unsafe.SliceData(buf)] {
					n += int64(len(buf))
				}
			}
		}
	}
	return n
}

// All that is kept twice agrees under random operations, also while snapshots
// are open, whose pages are accounted until they are released.
func TestBytesIsExact(t *testing.T) {
	t.Parallel()
	b, tabs := opened(t)
	rnd := rand.New(rand.NewPCG(5, 5))
	var open state.Snapshot
	for step := range 20_000 {
		k := numbered(rnd.IntN(3000))
		ns := int64(rnd.IntN(3))
		switch rnd.IntN(9) {
		case 0:
			tabs[0].Upsert(ns, k)
		case 1:
			tabs[0].Delete(ns, k)
		case 2, 3:
			tabs[1].Put(ns, k, make([]byte, rnd.IntN(300)))
		case 4:
			tabs[1].Delete(ns, k)
		case 5:
			tabs[1].(state.Appender).Append(ns, k, make([]byte, rnd.IntN(300)))
		case 6, 7:
			tabs[2].(state.SubTable).PutSub(ns, k, numbered(rnd.IntN(5)).Bytes, make([]byte, rnd.IntN(30)))
		case 8:
			tabs[2].(state.SubTable).ClearSub(ns, k)
		}
		if step%1000 == 500 {
			open, _ = b.Snapshot(1)
		}
		if step%1000 == 700 {
			held := b.Bytes() - counted(b)
			want := heldBy(b, open.(*snapshot))
			open.Release()
			if held != want || held == 0 || b.Bytes() != counted(b) {
				t.Errorf("step %d: the snapshot held %d bytes, counted %d; after its release Bytes is %d, counted %d", step, held, want, b.Bytes(), counted(b))
			}
			check(t, b, fmt.Sprint("step ", step))
		}
		if step%5000 == 4600 {
			tabs[step/5000%3].DropNamespace(1) // while a snapshot is open
		}
	}
}

// Freezing takes no longer for a large state: it copies one reference for
// each table. The first write afterwards copies a page, not the state.
func TestSnapshotSharesPages(t *testing.T) {
	keys := keysOf(200_000)
	b, tab := filled(t, keys)
	before := b.Bytes()
	s, err := b.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() {
		s, _ := b.Snapshot(2)
		s.Release()
	}); n > 10 {
		t.Errorf("a snapshot of one table allocates %v times", n)
	}
	tab.Upsert(0, keys[100_000])
	if held := b.Bytes() - before; held != pageBytes {
		t.Errorf("one write after the snapshot took %d bytes, want a page of %d", held, pageBytes)
	}
	s.Release()
	if b.Bytes() != before {
		t.Errorf("%d bytes after the release, %d before", b.Bytes(), before)
	}
}

// A state of many chunks restores whole, at another parallelism.
func TestManyChunks(t *testing.T) {
	t.Parallel()
	keys := keysOf(300_000)
	b, tab := filled(t, keys)
	for i, k := range keys {
		v, _ := tab.Upsert(0, k)
		binary.LittleEndian.PutUint64(v[8:], uint64(i))
	}
	s, _ := b.Snapshot(1)
	var file bytes.Buffer
	if _, err := s.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	s.Release()
	var parts [3]state.Table
	for p := range parts {
		part := New(dataflow.KeyGroupsOf(p, 1024, 3), 1024)
		if err := part.Restore(bytes.NewReader(file.Bytes()), state.RestorePart{}); err != nil {
			t.Fatal(err)
		}
		parts[p], _ = part.Table(state.Descriptor{Name: "counts", Schema: "count", Fixed: 16})
		check(t, part, "restored")
	}
	for i, k := range keys {
		v, ok := parts[dataflow.SubtaskOf(k.Group(1024), 1024, 3)].Get(0, k)
		if !ok || binary.LittleEndian.Uint64(v[8:]) != uint64(i) {
			t.Fatalf("key %d: %x %t", i, v, ok)
		}
	}
	if n := parts[0].Len() + parts[1].Len() + parts[2].Len(); n != len(keys) {
		t.Errorf("%d keys restored of %d", n, len(keys))
	}
}

// Release while the file is being written ends the writing.
func TestReleaseEndsWriting(t *testing.T) {
	t.Parallel()
	keys := keysOf(300_000) // several chunks
	b, _ := filled(t, keys)
	s, _ := b.Snapshot(1)
	w := &releasing{s: s}
	if _, err := s.WriteTo(w); !errors.Is(err, statefile.ErrReleased) {
		t.Errorf("got %v", err)
	}
	if got, want := b.Bytes(), counted(b); got != want || b.shared.Load() != 0 {
		t.Errorf("Bytes is %d, counted %d, shared epoch %d", got, want, b.shared.Load())
	}
}

type releasing struct {
	bytes.Buffer
	s state.Snapshot
}

func (w *releasing) Write(p []byte) (int, error) {
	w.s.Release()
	if w.s.(*snapshot).b.shared.Load() == 0 {
		return 0, errors.New("pages were given up while they are read")
	}
	return w.Buffer.Write(p)
}

// Tags that collide must not make the directory grow without bound.
func TestCollidingTags(t *testing.T) {
	t.Parallel()
	b, tabs := opened(t)
	for i := range 5000 {
		tabs[0].Upsert(0, state.Key{Bytes: binary.BigEndian.AppendUint64(nil, uint64(i)), Hash: 0xabcdef0000000000})
	}
	for i := range 5000 {
		if _, ok := tabs[0].Get(0, state.Key{Bytes: binary.BigEndian.AppendUint64(nil, uint64(i)), Hash: 0xabcdef0000000000}); !ok {
			t.Fatalf("key %d is lost", i)
		}
	}
	if n := b.Bytes(); n > 1<<20 {
		t.Errorf("%d bytes for 5000 colliding keys", n)
	}
}
