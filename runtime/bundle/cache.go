package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"

	"github.com/leatstream/leat/checkpoint/store"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// CacheBytesMaxDefault bounds a taskmanager's cache unless it says otherwise.
const CacheBytesMaxDefault = 4 << 30

// Cache holds the extracted programs of bundles on a taskmanager's disk. It
// is bounded in bytes: the programs longest unused go first, those in use
// stay. Concurrent requests for one bundle fetch it once. It is safe for
// concurrent use by one process; two must not share a folder.
type Cache struct {
	objects  store.Store
	dir      string
	bytesMax int64
	platform string

	mu      sync.Mutex
	entries map[string]*entry // guarded by mu; by SHA-256 of the bundle
	clock   int64             // guarded by mu; counts uses, for their order
}

// entry is one program on disk, or on the way there.
type entry struct {
	sha   string
	ready chan struct{} // closed when the fetch has ended
	err   error         // set before ready is closed
	bytes int64         // guarded by Cache.mu; 0 until fetched
	used  int64         // guarded by Cache.mu; order of last use
	pins  int           // guarded by Cache.mu; running programs and waiters
	// cancel ends the fetch when nobody waits for it any more.
	cancel context.CancelFunc
}

// NewCache opens a cache in dir and takes over what an earlier process left
// there. bytesMax 0 means CacheBytesMaxDefault.
func NewCache(dir string, objects store.Store, bytesMax int64) (*Cache, error) {
	if bytesMax <= 0 {
		bytesMax = CacheBytesMaxDefault
	}
	c := &Cache{
		objects: objects, dir: dir, bytesMax: bytesMax,
		platform: goruntime.GOOS + "/" + goruntime.GOARCH,
		entries:  make(map[string]*entry),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("bundle cache: %w", err)
	}
	return c, c.adopt()
}

// adopt removes leftovers of broken fetches and lists whole programs.
func (c *Cache) adopt() error {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("bundle cache: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !ValidSHA256(f.Name()) || !info.Mode().IsRegular() {
			if err := os.RemoveAll(filepath.Join(c.dir, f.Name())); err != nil {
				return fmt.Errorf("bundle cache: %w", err)
			}
			continue
		}
		done := make(chan struct{})
		close(done)
		c.entries[f.Name()] = &entry{sha: f.Name(), ready: done, bytes: info.Size(), cancel: func() {}}
	}
	c.evictLocked()
	return nil
}

// Acquire returns the path of the bundle's executable for this machine,
// fetching it when it is not there. The program stays until release is
// called. Errors are *jobview.Error where people can act on them.
func (c *Cache) Acquire(ctx context.Context, ref *controlv1.BundleRef) (path string, release func(), err error) {
	if !ValidSHA256(ref.GetSha256()) {
		return "", nil, errBundleNotFound(ref.GetSha256())
	}
	e := c.pin(ref)
	select {
	case <-e.ready:
	case <-ctx.Done():
		c.unpin(e)
		return "", nil, ctx.Err()
	}
	if e.err != nil {
		c.unpin(e)
		return "", nil, e.err
	}
	return c.path(e.sha), sync.OnceFunc(func() { c.unpin(e) }), nil
}

func (c *Cache) path(sha string) string { return filepath.Join(c.dir, sha) }

// pin returns the entry of a bundle, starting its fetch if there is none.
func (c *Cache) pin(ref *controlv1.BundleRef) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock++
	e := c.entries[ref.GetSha256()]
	if e == nil || c.vanishedLocked(e) {
		// The fetch outlives the caller that began it when others wait too.
		ctx, cancel := context.WithCancel(context.Background())
		e = &entry{sha: ref.GetSha256(), ready: make(chan struct{}), cancel: cancel}
		c.entries[e.sha] = e
		go c.fetch(ctx, e, ref)
	}
	e.pins++
	e.used = c.clock
	return e
}

// vanishedLocked reports whether someone removed a fetched program's file.
func (c *Cache) vanishedLocked(e *entry) bool {
	if e.bytes == 0 {
		return false
	}
	_, err := os.Stat(c.path(e.sha))
	return errors.Is(err, os.ErrNotExist)
}

func (c *Cache) unpin(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.pins--
	if e.pins == 0 && e.bytes == 0 {
		// Nobody waits for the fetch: end it, and let the next one begin anew.
		e.cancel()
		if c.entries[e.sha] == e {
			delete(c.entries, e.sha)
		}
	}
	c.evictLocked()
}

// evictLocked removes the longest unused programs until the rest fits.
func (c *Cache) evictLocked() {
	for {
		var total int64
		var oldest *entry
		for _, e := range c.entries {
			total += e.bytes
			if e.pins == 0 && e.bytes > 0 && (oldest == nil || e.used < oldest.used || e.used == oldest.used && e.sha < oldest.sha) {
				oldest = e
			}
		}
		if total <= c.bytesMax || oldest == nil {
			return
		}
		_ = os.Remove(c.path(oldest.sha)) // one that cannot be removed is adopted at the next start
		delete(c.entries, oldest.sha)
	}
}

// fetch runs on its own goroutine, once for each entry; it ends with the
// download or with the last waiter.
func (c *Cache) fetch(ctx context.Context, e *entry, ref *controlv1.BundleRef) {
	size, err := c.download(ctx, ref)
	c.mu.Lock()
	e.bytes, e.err = size, err
	if err != nil && c.entries[e.sha] == e {
		delete(c.entries, e.sha)
	}
	c.evictLocked()
	c.mu.Unlock()
	e.cancel()
	close(e.ready)
}

func (c *Cache) download(ctx context.Context, ref *controlv1.BundleRef) (int64, error) {
	tmp, err := os.CreateTemp(c.dir, ".fetch-*")
	if err != nil {
		return 0, fmt.Errorf("bundle cache: %w", err)
	}
	defer func() { _ = errors.Join(tmp.Close(), os.Remove(tmp.Name())) }() // scratch
	key := ref.GetKey()
	if key == "" {
		key = Key(ref.GetSha256())
	}
	if err := c.copyObject(ctx, key, ref, tmp); err != nil {
		return 0, err
	}
	b, err := Open(tmp.Name())
	if err != nil {
		return 0, err
	}
	defer func() { _ = b.Close() }() // opened for reading only
	if err := b.Manifest.CheckProtocol(); err != nil {
		return 0, err
	}
	p, err := b.Manifest.Program(c.platform)
	if err != nil {
		return 0, err
	}
	return p.Size, b.Extract(c.platform, c.path(ref.GetSha256()))
}

// copyObject downloads the bundle and compares its sum with its name.
func (c *Cache) copyObject(ctx context.Context, key string, ref *controlv1.BundleRef, w io.Writer) error {
	body, err := c.objects.Get(ctx, key, 0, -1)
	if errors.Is(err, store.ErrNotFound) {
		return errBundleNotFound(ref.GetSha256())
	}
	if err != nil {
		return fmt.Errorf("fetching bundle %s: %w", ref.GetSha256(), err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), body)
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("fetching bundle %s: %w", ref.GetSha256(), err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != ref.GetSha256() {
		return errDamaged(c.objects.URI(key), fmt.Sprintf("its %d bytes have SHA-256 %s, not %s", n, got, ref.GetSha256()))
	}
	return nil
}

// Held lists the bundles in the cache, sorted, for people and tests.
func (c *Cache) Held() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for sha, e := range c.entries {
		if e.bytes > 0 {
			out = append(out, sha)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
