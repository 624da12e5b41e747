package spool_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/leatstream/leat/internal/spool"
)

// TestSpool: what was written is read, whether it lies in memory or in a file,
// and the folder never shows anything.
func TestSpool(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{true, false} {
		for _, size := range []int{0, 1, 4 << 20, 4<<20 + 1, 9 << 20} {
			dir := ""
			if !inMemory {
				dir = t.TempDir()
			}
			s := spool.New(dir)
			rng := rand.New(rand.NewPCG(uint64(size), 1))
			want := make([]byte, size)
			for i := range want {
				want[i] = byte(rng.Uint32())
			}
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN(1<<20))
				if m, err := s.Write(rest[:n]); m != n || err != nil {
					t.Fatal(m, err)
				}
				rest = rest[n:]
			}
			if got := s.Bytes() != nil || size == 0; got != (inMemory || size <= 4<<20) {
				t.Errorf("%d bytes: in memory %t", size, got)
			}
			got, err := io.ReadAll(io.NewSectionReader(s, 0, s.Size()))
			if err != nil || !bytes.Equal(got, want) || s.Sum() != crc32.Checksum(want, crc32.MakeTable(crc32.Castagnoli)) {
				t.Errorf("%d bytes: read %d, %v", size, len(got), err)
			}
			if size > 0 {
				if n, err := s.ReadAt(make([]byte, 2), s.Size()-1); n != 1 || !errors.Is(err, io.EOF) {
					t.Errorf("%d bytes: past the end: %d, %v", size, n, err)
				}
			}
			if dir != "" {
				if all, _ := os.ReadDir(dir); len(all) > 0 {
					t.Errorf("%d bytes: %v lies about", size, all)
				}
			}
			for range 2 {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if _, err := spool.New(filepath.Join(t.TempDir(), "gone")).Write(make([]byte, 5<<20)); err == nil {
		t.Error("no error without a folder")
	}
}
