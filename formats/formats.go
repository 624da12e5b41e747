// Package formats is the contract of record formats: how the bytes of one
// record become a typed value and back. Formats are in its sub-packages. It
// knows nothing of where the bytes come from.
package formats

import "github.com/leatstream/leat/dataflow/codec"

// Header is one header of a record.
type Header struct {
	// Key is the name of the header, which may come more than once.
	Key string
	// Value is nil when the header has none.
	Value []byte
}

// Record is one record as a source read it. All slices are borrowed until
// the next record.
type Record struct {
	Key, Value []byte // nil means absent (a tombstone has a nil Value)
	// Headers are in the order of the record.
	Headers []Header
	// Timestamp is in milliseconds since the epoch, dataflow.TimeNone without.
	Timestamp int64
	// Topic is where the record was read: the file, for files.
	Topic string
	// Partition is that of the topic; 0 for files.
	Partition int32
	// Offset is the place in the partition: the byte, for files.
	Offset int64
}

// Decoder makes a T of a record. dst is zero when Decode is called; what it
// keeps of rec is copied into arena, which lives as long as the batch. An
// error rejects this record only. One decoder serves one goroutine.
type Decoder[T any] interface {
	// Decode reads rec into dst.
	Decode(rec *Record, dst *T, arena *codec.Arena) error
}

// Out is a record to be written. A format appends to the slices it is given,
// so that a writer can reuse their memory.
type Out struct {
	// Key and Value begin empty; the encoder appends to them.
	Key, Value []byte
	// Headers begin empty, too.
	Headers []Header
	// Topic overrides the sink's topic when not empty.
	Topic string
	// Timestamp in milliseconds; dataflow.TimeNone: the row's event time.
	Timestamp int64
	// Tombstone makes the value null; KeyNull the key.
	Tombstone, KeyNull bool
}

// Encoder makes the bytes of a record of a T. One encoder serves one
// goroutine. An error rejects this record only.
type Encoder[T any] interface {
	// Encode appends the record of v to out, and keeps nothing of v.
	Encode(v *T, out *Out) error
}

// WithKey returns a maker of encoders that write what those of enc write, under
// a key: what key appends to dst.
func WithKey[T any](enc func() (Encoder[T], error), key func(dst []byte, v *T) []byte) func() (Encoder[T], error) {
	return func() (Encoder[T], error) {
		e, err := enc()
		if err != nil {
			return nil, err
		}
		return &keyed[T]{e, key}, nil
	}
}

// keyed encodes with a key.
type keyed[T any] struct {
	value Encoder[T]
	key   func(dst []byte, v *T) []byte
}

// Encode implements Encoder.
func (k *keyed[T]) Encode(v *T, out *Out) error {
	if err := k.value.Encode(v, out); err != nil {
		return err
	}
	out.Key = k.key(out.Key[:0], v)
	return nil
}
