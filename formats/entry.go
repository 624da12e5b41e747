package formats

import (
	"errors"

	"github.com/leatstream/leat/dataflow/codec"
)

// Entry is a record of a compacted topic: what is known under a key from now
// on.
type Entry[V any] struct {
	// Key is the record's key as text.
	Key string
	// Value is what is known under the key.
	Value V
	// Deleted says that the record has no value (a tombstone): nothing is known
	// any more, and Value is zero.
	Deleted bool
}

// EntryOf returns a maker of decoders of entries whose values, if there are
// any, a decoder of value decodes. A record without a key is an error.
func EntryOf[V any](value func() (Decoder[V], error)) func() (Decoder[Entry[V]], error) {
	return func() (Decoder[Entry[V]], error) {
		d, err := value()
		if err != nil {
			return nil, err
		}
		return &entryDecoder[V]{d}, nil
	}
}

type entryDecoder[V any] struct{ value Decoder[V] }

// Decode implements Decoder.
func (d *entryDecoder[V]) Decode(rec *Record, dst *Entry[V], arena *codec.Arena) error {
	if rec.Key == nil {
		return errors.New("the record has no key: it is no entry of a table")
	}
	*dst = Entry[V]{Key: arena.String(rec.Key), Deleted: rec.Value == nil}
	if dst.Deleted {
		return nil
	}
	return d.value.Decode(rec, &dst.Value, arena)
}

// EntryTo returns a maker of encoders of entries whose values an encoder of
// value encodes. A deleted one has no value: a compacted topic forgets its key.
func EntryTo[V any](value func() (Encoder[V], error)) func() (Encoder[Entry[V]], error) {
	return func() (Encoder[Entry[V]], error) {
		e, err := value()
		if err != nil {
			return nil, err
		}
		return &entryEncoder[V]{e}, nil
	}
}

type entryEncoder[V any] struct{ value Encoder[V] }

// Encode implements Encoder.
func (e *entryEncoder[V]) Encode(v *Entry[V], out *Out) error {
	if v.Deleted {
		out.Tombstone = true
	} else if err := e.value.Encode(&v.Value, out); err != nil {
		return err
	}
	out.Key = append(out.Key[:0], v.Key...)
	return nil
}
