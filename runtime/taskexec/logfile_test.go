package taskexec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogKeepsItsNewestBytes compares random writes and reads with one slice
// that keeps all.
func TestLogKeepsItsNewestBytes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		path := filepath.Join(t.TempDir(), "log")
		l, err := OpenLog(path)
		if err != nil {
			t.Fatal(err)
		}
		l.max = 100
		var all []byte
		for i := range 200 {
			line := fmt.Appendf(nil, "%d %s\n", i, strings.Repeat("x", rnd.IntN(40)))
			if n, err := l.Write(line); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
			all = append(all, line...)
			offset, limit := int64(rnd.IntN(2*len(all))-len(all)), int64(rnd.IntN(150)+1)
			data, first, size, err := l.ReadAt(offset, limit)
			if err != nil || size != int64(len(all)) {
				t.Fatalf("seed %d: size %d, %v, want %d", seed, size, err, len(all))
			}
			asked := offset
			if offset < 0 {
				asked += size
			}
			if first < asked || first > asked && first < size-300 && first != l.start-l.oldSize {
				t.Fatalf("seed %d: offset %d of %d answered with %d", seed, offset, size, first)
			}
			want := all[first:min(first+limit, size)]
			if !bytes.Equal(data, want) {
				t.Fatalf("seed %d: at %d %q, want %q", seed, first, data, want)
			}
		}
		if on := size(t, path) + size(t, path+".1"); on > 300 {
			t.Errorf("seed %d: %d bytes on disk", seed, on)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := l.Write([]byte("late")); n != 4 || err != nil {
			t.Errorf("a write after Close: %d, %v", n, err)
		}
		if data, _, _, err := l.ReadAt(-10, 10); err != nil || !bytes.Equal(data, all[len(all)-10:]) {
			t.Errorf("after Close: %q, %v", data, err)
		}
		again, err := OpenLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if data, _, _, err := again.ReadAt(-10, 10); err != nil || len(data) == 0 || !bytes.HasSuffix(all, data) {
			t.Errorf("the next process reads %q, %v", data, err)
		}
		if err := again.remove(); err != nil {
			t.Fatal(err)
		}
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

func TestShelfKeepsABoundedNumberOfLogs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newLogShelf(dir)
	for i := range logsMax + 10 {
		id := fmt.Sprintf("w%d", i)
		l, err := s.open("job", id)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(l, id)
		if i > 0 {
			s.finished(id)
		}
	}
	newest := fmt.Sprintf("w%d", logsMax+9)
	if data, _, _, err := s.find("job", "").ReadAt(0, 0); err != nil || string(data) != newest {
		t.Errorf("the newest of the job says %q, %v", data, err)
	}
	if s.find("job", "w0") == nil {
		t.Error("the log of a worker that runs is gone")
	}
	if s.find("job", "w1") != nil {
		t.Error("the oldest log is kept")
	}
	files, err := filepath.Glob(filepath.Join(dir, "job", "*"))
	if err != nil || len(files) != logsMax+1 {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, bad := range []string{"", "../x", "a/b", ".hidden", strings.Repeat("x", 200)} {
		if _, err := s.open("job", bad); err == nil {
			t.Errorf("worker id %q names a log", bad)
		}
	}
	s.close()
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	var all []byte
	tl := &tail{}
	for i := range 5000 {
		b := fmt.Appendf(nil, "%d,", i)
		all = append(all, b...)
		if _, err := tl.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if got := tl.String(); got != string(all[len(all)-tailMax:]) {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-20:])
	}
}
