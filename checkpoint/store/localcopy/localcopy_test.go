package localcopy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/faultstore"
	"github.com/leatstream/leat/checkpoint/store/localcopy"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/checkpoint/store/storetest"
	"github.com/leatstream/leat/internal/clock"
)

func open(t *testing.T, inner store.Store, cfg localcopy.Config) *localcopy.Store {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "copies")
	}
	s, err := localcopy.New(inner, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]int64{"all": 1 << 30, "few": 1 << 10, "none": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) store.Store {
				return open(t, memstore.New(clock.Real{}), localcopy.Config{BytesMax: limit})
			})
		})
	}
}

// counted is a store whose reads are counted.
func counted() (store.Store, *int) {
	gets := new(int)
	return faultstore.New(memstore.New(clock.Real{}), func(c faultstore.Call) faultstore.Fault {
		if c.Method == "Get" {
			*gets++
		}
		return faultstore.Fault{}
	}), gets
}

func put(t *testing.T, s store.Store, key string, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	rng := rand.New(rand.NewPCG(uint64(size), 7))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	if err := s.Put(t.Context(), key, bytes.NewReader(data), int64(size)); err != nil {
		t.Fatal(err)
	}
	return data
}

func get(t *testing.T, s store.Store, key string, offset, length int64) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), key, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestReadsStayLocal: what was put is read without the store, in ranges too,
// until it has to give way; what is not worth a copy has none.
func TestReadsStayLocal(t *testing.T) {
	t.Parallel()
	inner, gets := counted()
	s := open(t, inner, localcopy.Config{BytesMax: 2 << 20, Keep: func(key string) bool { return strings.HasSuffix(key, ".state") }})
	a := put(t, s, "a.state", 900_000)
	rng := rand.New(rand.NewPCG(3, 3))
	for range 50 {
		from := rng.Int64N(900_001)
		n := rng.Int64N(900_001 - from)
		if !bytes.Equal(get(t, s, "a.state", from, n), a[from:from+n]) {
			t.Fatalf("%d bytes at %d are others", n, from)
		}
	}
	if *gets != 0 {
		t.Errorf("%d reads of the store", *gets)
	}
	put(t, s, "b.other", 10)
	if get(t, s, "b.other", 0, -1); *gets != 1 {
		t.Errorf("%d reads of the store, want 1", *gets)
	}
	put(t, s, "c.state", 900_000)
	put(t, s, "d.state", 900_000)
	if got := s.Bytes(); got != 1_800_000 {
		t.Errorf("%d bytes of copies", got)
	}
	if got := get(t, s, "a.state", 0, -1); !bytes.Equal(got, a) || *gets != 2 {
		t.Errorf("the oldest copy: %d bytes, %d reads of the store, want 2", len(got), *gets)
	}
	if s.Forget("c"); s.Bytes() != 900_000 {
		t.Errorf("%d bytes of copies after one was forgotten", s.Bytes())
	}
}

// TestDamagedCopies: a file that was changed, cut or removed is never read from
// for what it is not.
func TestDamagedCopies(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(path string) error{
		"a bit": func(path string) error {
			b, err := os.ReadFile(path)
			if err == nil {
				b[700_000] ^= 4
				err = os.WriteFile(path, b, 0o600)
			}
			return err
		},
		"cut":     func(path string) error { return os.Truncate(path, 600_000) },
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner, gets := counted()
			dir := filepath.Join(t.TempDir(), "copies")
			s := open(t, inner, localcopy.Config{Dir: dir, BytesMax: 1 << 30})
			want := put(t, s, "a", 900_000)
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			if err := harm(filepath.Join(dir, files[0].Name())); err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				if got := get(t, s, "a", 1000, -1); !bytes.Equal(got, want[1000:]) || *gets != i+1 {
					t.Errorf("read %d: %d bytes, equal %t, %d reads of the store", i, len(got), bytes.Equal(got, want[1000:]), *gets)
				}
			}
		})
	}
}

// TestFailures: without the store nothing is kept, without the disk nothing is
// lost, and what an earlier process left is removed.
func TestFailures(t *testing.T) {
	t.Parallel()
	broken := faultstore.New(memstore.New(clock.Real{}), func(c faultstore.Call) faultstore.Fault {
		if c.Method == "Put" && c.Key == "bad" {
			return faultstore.Fault{Before: errors.New("no space")}
		}
		return faultstore.Fault{}
	})
	dir := filepath.Join(t.TempDir(), "copies")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "1"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s := open(t, broken, localcopy.Config{Dir: dir, BytesMax: 1 << 30})
	if err := s.Put(t.Context(), "bad", strings.NewReader("x"), 1); err == nil || s.Bytes() != 0 {
		t.Errorf("a put that failed: %v, %d bytes kept", err, s.Bytes())
	}
	if want := put(t, s, "good", 5); !bytes.Equal(get(t, s, "good", 0, -1), want) {
		t.Error("another object")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if want := put(t, s, "later", 5); !bytes.Equal(get(t, s, "later", 0, -1), want) || s.Bytes() != 5 {
		t.Errorf("without its folder: another object, or %d bytes kept", s.Bytes())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "good", 0, -1); err == nil {
		t.Error("a read that was cancelled succeeds")
	}
}
