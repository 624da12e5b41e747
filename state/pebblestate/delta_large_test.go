package pebblestate

import (
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/state/statefile"
)

// The state of BenchmarkDeltas: entries of 100 bytes, of which one in a
// hundred, at random, changes between two checkpoints.
var deltaKeys = flag.Uint64("delta-keys", 100_000, "entries of the state whose deltas are measured")

const (
	deltaKeyBytes = 36
	deltaValBytes = 64
)

func deltaKey(i uint64) (key [deltaKeyBytes]byte) {
	short := spread(i)
	copy(key[4:], short[:])
	return key
}

// BenchmarkDeltas takes checkpoints of a large state of which little changes,
// as deltas with slices in turn, and restores from the files of a whole turn and
// from one that holds everything. -delta-keys=10000000 is what
// bench/results/pebble-deltas.txt holds. One iteration is enough.
func BenchmarkDeltas(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		full := deltasWritten(b, dir)
		whole := restoreTime(b, []string{full}, []state.RestorePart{{}})
		var files []string
		var parts []state.RestorePart
		for i := range deltaSlices {
			files = append(files, filepath.Join(dir, strconv.Itoa(i)))
			// What slices up to this one hold was whole in this file or before.
			read := []dataflow.KeyGroupRange{{Last: dataflow.KeyGroupsOf(i, deltaGroups, deltaSlices).Last}}
			parts = append(parts, state.RestorePart{Follows: i > 0, Groups: read})
		}
		chain := restoreTime(b, files, parts)
		b.Logf("restoring takes %v and %v of CPU from one file, %v and %v of CPU from %d, %.2f times the time and %.2f times the CPU", whole.wall, whole.cpu, chain.wall, chain.cpu, len(files),
			float64(chain.wall)/float64(whole.wall), float64(chain.cpu)/float64(whole.cpu))
		b.ReportMetric(float64(chain.wall)/float64(whole.wall), "times-restore")
	}
}

func openLarge(b *testing.B) (backend *Backend, shut func()) {
	memory := *memoryMiB << 20
	if memory == 0 {
		memory = 64 << 20
	}
	s, err := Open(Config{Dir: b.TempDir(), MemoryBytes: memory})
	if err != nil {
		b.Fatal(err)
	}
	made, err := s.New(deltaGroupsAll(), deltaGroups)
	if err != nil {
		b.Fatal(err)
	}
	return made.(*Backend), func() {
		if err := errors.Join(made.Close(), s.Close()); err != nil {
			b.Error(err)
		}
	}
}

func deltaTable(b *testing.B, backend *Backend) state.Table {
	t, err := backend.Table(state.Descriptor{Name: "values", Schema: "x", Fixed: deltaValBytes})
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// spent sums up what was measured of files.
type spent struct {
	size      int64
	read      uint64
	wall, cpu time.Duration
	most      time.Duration // CPU of one
}

func (s *spent) add(o spent) {
	s.size, s.read, s.wall, s.cpu, s.most = s.size+o.size, s.read+o.read, s.wall+o.wall, s.cpu+o.cpu, max(s.most, o.cpu)
}

// deltasWritten makes the state, and the files of as many checkpoints as there
// are slices. The last state is in full, too.
func deltasWritten(b *testing.B, dir string) (full string) {
	backend, shut := openLarge(b)
	defer shut()
	t := deltaTable(b, backend)
	change := func(i, to uint64) {
		key := deltaKey(i)
		v := t.(state.Overwriter).Overwrite(0, state.KeyOf(key[:]))
		scramble(v[8:], i)
		binary.LittleEndian.PutUint64(v, to)
	}
	raw := float64(*deltaKeys * (deltaKeyBytes + deltaValBytes))
	for i := range *deltaKeys {
		change(i, i)
	}
	full = filepath.Join(dir, "full")
	rnd := rand.New(rand.NewPCG(1, 1))
	var pauses []time.Duration
	var all, sum spent
	for i := range deltaSlices + 1 {
		start := time.Now()
		frozen, err := backend.Snapshot(dataflow.CheckpointID(i + 1))
		pauses = append(pauses, time.Since(start))
		if err != nil {
			b.Fatal(err)
		}
		s := frozen.(*snapshot)
		if i == 0 {
			all = toFile(b, full, s, s.header, (*chunker).all)
			b.Logf("%d keys of %d bytes with values of %d, %.0f MB; a hundredth of them change between checkpoints", *deltaKeys, deltaKeyBytes, deltaValBytes, raw/1e6)
			b.Logf("everything is a file of %d MB, for which %d MB of blocks are read; it takes %v, and %v of CPU with what the database does meanwhile", all.size/1e6, all.read/1e6, all.wall, all.cpu)
		} else {
			h := s.deltaHeader(dataflow.KeyGroupsOf(i-1, deltaGroups, deltaSlices))
			sum.add(toFile(b, filepath.Join(dir, strconv.Itoa(i-1)), s, h, (*chunker).delta))
		}
		if i == deltaSlices {
			toFile(b, full, s, s.header, (*chunker).all)
		}
		s.Release()
		backend.Committed(dataflow.CheckpointID(i + 1))
		for range *deltaKeys / 100 {
			change(rnd.Uint64N(*deltaKeys), uint64(i))
		}
	}
	written, read := 100*float64(sum.size)/deltaSlices/raw, 100*float64(sum.read)/deltaSlices/float64(all.read)
	b.Logf("a delta with 1/%d of the key groups is a file of %.1f MB, %.2f %% of the state, for which %.1f %% of the blocks are read; it takes %v, and %v of CPU, %v at most",
		deltaSlices, float64(sum.size)/deltaSlices/1e6, written, read, (sum.wall / deltaSlices).Round(time.Millisecond), (sum.cpu / deltaSlices).Round(time.Millisecond), sum.most.Round(time.Millisecond))
	slices.Sort(pauses)
	pause := pauses[len(pauses)/2]
	b.Logf("half of %d snapshots take at most %v, the longest %v", len(pauses), pause, pauses[len(pauses)-1])
	b.ReportMetric(written, "%-written")
	b.ReportMetric(read, "%-read")
	b.ReportMetric(float64(pause.Microseconds())/1000, "ms-pause")
	return full
}

func toFile(b *testing.B, name string, s *snapshot, h statefile.Header, fill func(*chunker) error) spent {
	b.Helper()
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	start, cpu := time.Now(), cpuTime()
	c, err := newChunker(s, f, h)
	if err == nil {
		err = c.write(fill)
	}
	took := spent{size: c.w.Bytes(), read: c.read, wall: time.Since(start), cpu: cpuTime() - cpu}
	if err := errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	return took
}

// restoreTime is what a restore of the files takes, with what the database does
// meanwhile.
func restoreTime(b *testing.B, files []string, parts []state.RestorePart) (took spent) {
	b.Helper()
	runtime.GC()
	backend, shut := openLarge(b)
	defer shut()
	start, before := time.Now(), cpuTime()
	for i, name := range files {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(backend.Restore(f, parts[i]), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
	took.wall, took.cpu = time.Since(start).Round(10*time.Millisecond), (cpuTime() - before).Round(10*time.Millisecond)
	if n := deltaTable(b, backend).Len(); uint64(n) != *deltaKeys {
		b.Errorf("%d keys came back of %d", n, *deltaKeys)
	}
	return took
}
