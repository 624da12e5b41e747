package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
)

// deleteBatchMax is how many keys one Delete names: what S3 takes at once.
const deleteBatchMax = 1000

// DiscardObjects carries out a Discard. The manifest goes first, so that a
// discard that was cut short leaves no manifest that names missing objects.
// Repeating it is harmless.
func DiscardObjects(ctx context.Context, s store.Store, d Discard) error {
	manifest := d.Prefix + ManifestName
	if slices.Contains(d.Keep, manifest) {
		return fmt.Errorf("discard checkpoint %d: its manifest %q is to be kept", d.ID, manifest)
	}
	if err := s.Delete(ctx, manifest); err != nil {
		return fmt.Errorf("discard checkpoint %d: %w", d.ID, err)
	}
	b := batch{ctx: ctx, store: s}
	for info, err := range s.List(ctx, d.Prefix) {
		if err != nil {
			return errors.Join(fmt.Errorf("discard checkpoint %d: %w", d.ID, err), b.flush())
		}
		if !slices.Contains(d.Keep, info.Key) {
			b.add(info.Key)
		}
	}
	if err := b.flush(); err != nil {
		return fmt.Errorf("discard checkpoint %d: %w", d.ID, err)
	}
	return nil
}

// SweepObjects carries out a Sweep and returns how many objects went.
func SweepObjects(ctx context.Context, s store.Store, w Sweep) (int, error) {
	b := batch{ctx: ctx, store: s}
	err := errors.Join(sweepCheckpoints(ctx, s, w, &b), sweepSavepoints(ctx, s, w, &b), b.flush())
	if err != nil {
		return b.deleted, fmt.Errorf("sweep %s: %w", w.Prefix, err)
	}
	return b.deleted, nil
}

func sweepCheckpoints(ctx context.Context, s store.Store, w Sweep, b *batch) error {
	for info, err := range s.List(ctx, w.Prefix+checkpointDir) {
		if err != nil {
			return err
		}
		_, id, ok := ownerOf(w.Prefix+checkpointDir, info.Key)
		if ok && id < w.Below && !slices.Contains(w.Keep, info.Key) {
			b.add(info.Key)
		}
	}
	return nil
}

// sweepSavepoints removes what is left of savepoints that were never written
// to the end. The others belong to people.
func sweepSavepoints(ctx context.Context, s store.Store, w Sweep, b *batch) error {
	var dir string
	var keys []string
	whole := false
	end := func() {
		if !whole {
			for _, key := range keys {
				b.add(key)
			}
		}
		keys, whole = nil, false
	}
	for info, err := range s.List(ctx, w.Prefix+savepointDir) {
		if err != nil {
			return err
		}
		of, id, ok := ownerOf(w.Prefix+savepointDir, info.Key)
		if !ok || id >= w.Below {
			continue
		}
		if of != dir {
			end()
			dir = of
		}
		keys = append(keys, info.Key)
		whole = whole || path.Base(info.Key) == ManifestName || slices.Contains(w.Keep, info.Key)
	}
	end()
	return nil
}

// ownerOf returns the directory and id of the checkpoint that wrote key.
func ownerOf(base, key string) (dir string, id dataflow.CheckpointID, ok bool) {
	digits, _, found := strings.Cut(strings.TrimPrefix(key, base), "/")
	n, err := strconv.ParseInt(digits, 10, 64)
	return base + digits, dataflow.CheckpointID(n), found && err == nil
}

// batch gathers keys and deletes them in groups. The first error is kept;
// after it nothing more is deleted.
type batch struct {
	ctx     context.Context //nolint:containedctx // of the call that owns the batch
	store   store.Store
	keys    []string
	deleted int
	err     error
}

func (b *batch) add(key string) {
	b.keys = append(b.keys, key)
	if len(b.keys) == deleteBatchMax {
		b.err = b.flush()
	}
}

func (b *batch) flush() error {
	if b.err == nil && len(b.keys) > 0 {
		if b.err = b.store.Delete(b.ctx, b.keys...); b.err == nil {
			b.deleted += len(b.keys)
		}
	}
	b.keys = b.keys[:0]
	return b.err
}
