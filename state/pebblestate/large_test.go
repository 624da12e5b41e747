package pebblestate

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

var (
	stateMiB  = flag.Int64("state-mib", 24, "raw bytes of keys and values of the large state, in MiB")
	memoryMiB = flag.Int64("state-memory-mib", 0, "budget of the backend, in MiB; 0: a quarter of the process's memory limit, or an eighth of the state when there is none")
)

const (
	largeKey   = 16
	largeValue = 240
	largeBatch = 1024
	largeOps   = 300_000 // of each phase after the first
)

// large is a workload: n keys, a batch of operations at a time. The backend
// and the database alone do the same, in the same order.
type large struct {
	n      uint64
	memory int64
}

func newLarge() large {
	w := large{n: uint64(*stateMiB<<20) / (largeKey + largeValue), memory: *memoryMiB << 20}
	if w.memory == 0 {
		w.memory = max(*stateMiB<<20/8, MemoryMin)
		if text := os.Getenv("GOMEMLIMIT"); text != "" {
			var mib int64
			if _, err := fmt.Sscanf(text, "%dMiB", &mib); err == nil {
				w.memory = mib << 20 / 4
			}
		}
	}
	return w
}

// spread makes keys that do not come in their order.
func spread(i uint64) (key [largeKey]byte) {
	h := (i ^ i>>31) * mix1
	h = (h ^ h>>29) * mix2
	binary.BigEndian.PutUint64(key[:], h)
	binary.BigEndian.PutUint64(key[8:], i)
	return key
}

// scramble makes bytes that do not compress.
func scramble(b []byte, seed uint64) {
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
}

// cost is what a phase took.
type cost struct {
	ops       int
	wall, cpu time.Duration
}

func (c cost) perOp() string {
	return fmt.Sprintf("%7.0f ns wall %7.0f ns CPU an operation", float64(c.wall)/float64(c.ops), float64(c.cpu)/float64(c.ops))
}

func measure(ops int, fn func()) cost {
	runtime.GC()
	wall, cpu := time.Now(), cpuTime()
	fn()
	return cost{ops, time.Since(wall), cpuTime() - cpu}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakRSS returns the most memory resident since the last resetPeak, in
// bytes; 0 where the system does not tell.
func peakRSS() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64)
	return n << 10
}

func resetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) } // else peaks add up

// store is one side of the comparison.
type sides interface {
	put(keys [][largeKey]byte, seed uint64)
	// putCounted is put where the number of keys is known after it.
	putCounted(keys [][largeKey]byte, seed uint64)
	upsert(keys [][largeKey]byte)
	get(keys [][largeKey]byte) (found int)
	count() int
	close(tb testing.TB)
}

// backendSide uses the backend as an operator does.
type backendSide struct {
	s     *Store
	b     state.Backend
	vals  state.Table
	batch state.BatchUpserter
	keys  []state.Key
	out   [][]byte
}

func openBackend(tb testing.TB, memory int64) *backendSide {
	tb.Helper()
	s, err := Open(Config{Dir: tb.TempDir(), MemoryBytes: memory})
	if err != nil {
		tb.Fatal(err)
	}
	b, err := s.New(dataflow.KeyGroupsOf(0, 128, 1), 128)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := b.Table(state.Descriptor{Name: "values", Schema: "x", Fixed: largeValue})
	if err != nil {
		tb.Fatal(err)
	}
	return &backendSide{s: s, b: b, vals: t, batch: t.(state.BatchUpserter), out: make([][]byte, largeBatch)}
}

func (s *backendSide) put(keys [][largeKey]byte, seed uint64) {
	var val [largeValue]byte
	for i := range keys {
		scramble(val[:], seed+uint64(i))
		s.vals.Put(0, state.KeyOf(keys[i][:]), val[:])
	}
}

// putCounted is put: somebody has asked for a length before.
func (s *backendSide) putCounted(keys [][largeKey]byte, seed uint64) { s.put(keys, seed) }

func (s *backendSide) count() int { return s.vals.Len() }

func (s *backendSide) upsert(keys [][largeKey]byte) {
	s.keys = s.keys[:0]
	for i := range keys {
		s.keys = append(s.keys, state.KeyOf(keys[i][:]))
	}
	s.batch.UpsertBatch(0, s.keys, s.out, nil)
	for _, v := range s.out[:len(keys)] {
		v[0]++
	}
}

func (s *backendSide) get(keys [][largeKey]byte) (found int) {
	for i := range keys {
		if v, ok := s.vals.Get(0, state.KeyOf(keys[i][:])); ok && len(v) == largeValue {
			found++
		}
	}
	return found
}

