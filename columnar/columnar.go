// Package columnar holds the batches in which records travel: typed rows with
// their event times, the erased operations on them that the runtime needs
// (partition, encode, decode), and their ownership rules. It knows nothing of
// channels, watermarks or tasks.
package columnar

import (
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/internal/invariant"
)

// BatchRowsMax is the number of rows at which a batch is sent on.
const BatchRowsMax = 2048

// Batch is a run of records of one type, in order.
//
// Ownership: a batch belongs to whoever holds it; emitting or returning it
// hands it over. The holder may change rows in place unless Shared is set:
// then several consumers hold the same batch and it is read-only for ever.
// Whoever is done with a batch may Release it: then nothing may have kept its
// Rows or Times, though what rows refer to may be kept.
// Strings and byte slices of the rows may alias one arena that lives as long
// as any of them: what is kept beyond the batch (state) must be copied.
type Batch struct {
	// Rows is a []T, T being the row type of the stream. Never nil.
	Rows any
	// Times holds the event time of each row in milliseconds, or
	// dataflow.TimeNone; nil when no row has one.
	Times []int64
	// Origin tells where the rows were read, within a source's chain. Nil
	// after a shuffle.
	Origin *Origin
	// Shared marks a batch that more than one consumer holds.
	Shared bool

	keeper keeper // whose memory this is; nil: the collector's
}

// Origin names the place in the input from which a batch was read.
type Origin struct {
	Split string
	// Positions holds the position (offset, line) of each row in the split;
	// nil when row i is at First+i.
	Positions []int64
	First     int64
}

// At returns the position of row i.
func (o *Origin) At(i int) int64 {
	if o.Positions != nil {
		return o.Positions[i]
	}
	return o.First + int64(i)
}

// Rows returns the typed rows of b. It panics when b holds another type,
// which is a broken graph and never bad input.
func Rows[T any](b *Batch) []T {
	if _, gone := b.Rows.(released); invariant.Enabled && gone {
		panic("columnar: a batch is used after its release")
	}
	return b.Rows.([]T)
}

// NewBatch makes a batch of rows and times (nil, or as long as rows).
func NewBatch[T any](rows []T, times []int64) *Batch { return &Batch{Rows: rows, Times: times} }

// Time returns the event time of row i, dataflow.TimeNone when it has none.
func (b *Batch) Time(i int) int64 {
	if b.Times == nil {
		return dataflow.TimeNone
	}
	return b.Times[i]
}

// RowType is what the runtime must be able to do with rows whose type it does
// not know. TypeOf makes one for a Go type; it is safe for concurrent use.
type RowType interface {
	// Name is the Go type's name, for people.
	Name() string
	// Schema is the canonical text of the fields, part of the graph's
	// fingerprint: equal schemas decode each other's bytes.
	Schema() string
	// Len returns the number of rows in rows, a []T.
	Len(rows any) int
	// Slice returns rows[from:to], sharing memory.
	Slice(rows any, from, to int) any
	// Gather appends row src[i] for each i of idx to dst (a []T or nil) and
	// returns it.
	Gather(dst, src any, idx []int32) any
	// AppendBatch appends the wire form of b (columns, rows and times; the
	// origin does not travel).
	AppendBatch(dst []byte, b *Batch) []byte
	// DecodeBatch reads what AppendBatch wrote. The batch may alias src,
	// which the caller must not reuse. Bad bytes are an error, never a panic.
	DecodeBatch(src []byte) (*Batch, error)
}

// RowPooler is implemented by row types whose batches can be made of the
// memory of released ones, as those of TypeOf.
type RowPooler interface {
	NewPool() BatchPool
}

// KeyHasher computes the hash of the key of each row: codec.HashKey of the
// canonical encoding of the key.
type KeyHasher interface {
	// HashRows appends one hash for each row of rows (a []T) to dst.
	HashRows(dst []uint64, rows any) []uint64
}
