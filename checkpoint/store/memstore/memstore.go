// Package memstore is an object store in memory, for clusters in one process
// and for tests. Nothing outlives it.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/internal/clock"
)

// Store is a store.Store in memory.
type Store struct {
	clock clock.Clock

	mu      sync.RWMutex
	objects map[string]object // guarded by mu
}

type object struct {
	data     []byte // never changed
	modified time.Time
}

var _ store.Store = (*Store)(nil)

// New returns an empty store whose objects are dated by clk.
func New(clk clock.Clock) *Store { return &Store{clock: clk, objects: map[string]object{}} }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("put %q: size %d is negative", key, size)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return fmt.Errorf("put %q: read %d bytes: %w", key, size, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = object{data, s.clock.Now()}
	return nil
}

// PutIfAbsent implements store.Store.
func (s *Store) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok {
		return fmt.Errorf("put %q: %w", key, store.ErrExists)
	}
	s.objects[key] = object{bytes.Clone(data), s.clock.Now()}
	return nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	o, err := s.lookup(ctx, "get", key)
	if err != nil {
		return nil, err
	}
	n, err := store.CheckRange(key, int64(len(o.data)), offset, length)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(o.data[offset : offset+n])), nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	o, err := s.lookup(ctx, "stat", key)
	if err != nil {
		return store.Info{}, err
	}
	return store.Info{Key: key, Size: int64(len(o.data)), Modified: o.modified}, nil
}

// List implements store.Store. It sees the objects of the moment it starts.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for _, info := range s.snapshot(prefix) {
			if err := ctx.Err(); err != nil {
				yield(store.Info{}, fmt.Errorf("list %q: %w", prefix, err))
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if err := check(ctx, "delete", key); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.objects, key)
	}
	return nil
}

// URI implements store.Store.
func (s *Store) URI(key string) string { return "mem:" + key }

func (s *Store) snapshot(prefix string) []store.Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var infos []store.Info
	for key, o := range s.objects {
		if strings.HasPrefix(key, prefix) {
			infos = append(infos, store.Info{Key: key, Size: int64(len(o.data)), Modified: o.modified})
		}
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	return infos
}

func (s *Store) lookup(ctx context.Context, op, key string) (object, error) {
	if err := check(ctx, op, key); err != nil {
		return object{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok := s.objects[key]
	if !ok {
		return object{}, fmt.Errorf("%s %q: %w", op, key, store.ErrNotFound)
	}
	return o, nil
}

func check(ctx context.Context, op, key string) error {
	if err := store.CheckKey(key); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %q: %w", op, key, err)
	}
	return nil
}