func (s *backendSide) close(tb testing.TB) {
	tb.Helper()
	if err := s.b.(state.Failer).Err(); err != nil {
		tb.Fatal(err)
	}
	if err := s.b.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := s.s.Close(); err != nil {
		tb.Fatal(err)
	}
}

// databaseSide uses the database alone, with the same options, in batches.
type databaseSide struct {
	db *pebble.DB
	s  *Store
	tb testing.TB
}

func openDatabase(tb testing.TB, memory int64) *databaseSide {
	tb.Helper()
	s, err := Open(Config{Dir: tb.TempDir(), MemoryBytes: memory})
	if err != nil {
		tb.Fatal(err)
	}
	db, err := pebble.Open(s.fs.PathJoin(s.cfg.Dir, "db"), s.options(newBackend(s, s.cfg.Dir, dataflow.KeyGroupRange{}, 1)))
	if err != nil {
		tb.Fatal(err)
	}
	return &databaseSide{db, s, tb}
}

// putCounted looks whether a key is new, by the iterator that is best at it.
func (s *databaseSide) putCounted(keys [][largeKey]byte, seed uint64) {
	it, err := s.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	s.try(err)
	for i := range keys {
		if it.SeekPrefixGE(keys[i][:]) && bytes.Equal(it.Key(), keys[i][:]) {
			s.tb.Fatal("a key is there already")
		}
	}
	s.try(it.Close())
	s.put(keys, seed)
}

func (s *databaseSide) put(keys [][largeKey]byte, seed uint64) {
	batch := s.db.NewBatch()
	var val [largeValue]byte
	for i := range keys {
		scramble(val[:], seed+uint64(i))
		s.try(batch.Set(keys[i][:], val[:], nil))
	}
	s.try(batch.Commit(pebble.NoSync))
}

func (s *databaseSide) upsert(keys [][largeKey]byte) {
	batch := s.db.NewBatch()
	var val [largeValue]byte
	for i := range keys {
		v, c, err := s.db.Get(keys[i][:])
		if err == nil {
			copy(val[:], v)
			s.try(c.Close())
		}
		val[0]++
		s.try(batch.Set(keys[i][:], val[:], nil))
	}
	s.try(batch.Commit(pebble.NoSync))
}

func (s *databaseSide) get(keys [][largeKey]byte) (found int) {
	for i := range keys {
		v, c, err := s.db.Get(keys[i][:])
		if err != nil {
			continue
		}
		if len(v) == largeValue {
			found++
		}
		s.try(c.Close())
	}
	return found
}

func (s *databaseSide) count() (n int) {
	it, err := s.db.NewIter(nil)
	s.try(err)
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	s.try(it.Close())
	return n
}

func (s *databaseSide) try(err error) {
	if err != nil {
		s.tb.Fatal(err)
	}
}

func (s *databaseSide) close(tb testing.TB) {
	tb.Helper()
	s.try(s.db.Close())
	s.try(s.s.Close())
}

// phases of the workload.
var largePhases = []string{
	"put new keys", "put keys that are there, uniform", "count the keys", "put new keys, counted",
	"read and change, uniform", "read and change, 9 of 10 on 1% of keys", "read, uniform",
}

const readAndChange = 4 // of largePhases

