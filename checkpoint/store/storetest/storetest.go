// Package storetest is the conformance suite of store.Store: each
// implementation runs it. Faults of networks and servers are tested by the
// implementations that have them.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leatstream/leat/checkpoint/store"
)

// Run runs the suite. open is called once for each test and returns an empty
// store.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := map[string]func(*suite){
		"PutGetRanges":        (*suite).ranges,
		"Replace":             (*suite).replace,
		"PutReadsFromHere":    (*suite).putFromOffset,
		"FailedPutLeavesNone": (*suite).failedPut,
		"PutIfAbsent":         (*suite).putIfAbsent,
		"PutIfAbsentRace":     (*suite).race,
		"NotFound":            (*suite).notFound,
		"List":                (*suite).list,
		"ListMany":            (*suite).listMany,
		"Delete":              (*suite).delete,
		"Keys":                (*suite).keys,
		"Cancelled":           (*suite).cancelled,
		"Large":               (*suite).large,
		"Whole":               (*suite).whole,
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tests[name](&suite{T: t, ctx: t.Context(), s: open(t)})
		})
	}
}

type suite struct {
	*testing.T
	ctx context.Context //nolint:containedctx // of the test
	s   store.Store
}

func (s *suite) put(key string, data []byte) {
	s.Helper()
	if err := s.s.Put(s.ctx, key, bytes.NewReader(data), int64(len(data))); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) get(key string, offset, length int64) ([]byte, error) {
	r, err := s.s.Get(s.ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func (s *suite) expect(key string, want []byte) {
	s.Helper()
	got, err := s.get(key, 0, -1)
	if err != nil {
		s.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		s.Fatalf("%s holds %d bytes, want %d", key, len(got), len(want))
	}
	info, err := s.s.Stat(s.ctx, key)
	if err != nil || info.Size != int64(len(want)) || info.Key != key || info.Modified.IsZero() {
		s.Fatalf("stat %s: %+v, %v", key, info, err)
	}
}

func (s *suite) keysUnder(prefix string) []string {
	s.Helper()
	keys := []string{}
	for info, err := range s.s.List(s.ctx, prefix) {
		if err != nil {
			s.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func (s *suite) ranges() {
	data := []byte("0123456789")
	s.put("a/b/object", data)
	s.expect("a/b/object", data)
	for _, c := range []struct{ offset, length int64 }{{0, 10}, {0, 0}, {3, 4}, {9, 1}, {10, 0}, {10, -1}, {4, -1}, {0, -1}} {
		end := c.offset + c.length
		if c.length < 0 {
			end = 10
		}
		got, err := s.get("a/b/object", c.offset, c.length)
		if err != nil || !bytes.Equal(got, data[c.offset:end]) {
			s.Errorf("%d bytes at %d: %q, %v", c.length, c.offset, got, err)
		}
	}
	for _, c := range []struct{ offset, length int64 }{{0, 11}, {9, 2}, {10, 1}, {11, 0}, {11, -1}, {-1, 1}, {1 << 40, 1}} {
		if got, err := s.get("a/b/object", c.offset, c.length); err == nil || errors.Is(err, store.ErrNotFound) {
			s.Errorf("%d bytes at %d of 10: %q, %v", c.length, c.offset, got, err)
		}
	}
	s.put("empty", nil)
	s.expect("empty", nil)
}

func (s *suite) replace() {
	s.put("k", []byte("first, and longer"))
	s.put("k", []byte("second"))
	s.expect("k", []byte("second"))
}

func (s *suite) putFromOffset() {
	r := strings.NewReader("headerBODYtail")
	if _, err := r.Seek(6, io.SeekStart); err != nil {
		s.Fatal(err)
	}
	if err := s.s.Put(s.ctx, "k", r, 4); err != nil {
		s.Fatal(err)
	}
	s.expect("k", []byte("BODY"))
}

func (s *suite) failedPut() {
	if err := s.s.Put(s.ctx, "k", strings.NewReader("short"), 10); err == nil {
		s.Error("a source that is too short was stored")
	}
	if err := s.s.Put(s.ctx, "k", strings.NewReader("x"), -1); err == nil {
		s.Error("a negative size was stored")
	}
	broken := errors.New("broken source")
	if err := s.s.Put(s.ctx, "k", &brokenReader{err: broken}, 10); !errors.Is(err, broken) {
		s.Errorf("a broken source: %v", err)
	}
	if _, err := s.s.Stat(s.ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		s.Errorf("a failed write left something: %v", err)
	}
	if keys := s.keysUnder(""); len(keys) != 0 {
		s.Errorf("failed writes left %v", keys)
	}
	s.put("k", []byte("old"))
	if err := s.s.Put(s.ctx, "k", &brokenReader{err: broken}, 10); err == nil {
		s.Error("a broken source was stored")
	}
	s.expect("k", []byte("old"))
}

type brokenReader struct {
	err  error
	read int
}

func (r *brokenReader) Read(p []byte) (int, error) {
	if r.read >= 5 {
		return 0, r.err
	}
	r.read++
	p[0] = 'x'
	return 1, nil
}

func (r *brokenReader) Seek(int64, int) (int64, error) { r.read = 0; return 0, nil }

func (s *suite) putIfAbsent() {
	data := []byte("mine")
	if err := s.s.PutIfAbsent(s.ctx, "d/k", data); err != nil {
		s.Fatal(err)
	}
	for _, other := range []string{"other", "mine"} {
		if err := s.s.PutIfAbsent(s.ctx, "d/k", []byte(other)); !errors.Is(err, store.ErrExists) {
			s.Errorf("over an object: %v", err)
		}
	}
	copy(data, "XXXX")
	s.expect("d/k", []byte("mine"))
	if err := s.s.Delete(s.ctx, "d/k"); err != nil {
		s.Fatal(err)
	}
	if err := s.s.PutIfAbsent(s.ctx, "d/k", []byte("again")); err != nil {
		s.Fatal(err)
	}
	s.expect("d/k", []byte("again"))
}

func (s *suite) race() {
	const writers = 16
	won := make([]bool, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			err := s.s.PutIfAbsent(s.ctx, "race/k", fmt.Append(nil, "writer ", i))
			won[i] = err == nil
			if err != nil && !errors.Is(err, store.ErrExists) {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	winner := slices.Index(won, true)
	if winner < 0 || slices.Contains(won[winner+1:], true) {
		s.Fatalf("winners: %v", won)
	}
	s.expect("race/k", fmt.Append(nil, "writer ", winner))
}

func (s *suite) notFound() {
	s.put("dir/object", []byte("x"))
	for _, key := range []string{"nothing", "dir", "dir/other", "dir/object/below", "di"} {
		if _, err := s.get(key, 0, -1); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("get %s: %v", key, err)
		}
		if _, err := s.get(key, 3, 4); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("get a range of %s: %v", key, err)
		}
		if _, err := s.get(key, 0, 0); !errors.Is(err, store.ErrNotFound) {
			s.Errorf("get nothing of %s: %v", key, err)
		}
		if _, err := s.s.Stat(s.ctx, key); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), key) {
			s.Errorf("stat %s: %v", key, err)
		}
	}
}

func (s *suite) list() {
	all := []string{"a-b/x", "a.b", "a/b", "a/b-c/d", "a/b/", "a/c", "ab", "b/1", "b/10", "b/2"}
	all = slices.DeleteFunc(all, func(k string) bool { return k == "a/b/" || k == "a/b" })
	for i, key := range all {
		s.put(key, make([]byte, i))
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b-", "b/1", "b", "zzz", "a/c", "a/c/"} {
		want := []string{}
		for _, key := range all {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		if got := s.keysUnder(prefix); !slices.Equal(got, want) {
			s.Errorf("list %q: %v, want %v", prefix, got, want)
		}
	}
	for info, err := range s.s.List(s.ctx, "b/2") {
		if err != nil || info.Size != int64(len(all)-1) || info.Modified.IsZero() {
			s.Errorf("%+v, %v", info, err)
		}
	}
	for _, err := range s.s.List(s.ctx, "") {
		if err != nil {
			s.Errorf("list: %v", err)
		}
		break // stopping early is allowed
	}
}

// More objects than one page of S3 has, listed and deleted at once.
func (s *suite) listMany() {
	const n = 1105
	var wg sync.WaitGroup
	keys := make([]string, n)
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < n; i += 8 {
				keys[i] = fmt.Sprintf("many/%05d", i)
				if err := s.s.Put(s.ctx, keys[i], strings.NewReader("x"), 1); err != nil {
					s.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.keysUnder("many/"); !slices.Equal(got, keys) {
		s.Fatalf("%d keys, want %d", len(got), n)
	}
	if err := s.s.Delete(s.ctx, keys...); err != nil {
		s.Fatal(err)
	}
	if got := s.keysUnder(""); len(got) != 0 {
		s.Errorf("%d keys are left", len(got))
	}
}

func (s *suite) delete() {
	s.put("d/a", []byte("x"))
	s.put("d/b", []byte("x"))
	s.put("d/sub/c", []byte("x"))
	if err := s.s.Delete(s.ctx); err != nil {
		s.Error(err)
	}
	if err := s.s.Delete(s.ctx, "d/a", "d/never", "nowhere/x", "d/a"); err != nil {
		s.Error(err)
	}
	if err := s.s.Delete(s.ctx, "d/sub"); err != nil {
		s.Errorf("delete of a prefix, which is no object: %v", err)
	}
	if got := s.keysUnder(""); !slices.Equal(got, []string{"d/b", "d/sub/c"}) {
		s.Errorf("left: %v", got)
	}
}

func (s *suite) keys() {
	for _, key := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".", "..", "a\\b", "a\x00b", "a\nb", strings.Repeat("k", store.KeyMax+1)} {
		if err := s.s.Put(s.ctx, key, strings.NewReader("x"), 1); err == nil {
			s.Errorf("put %q worked", key)
		}
		if err := s.s.PutIfAbsent(s.ctx, key, []byte("x")); err == nil {
			s.Errorf("put %q if absent worked", key)
		}
		if _, err := s.get(key, 0, -1); err == nil || errors.Is(err, store.ErrNotFound) {
			s.Errorf("get %q: %v", key, err)
		}
		if err := s.s.Delete(s.ctx, key); err == nil {
			s.Errorf("delete %q worked", key)
		}
	}
	for _, key := range []string{"with space/and+plus", "üml/äut", "a=b&c?d#e%20f", "...", "a/.hidden", "~x"} {
		s.put(key, []byte(key))
		s.expect(key, []byte(key))
		if got := s.keysUnder(key); !slices.Equal(got, []string{key}) {
			s.Errorf("list %q: %v", key, got)
		}
		if uri := s.s.URI(key); !strings.HasSuffix(uri, key) || !strings.Contains(uri, ":") {
			s.Errorf("URI of %q is %q", key, uri)
		}
	}
}

func (s *suite) cancelled() {
	s.put("k", []byte("x"))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	_, getErr := s.s.Get(ctx, "k", 0, -1)
	_, statErr := s.s.Stat(ctx, "k")
	var listErr error
	for _, err := range s.s.List(ctx, "") {
		listErr = err
	}
	for name, err := range map[string]error{
		"put": s.s.Put(ctx, "new", strings.NewReader("x"), 1), "put if absent": s.s.PutIfAbsent(ctx, "new", []byte("x")),
		"get": getErr, "stat": statErr, "list": listErr, "delete": s.s.Delete(ctx, "k"),
	} {
		if !errors.Is(err, context.Canceled) {
			s.Errorf("%s: %v", name, err)
		}
	}
	s.expect("k", []byte("x"))
}

// Larger than the parts in which S3 takes it.
func (s *suite) large() {
	data := make([]byte, 37<<20+3)
	r := rand.NewChaCha8([32]byte{1})
	if _, err := r.Read(data); err != nil {
		s.Fatal(err)
	}
	s.put("large", data)
	s.expect("large", data)
	got, err := s.get("large", 16<<20-5, 20<<20)
	if err != nil || !bytes.Equal(got, data[16<<20-5:36<<20-5]) {
		s.Errorf("range of %d bytes, %v", len(got), err)
	}
}

// A reader sees one version of an object as a whole, whatever writers do.
func (s *suite) whole() {
	const size, rounds = 100_000, 20
	version := func(b byte) []byte { return bytes.Repeat([]byte{b}, size) }
	s.put("k", version('a'))
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range rounds {
			if err := s.s.Put(s.ctx, "k", bytes.NewReader(version('b'+byte(i))), size); err != nil {
				s.Error(err)
			}
		}
	})
	for range rounds {
		got, err := s.get("k", 0, -1)
		if err != nil {
			s.Error(err)
			continue
		}
		if !bytes.Equal(got, version(got[0])) {
			s.Error("a mixture of two versions was read")
		}
	}
	wg.Wait()
}
