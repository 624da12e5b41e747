// Package statefile writes and reads the form in which keyed state leaves a
// backend: docs/formats/state.md, bucketed by key group, checked by CRC. All
// backends share it, so that a snapshot of one restores into another. It
// knows nothing of how a backend stores entries.
package statefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

const (
	magic = "LEATKST\n"
	// Version is the version of files that hold all of their key groups.
	Version = 1
	// DeltaVersion is that of files that add to those of an earlier checkpoint.
	DeltaVersion = 2

	prefixBytes  = 16 // magic, version, reserved, header length
	chunkBytes   = 8  // tag, reserved, number of sections
	sectionBytes = 12 // one entry of a chunk's index
	endBytes     = 16 // tag, reserved, chunks, entries

	tagChunk = 'C'
	tagEnd   = 'E'

	recordEntries    = 1
	recordSubEntries = 2
	recordGroupValue = 3
	// In files with a base only.
	recordDeleted     = 4
	recordDeletedSubs = 5
	recordResetValues = 6

	// ChunkBytesMax is the size at which a writer should end a chunk: the
	// memory that writing takes, and the least that a reader can skip by.
	ChunkBytesMax = 8 << 20

	headerBytesMax  = 64 << 20
	sectionCountMax = dataflow.MaxParallelismLimit
	tableCountMax   = 1 << 16
	droppedCountMax = headerBytesMax / 9
)

// ErrCorrupt is wrapped by every error that says that bytes are not what a
// writer wrote.
var ErrCorrupt = errors.New("corrupt state file")

// Header says what a file holds.
type Header struct {
	Checkpoint     dataflow.CheckpointID
	MaxParallelism int
	Groups         dataflow.KeyGroupRange
	// Tables are referred to by their place in this slice.
	Tables []state.Descriptor

	// Base is the checkpoint to whose files this one adds. 0: the file holds
	// all of its key groups, and what follows is not set.
	Base dataflow.CheckpointID
	// Whole is the slice of the key groups of which the file holds all, and
	// for which no older file is needed. It may be empty.
	Whole dataflow.KeyGroupRange
	// Dropped are the namespaces that were dropped since Base, before all
	// entries of the file.
	Dropped []Namespace
}

// Namespace is one of a table.
type Namespace struct {
	Table int
	NS    int64
}

// Section is the records of one key group in a chunk.
type Section struct {
	Group dataflow.KeyGroup
	Body  []byte // made by the Append functions
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// AppendEntries starts a run of count entries of one namespace of a table
// without subkeys. Exactly count AppendEntry follow.
func AppendEntries(dst []byte, table int, ns int64, count int) []byte {
	return appendRun(dst, recordEntries, table, ns, count)
}

// AppendEntry adds an entry to a run. In a table with Fixed set the value's
// length is not written: it must be Fixed.
func AppendEntry(dst []byte, fixed int, key, val []byte) []byte {
	dst = appendBytes(dst, key)
	if fixed > 0 {
		return append(dst, val...)
	}
	return appendBytes(dst, val)
}

// AppendSubEntries starts the map under one key of a table with subkeys.
// Exactly count AppendSubEntry follow, in the map's order.
func AppendSubEntries(dst []byte, table int, ns int64, key []byte, count int) []byte {
	return appendBytes(appendRun(dst, recordSubEntries, table, ns, count), key)
}

// AppendSubEntry adds an entry to a map.
func AppendSubEntry(dst []byte, sub, val []byte) []byte {
	return appendBytes(appendBytes(dst, sub), val)
}

// AppendGroupValue adds the key group's value under a name.
func AppendGroupValue(dst []byte, name string, val []byte) []byte {
	dst = append(dst, recordGroupValue)
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	return appendBytes(append(dst, name...), val)
}

// AppendDeleted starts a run of count keys that were deleted since the base;
// in a table with subkeys with all that was under them. Exactly count
// AppendDeletedKey follow.
func AppendDeleted(dst []byte, table int, ns int64, count int) []byte {
	return appendRun(dst, recordDeleted, table, ns, count)
}

// AppendDeletedSubs starts a run of count subkeys that were deleted under one
// key since the base. Exactly count AppendDeletedKey follow.
func AppendDeletedSubs(dst []byte, table int, ns int64, key []byte, count int) []byte {
	return appendBytes(appendRun(dst, recordDeletedSubs, table, ns, count), key)
}

// AppendDeletedKey adds a key or subkey to a run of deleted ones.
func AppendDeletedKey(dst, key []byte) []byte { return appendBytes(dst, key) }

// AppendResetValues says that the key group has no values but those that follow.
func AppendResetValues(dst []byte) []byte { return append(dst, recordResetValues) }

func appendRun(dst []byte, kind byte, table int, ns int64, count int) []byte {
	dst = binary.AppendUvarint(append(dst, kind), uint64(table))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(ns))
	return binary.AppendUvarint(dst, uint64(count))
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
