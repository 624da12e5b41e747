package manifest

import (
	"fmt"
	"strings"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// relativeMark starts the stored keys that are relative to the manifest.
const relativeMark = "./"

// Validate checks what readers rely on: numbers in range, every handle's
// bytes within an object that is listed, keys that a store accepts.
func Validate(m *checkpointv1.Manifest) error {
	switch {
	case m.GetCheckpointId() < 1:
		return fmt.Errorf("checkpoint id %d is less than 1", m.GetCheckpointId())
	case m.GetKind() != checkpointv1.Kind_KIND_CHECKPOINT && m.GetKind() != checkpointv1.Kind_KIND_SAVEPOINT:
		return fmt.Errorf("kind %d is unknown", m.GetKind())
	case m.GetMaxParallelism() < 1 || m.GetMaxParallelism() > dataflow.MaxParallelismLimit:
		return fmt.Errorf("maximum parallelism %d is not in 1 to %d", m.GetMaxParallelism(), dataflow.MaxParallelismLimit)
	}
	sizes := make(map[string]int64, len(m.GetObjects()))
	for _, o := range m.GetObjects() {
		if err := store.CheckKey(o.GetKey()); err != nil {
			return err
		}
		if _, twice := sizes[o.GetKey()]; twice || o.GetSize() < 0 {
			return fmt.Errorf("object %q is listed twice or with size %d", o.GetKey(), o.GetSize())
		}
		sizes[o.GetKey()] = o.GetSize()
	}
	for i, h := range m.GetHandles() {
		if err := checkHandle(h, m, sizes); err != nil {
			return fmt.Errorf("handle %d (operator %s, subtask %d): %w", i, h.GetOperatorId(), h.GetSubtask(), err)
		}
	}
	return nil
}

func checkHandle(h *controlv1.StateHandle, m *checkpointv1.Manifest, sizes map[string]int64) error {
	if h.GetKind() == controlv1.StateKind_STATE_KIND_UNSPECIFIED {
		return fmt.Errorf("it has no kind")
	}
	if h.GetKind() == controlv1.StateKind_STATE_KIND_KEYED && h.GetKeyGroupLast() >= uint32(m.GetMaxParallelism()) {
		return fmt.Errorf("key group %d is not below the maximum parallelism %d", h.GetKeyGroupLast(), m.GetMaxParallelism())
	}
	if h.GetObject() == "" {
		return nil
	}
	if len(h.GetInline()) > 0 {
		return fmt.Errorf("it lies in object %q and inline", h.GetObject())
	}
	size, listed := sizes[h.GetObject()]
	if !listed {
		return fmt.Errorf("object %q is not listed", h.GetObject())
	}
	if h.GetOffset() < 0 || h.GetLength() < 0 || h.GetOffset() > size-h.GetLength() {
		return fmt.Errorf("%d bytes at %d are not within object %q of %d", h.GetLength(), h.GetOffset(), h.GetObject(), size)
	}
	return nil
}

// mapKeys replaces all object keys of m.
func mapKeys(m *checkpointv1.Manifest, f func(string) (string, error)) error {
	for _, h := range m.GetHandles() {
		if h.GetObject() == "" {
			continue
		}
		key, err := f(h.GetObject())
		if err != nil {
			return err
		}
		h.Object = key
	}
	for _, o := range m.GetObjects() {
		key, err := f(o.GetKey())
		if err != nil {
			return err
		}
		o.Key = key
	}
	return nil
}

func relative(dir, key string, kind checkpointv1.Kind) (string, error) {
	if rel, ok := strings.CutPrefix(key, dir); ok {
		return relativeMark + rel, nil
	}
	if kind == checkpointv1.Kind_KIND_SAVEPOINT {
		return "", fmt.Errorf("savepoint needs object %q, which is not under its directory %q", key, dir)
	}
	return key, nil
}

func absolute(dir, key string) (string, error) {
	if rel, ok := strings.CutPrefix(key, relativeMark); ok {
		key = dir + rel
	}
	return key, store.CheckKey(key)
}
