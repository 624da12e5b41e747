// Package columnar holds the batches in which records travel: typed rows with
// their event times, the erased operations on them that the runtime needs
// (partition, encode, decode), and their ownership rules. It knows nothing of
// channels, watermarks or tasks.
package columnar

import "github.com/leatstream/leat/dataflow"

// BatchRowsMax is the number of rows at which a batch is sent on.
const BatchRowsMax = 2048

// Batch is a run of records of one type, in order.
//
// Ownership: a batch belongs to whoever holds it; emitting or returning it
// hands it over. The holder may change rows in place unless Shared is set:
// then several consumers hold the same batch and it is read-only for ever.
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
func Rows[T any](b *Batch) []T { return b.Rows.([]T) }

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
// not know. TypeOf makes one for a Go type; it is stateless and safe for
// concurrent use.
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

// RowBuffers is implemented by row types whose slices can be made ahead and
// used again, as those of TypeOf.
type RowBuffers interface {
	// MakeRows returns an empty slice with room for n rows.
	MakeRows(n int) any
	// ReuseRows returns rows emptied, with its room. What the rows refer to
	// stays referred to until they are overwritten.
	ReuseRows(rows any) any
}

// RowScatterer is implemented by row types that can lay rows side by side by
// target in one pass, as those of TypeOf.
type RowScatterer interface {
	// Scatter returns a fresh slice of the rows of src (a []T): row i lies at
	// place at[to[i]], which is then raised by one. With at[t] where the rows
	// of target t are to begin, they follow each other there, in order.
	Scatter(src any, to, at []int32) any
}

// KeyHasher computes the hash of the key of each row: codec.HashKey of the
// canonical encoding of the key.
type KeyHasher interface {
	// HashRows appends one hash for each row of rows (a []T) to dst.
	HashRows(dst []uint64, rows any) []uint64
}
