package bundle_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/memstore"
	"github.com/leatstream/leat/internal/clock"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/bundle"
)

func host() string { return goruntime.GOOS + "/" + goruntime.GOARCH }

// put stores a bundle of its own: name makes it different from others.
func put(t *testing.T, r *bundle.Repository, name string) *controlv1.BundleRef {
	t.Helper()
	m := manifest()
	m.Name = name
	path := filepath.Join(t.TempDir(), name)
	if _, err := bundle.Write(path, m, programs(t, host())); err != nil {
		t.Fatal(err)
	}
	b, err := r.Put(t.Context(), name+".bundle", path)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := r.Ref(t.Context(), b.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestRepository(t *testing.T) {
	t.Parallel()
	c := clock.NewManual(time.Unix(1e9, 0))
	objects := memstore.New(c)
	r := bundle.NewRepository(objects, c)
	a := put(t, r, "a")
	c.Advance(time.Hour)
	b := put(t, r, "b")
	if again := put(t, r, "a"); again.GetSha256() != a.GetSha256() {
		t.Errorf("stored again as %s", again.GetSha256())
	}
	list, err := r.List(t.Context())
	if err != nil || len(list) != 2 || list[0].SHA256 != b.GetSha256() || list[1].JobName != "a" || list[1].Platforms[0] != host() || list[1].Name != "a.bundle" {
		t.Errorf("list: %+v, %v", list, err)
	}
	if err := r.Delete(t.Context(), a.GetSha256()); err != nil {
		t.Fatal(err)
	}
	for _, sha := range []string{a.GetSha256(), "../../etc/passwd", ""} {
		if _, err := r.Get(t.Context(), sha); codeOf(err) != bundle.CodeNotFound {
			t.Errorf("%q: %v", sha, err)
		}
	}
	if err := r.Delete(t.Context(), a.GetSha256()); codeOf(err) != bundle.CodeNotFound {
		t.Errorf("deleted again: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("#!/bin/sh"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), "broken", broken); codeOf(err) != bundle.CodeNotABundle {
		t.Errorf("a script as bundle: %v", err)
	}
}

// gate counts and holds reads of bundles.
type gate struct {
	store.Store
	gets atomic.Int64
	open chan struct{}
}

func (g *gate) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	g.gets.Add(1)
	select {
	case <-g.open:
		return g.Store.Get(ctx, key, offset, length)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newCache(t *testing.T, dir string, objects store.Store, limit int64) *bundle.Cache {
	t.Helper()
	c, err := bundle.NewCache(dir, objects, limit)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConcurrentRequestsFetchOnce(t *testing.T) {
	t.Parallel()
	objects := memstore.New(clock.Real{})
	ref := put(t, bundle.NewRepository(objects, clock.Real{}), "a")
	g := &gate{Store: objects, open: make(chan struct{})}
	cache := newCache(t, t.TempDir(), g, 0)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, release, err := cache.Acquire(t.Context(), ref)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if st, err := os.Stat(path); err != nil || st.Mode()&0o111 == 0 {
				t.Errorf("%v, %v", st, err)
			}
		})
	}
	close(g.open)
	all.Wait()
	if n := g.gets.Load(); n != 1 {
		t.Errorf("%d reads of the store", n)
	}
}

func TestAFetchEndsWithItsLastWaiter(t *testing.T) {
	t.Parallel()
	objects := memstore.New(clock.Real{})
	ref := put(t, bundle.NewRepository(objects, clock.Real{}), "a")
	g := &gate{Store: objects, open: make(chan struct{})}
	cache := newCache(t, t.TempDir(), g, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := cache.Acquire(ctx, ref); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(g.open)
	_, release, err := cache.Acquire(t.Context(), ref)
	if err != nil {
		t.Fatalf("after a cancelled fetch: %v", err)
	}
	release()
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	objects := memstore.New(clock.Real{})
	r := bundle.NewRepository(objects, clock.Real{})
	a, b, c := put(t, r, "a"), put(t, r, "b"), put(t, r, "c")
	st, err := os.Stat(programs(t, host())[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cache := newCache(t, dir, objects, 2*st.Size())
	acquire := func(ref *controlv1.BundleRef) func() {
		_, release, err := cache.Acquire(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	held := func(want ...*controlv1.BundleRef) {
		t.Helper()
		got := strings.Join(cache.Held(), " ")
		for _, w := range want {
			if !strings.Contains(got, w.GetSha256()) {
				t.Errorf("%s was evicted", w.GetSha256())
			}
		}
		if len(cache.Held()) != len(want) {
			t.Errorf("%d held, want %d", len(cache.Held()), len(want))
		}
	}
	releaseA := acquire(a)
	acquire(b)()
	held(a, b)
	acquire(c)() // b is the one that nobody uses
	held(a, c)
	releaseA()
	acquire(a)()
	acquire(b)() // c was used longest ago
	held(a, b)
	again := newCache(t, dir, objects, 2*st.Size())
	if got := again.Held(); len(got) != 2 {
		t.Errorf("a new process adopts %v", got)
	}
	if err := os.Remove(filepath.Join(dir, a.GetSha256())); err != nil {
		t.Fatal(err)
	}
	acquire(a)()
	if _, err := os.Stat(filepath.Join(dir, a.GetSha256())); err != nil {
		t.Errorf("a removed file is not fetched again: %v", err)
	}
}

func TestTheCacheRefusesWhatIsNotWhatItSays(t *testing.T) {
	t.Parallel()
	objects := memstore.New(clock.Real{})
	r := bundle.NewRepository(objects, clock.Real{})
	a, b := put(t, r, "a"), put(t, r, "b")
	dir := t.TempDir()
	cache := newCache(t, dir, objects, 0)
	forged := &controlv1.BundleRef{Sha256: a.GetSha256(), Key: b.GetKey()}
	if _, _, err := cache.Acquire(t.Context(), forged); codeOf(err) != bundle.CodeDamaged {
		t.Errorf("another bundle's bytes: %v", err)
	}
	gone := &controlv1.BundleRef{Sha256: strings.Repeat("ab", 32)}
	if _, _, err := cache.Acquire(t.Context(), gone); codeOf(err) != bundle.CodeNotFound {
		t.Errorf("no such bundle: %v", err)
	}
	if _, _, err := cache.Acquire(t.Context(), &controlv1.BundleRef{Sha256: "../x"}); codeOf(err) != bundle.CodeNotFound {
		t.Errorf("no sum: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
