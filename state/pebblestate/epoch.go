package pebblestate

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// A delta has to know which entries were written since its base. Epochs are
// the spans between snapshots: each value ends with that of its last write,
// and each table file carries the one in which it was written. A delta reads
// the files that are younger than its base, whatever they hold, and of them
// takes the entries that are.
//
// The epoch of a file is that of its writing, not the highest of its values:
// what writes files does not show values to those who collect properties. So
// it bounds that of all in the file, and of deletions too, which have no value
// to carry one. A compaction brings old entries into young files; what a delta
// reads in vain is what was compacted since its base.
const (
	epochBytes = 4
	// restoreEpoch is that of what was restored, firstEpoch the one after.
	restoreEpoch = 1
	firstEpoch   = 2
)

// withoutEpoch returns what was put of a value of the database.
func withoutEpoch(stored []byte) ([]byte, error) {
	val, _, err := cutEpoch(stored)
	return val, err
}

func cutEpoch(stored []byte) (val []byte, epoch uint32, err error) {
	n := len(stored) - epochBytes
	if n < 0 {
		return nil, 0, errValue
	}
	return stored[:n:n], binary.LittleEndian.Uint32(stored[n:]), nil
}

// valueAt returns the value at an iterator.
func valueAt(it *pebble.Iterator) ([]byte, error) {
	stored, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	return withoutEpoch(stored)
}

// epochProperty is the name of the property of table files.
const epochProperty = "leat.epoch"

// written notes in a table file, as it is finished, the epoch of the backend.
type written struct{ b *Backend }

var _ pebble.BlockPropertyCollector = written{}

func (b *Backend) collector() pebble.BlockPropertyCollector { return written{b} }

// Name implements sstable.BlockPropertyCollector.
func (w written) Name() string { return epochProperty }

// AddPointKey implements sstable.BlockPropertyCollector.
func (w written) AddPointKey(sstable.InternalKey, []byte) error { return nil }

// AddRangeKeys implements sstable.BlockPropertyCollector. There are none.
func (w written) AddRangeKeys(sstable.Span) error { return nil }

// AddCollectedWithSuffixReplacement implements sstable.BlockPropertyCollector.
// Keys have no suffixes that could be replaced.
func (w written) AddCollectedWithSuffixReplacement(_, _, _ []byte) error { return errKey }

// SupportsSuffixReplacement implements sstable.BlockPropertyCollector.
func (w written) SupportsSuffixReplacement() bool { return false }

// FinishDataBlock implements sstable.BlockPropertyCollector.
func (w written) FinishDataBlock(buf []byte) ([]byte, error) { return buf, nil }

// AddPrevDataBlockToIndexBlock implements sstable.BlockPropertyCollector.
func (w written) AddPrevDataBlockToIndexBlock() {}

// FinishIndexBlock implements sstable.BlockPropertyCollector.
func (w written) FinishIndexBlock(buf []byte) ([]byte, error) { return buf, nil }

// FinishTable implements sstable.BlockPropertyCollector.
func (w written) FinishTable(buf []byte) ([]byte, error) {
	return binary.LittleEndian.AppendUint32(buf, w.b.epoch.Load()), nil
}

// since lets pass the table files that were written after an epoch. Blocks
// have no property of their own and pass with their file.
type since uint32

var _ pebble.BlockPropertyFilter = since(0)

// Name implements pebble.BlockPropertyFilter.
func (since) Name() string { return epochProperty }

// Intersects implements pebble.BlockPropertyFilter.
func (s since) Intersects(prop []byte) (bool, error) {
	return len(prop) != epochBytes || binary.LittleEndian.Uint32(prop) > uint32(s), nil
}

// SyntheticSuffixIntersects implements pebble.BlockPropertyFilter.
func (s since) SyntheticSuffixIntersects(prop, _ []byte) (bool, error) { return s.Intersects(prop) }
