package memstate

import (
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// The state of BenchmarkDeltas: entries of 100 bytes, of which one in a
// hundred, at random, changes between two checkpoints.
var deltaKeys = flag.Uint64("delta-keys", 100_000, "entries of the state whose deltas are measured")

const (
	deltaKeyBytes = 36
	deltaValBytes = 64
	deltaSlices   = 64
)

func deltaKey(i uint64) (key [deltaKeyBytes]byte) {
	long := largeKey(i)
	copy(key[4:], long[:])
	return key
}

// BenchmarkDeltas takes checkpoints of a large state of which little changes,
// as deltas with slices in turn, and restores from the files of a whole turn and
// from one that holds everything. -delta-keys=10000000 is what
// bench/results/state-deltas.txt holds. One iteration is enough.
func BenchmarkDeltas(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		backend, full := deltasWritten(b, dir)
		whole := restoreTime(b, []string{full}, []state.RestorePart{{}})
		var files []string
		var parts []state.RestorePart
		for i := range deltaSlices {
			files = append(files, deltaFile(dir, i))
			// What slices up to this one hold was whole in this file or before.
			slices := []dataflow.KeyGroupRange{{Last: dataflow.KeyGroupsOf(i, 1024, deltaSlices).Last}}
			parts = append(parts, state.RestorePart{Follows: i > 0, Groups: slices})
		}
		chain := restoreTime(b, files, parts)
		b.Logf("restoring takes %v of CPU from one file and %v from %d, %.2f times as long", whole, chain, len(files), float64(chain)/float64(whole))
		b.ReportMetric(float64(chain)/float64(whole), "times-restore")
		runtime.KeepAlive(backend)
	}
}

func deltaFile(dir string, i int) string { return filepath.Join(dir, strconv.Itoa(i)) }

// deltasWritten makes the state, and the files of as many checkpoints as there
// are slices. The last state is in full, too.
func deltasWritten(b *testing.B, dir string) (t state.Table, full string) {
	backend := New(allGroups(), 1024)
	t, err := backend.Table(state.Descriptor{Name: "values", Schema: "x", Fixed: deltaValBytes})
	if err != nil {
		b.Fatal(err)
	}
	change := func(i, to uint64) {
		key := deltaKey(i)
		v, _ := t.Upsert(0, state.KeyOf(key[:]))
		binary.LittleEndian.PutUint64(v, to)
	}
	raw := float64(*deltaKeys * (deltaKeyBytes + deltaValBytes))
	for i := range *deltaKeys {
		change(i, i)
	}
	full = filepath.Join(dir, "full")
	rnd := rand.New(rand.NewPCG(1, 1))
	var pause, cpu, most time.Duration
	var sum int64
	for i := range deltaSlices + 1 {
		start := b.Elapsed()
		s, err := backend.Snapshot(dataflow.CheckpointID(i + 1))
		pause = max(pause, b.Elapsed()-start)
		if err != nil {
			b.Fatal(err)
		}
		before := cpuTime(b)
		if i == 0 {
			n := toFile(b, full, s.WriteTo)
			b.Logf("%d keys of %d bytes with values of %d, %.0f MB; a hundredth of them change between checkpoints", *deltaKeys, deltaKeyBytes, deltaValBytes, raw/1e6)
			b.Logf("everything is a file of %d MB, and takes %v of CPU to write", n/1_000_000, cpuTime(b)-before)
		} else {
			n := toFile(b, deltaFile(dir, i-1), func(w io.Writer) (int64, error) {
				return s.(state.Delta).WriteDelta(w, dataflow.KeyGroupsOf(i-1, 1024, deltaSlices))
			})
			spent := cpuTime(b) - before
			sum, cpu, most = sum+n, cpu+spent, max(most, spent)
		}
		if i == deltaSlices {
			toFile(b, full, s.WriteTo)
		}
		s.Release()
		backend.Committed(dataflow.CheckpointID(i + 1))
		for range *deltaKeys / 100 {
			change(rnd.Uint64N(*deltaKeys), uint64(i))
		}
	}
	share := float64(sum) / deltaSlices / raw
	b.Logf("a delta with 1/%d of the key groups is a file of %.1f MB, %.2f %% of the state, and takes %v of CPU to write, %v at most", deltaSlices, float64(sum)/deltaSlices/1e6, 100*share, (cpu / deltaSlices).Round(time.Millisecond), most.Round(time.Millisecond))
	b.Logf("the longest of %d snapshots takes %v", deltaSlices+1, pause)
	b.ReportMetric(100*share, "%-written")
	b.ReportMetric(float64(pause.Microseconds())/1000, "ms-pause")
	return t, full
}

func toFile(b *testing.B, name string, write func(io.Writer) (int64, error)) int64 {
	b.Helper()
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	n, err := write(f)
	if err := errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	return n
}

// restoreTime is the CPU that a restore of the files takes.
func restoreTime(b *testing.B, files []string, parts []state.RestorePart) time.Duration {
	b.Helper()
	runtime.GC()
	backend := New(allGroups(), 1024)
	before := cpuTime(b)
	for i, name := range files {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(backend.Restore(f, parts[i]), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
	spent := cpuTime(b) - before
	t, err := backend.Table(state.Descriptor{Name: "values", Schema: "x", Fixed: deltaValBytes})
	if err != nil {
		b.Fatal(err)
	}
	if uint64(t.Len()) != *deltaKeys {
		b.Errorf("%d keys came back of %d", t.Len(), *deltaKeys)
	}
	return spent.Round(10 * time.Millisecond)
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
