package checkpoint

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/leatstream/leat/dataflow"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
)

// Pointer is what the coordination service holds of a job's checkpoints. A
// checkpoint is committed when the pointer names it, at no other moment. It is
// written only by the leader, whole, in one fenced commit.
type Pointer struct {
	Version int `json:"version"` // 1
	// Latest is where a recovery starts; nil when nothing was ever committed.
	Latest *Entry `json:"latest,omitempty"`
	// Retained are the committed automatic checkpoints that are kept, oldest
	// first; Latest is among them unless it is a savepoint.
	Retained []Entry `json:"retained,omitempty"`
	// Reserved bounds the ids that may have been used: a later coordinator
	// starts above it.
	Reserved dataflow.CheckpointID `json:"reserved"`
}

// Entry names a committed checkpoint.
type Entry struct {
	ID        dataflow.CheckpointID `json:"id"`
	Savepoint bool                  `json:"savepoint,omitempty"`
	// Manifest is the key of its manifest in the store.
	Manifest string `json:"manifest"`
}

const pointerVersion = 1

// Encode returns the pointer's stored form.
func (p Pointer) Encode() ([]byte, error) {
	p.Version = pointerVersion
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode checkpoint pointer: %w", err)
	}
	return data, nil
}

// DecodePointer reads what Encode wrote. No data at all is not an empty
// pointer: that the key is missing is for the caller to judge.
func DecodePointer(data []byte) (Pointer, error) {
	var p Pointer
	if err := json.Unmarshal(data, &p); err != nil {
		return Pointer{}, fmt.Errorf("decode checkpoint pointer %q: %w", clip(string(data)), err)
	}
	if p.Version != pointerVersion {
		return Pointer{}, fmt.Errorf("checkpoint pointer has version %d, this version reads %d", p.Version, pointerVersion)
	}
	return p, nil
}

func (p Pointer) clone() Pointer {
	p.Retained = append([]Entry(nil), p.Retained...)
	if p.Latest != nil {
		e := *p.Latest
		p.Latest = &e
	}
	return p
}

func clip(s string) string {
	const clipMax = 200
	if len(s) <= clipMax {
		return s
	}
	return s[:clipMax] + "…"
}

// Completed is a committed checkpoint with the objects it needs.
type Completed struct {
	Entry
	// Dir is the directory of its own objects in the store, with a final slash.
	Dir string
	// Objects are the store keys of all objects that its handles name.
	Objects []string
}

// CompletedOf derives from a manifest, as read from the store, what the
// coordinator wants to know of it.
func CompletedOf(e Entry, m *checkpointv1.Manifest) Completed {
	c := Completed{Entry: e, Dir: strings.TrimSuffix(e.Manifest, ManifestName)}
	for _, o := range m.GetObjects() {
		c.Objects = append(c.Objects, o.GetKey())
	}
	return c
}

// Recovered is what a new coordinator finds of earlier ones.
type Recovered struct {
	// Pointer is the stored pointer, zero when there was proof that none was
	// ever written.
	Pointer Pointer
	// Completed belongs to Pointer.Retained (and Latest), from their
	// manifests. One whose manifest cannot be read now may be left out: its
	// objects are then kept until it can.
	Completed []Completed
}