func (w large) run(tb testing.TB, s sides) (costs []cost) {
	tb.Helper()
	keys := make([][largeKey]byte, largeBatch)
	each := func(ops uint64, pick func(i uint64) uint64, fn func(keys [][largeKey]byte, i uint64)) cost {
		return measure(int(ops), func() {
			for i := uint64(0); i < ops; i += largeBatch {
				n := min(ops-i, largeBatch)
				for j := range n {
					keys[j] = spread(pick(i + j))
				}
				fn(keys[:n], i)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	ops := min(max(w.n/8, 20_000), largeOps)
	uniform := func(uint64) uint64 { return rnd.Uint64N(w.n) }
	hot := func(uint64) uint64 {
		if rnd.IntN(10) > 0 {
			return rnd.Uint64N(w.n/100 + 1)
		}
		return rnd.Uint64N(w.n)
	}
	first := w.n - w.n/16
	costs = append(costs,
		each(first, func(i uint64) uint64 { return i }, func(k [][largeKey]byte, i uint64) { s.put(k, i) }),
		each(ops, func(uint64) uint64 { return rnd.Uint64N(first) }, func(k [][largeKey]byte, i uint64) { s.put(k, i+1) }),
		measure(int(first), func() {
			if n := s.count(); n != int(first) {
				tb.Fatalf("%d keys, want %d", n, first)
			}
		}),
		each(w.n-first, func(i uint64) uint64 { return first + i }, func(k [][largeKey]byte, i uint64) { s.putCounted(k, i) }),
		each(ops, uniform, func(k [][largeKey]byte, _ uint64) { s.upsert(k) }),
		each(ops, hot, func(k [][largeKey]byte, _ uint64) { s.upsert(k) }),
	)
	found := 0
	costs = append(costs, each(ops, uniform, func(k [][largeKey]byte, _ uint64) { found += s.get(k) }))
	if found != int(ops) {
		tb.Fatalf("found %d of %d keys", found, ops)
	}
	return costs
}

// BenchmarkLargeState compares the backend with its database alone, both with
// the same budget, on state that does not fit into it. -state-mib=2048 with
// GOMEMLIMIT=256MiB is what bench/results/pebble-state.txt holds.
func BenchmarkLargeState(b *testing.B) {
	w := newLarge()
	for b.Loop() {
		resetPeak()
		bs := openBackend(b, w.memory)
		mine := w.run(b, bs)
		peak := peakRSS()
		disk, cache := bs.b.(state.OnDisk).DiskBytes(), bs.b.(state.OnDisk).CacheBytes()
		snap := measure(1, func() {
			s, err := bs.b.Snapshot(1)
			if err != nil {
				b.Fatal(err)
			}
			s.Release()
		})
		bs.close(b)
		resetPeak()
		db := openDatabase(b, w.memory)
		theirs := w.run(b, db)
		alonePeak := peakRSS()
		db.close(b)
		b.Logf("%d MiB of state, %d keys of %d bytes with values of %d; GOMEMLIMIT %s, budget of the backend %d MiB",
			*stateMiB, w.n, largeKey, largeValue, os.Getenv("GOMEMLIMIT"), w.memory>>20)
		for i, name := range largePhases {
			b.Logf("%-40s backend %s, pebble alone %s: %.2f times the CPU, %.2f times the time", name, mine[i].perOp(), theirs[i].perOp(),
				float64(mine[i].cpu)/float64(theirs[i].cpu), float64(mine[i].wall)/float64(theirs[i].wall))
		}
		b.Logf("peak RSS %d MiB with the backend, %d MiB with pebble alone; on disk %d MiB; caches and memtables %d MiB; snapshot taken in %s",
			peak>>20, alonePeak>>20, disk>>20, cache>>20, snap.wall)
		b.ReportMetric(float64(peak>>20), "MiB-RSS")
		b.ReportMetric(float64(mine[readAndChange].cpu)/float64(theirs[readAndChange].cpu), "times-pebble-CPU")
	}
}

// TestLargeStateStaysInItsBudget: what the backend holds in memory does not
// grow with the state.
func TestLargeStateStaysInItsBudget(t *testing.T) {
	t.Parallel()
	const memory, batches = 2 << 20, 60
	s := openBackend(t, memory)
	defer s.close(t)
	keys := make([][largeKey]byte, largeBatch)
	var most int64
	for i := range batches {
		for j := range keys {
			keys[j] = spread(uint64(i*largeBatch + j))
		}
		s.upsert(keys)
		most = max(most, s.b.(state.OnDisk).CacheBytes())
	}
	if n := s.vals.Len(); n != batches*largeBatch {
		t.Fatalf("%d keys", n)
	}
	// The cache may grow by one batch, and three memtables may be about.
	if bound := int64(memory/tableCacheShare + 3*memory/memTableShare + largeBatch*(entryBytes+largeKey+largeValue+32)); most > bound {
		t.Errorf("caches and memtables took %d bytes of %d bytes of state, want at most %d", most, batches*largeBatch*(largeKey+largeValue), bound)
	}
	if d := s.b.(state.OnDisk).DiskBytes(); d < 1<<20 {
		t.Errorf("%d bytes on disk", d)
	}
}

// Cached keys are used without an allocation.
func TestCachedKeysDoNotAllocate(t *testing.T) {
	s := openBackend(t, 16<<20)
	defer s.close(t)
	keys := make([][largeKey]byte, 512)
	for j := range keys {
		keys[j] = spread(uint64(j))
	}
	s.upsert(keys)
	if n := testing.AllocsPerRun(100, func() { s.upsert(keys); s.get(keys) }); n > 0 {
		t.Errorf("%g allocations for 1024 operations on cached keys", n)
	}
}
