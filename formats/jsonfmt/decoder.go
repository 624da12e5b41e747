package jsonfmt

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
)

// DecoderOption changes how a Decoder reads.
type DecoderOption func(*decoderConfig)

type decoderConfig struct{ rejectUnknown bool }

// RejectUnknown makes names that T has no field for an error; without it they
// are skipped.
func RejectUnknown() DecoderOption {
	return func(c *decoderConfig) { c.rejectUnknown = true }
}

// Decoder reads a T of the JSON text in a record's value. It learns the order
// in which fields come; one decoder serves one goroutine.
type Decoder[T any] struct {
	root    *node
	run     run
	keeps   bool // what is read may refer to the text
	scratch []byte
}

var _ formats.Decoder[int] = (*Decoder[int])(nil)

// NewDecoder compiles T. A type that cannot be read is an error that names
// the field and what to do.
func NewDecoder[T any](like T, opts ...DecoderOption) (*Decoder[T], error) {
	c, err := codec.Of[T]()
	if err != nil {
		return nil, err
	}
	root, err := plan(c.Type(), reading)
	if err != nil {
		return nil, err
	}
	var cfg decoderConfig
	for _, o := range opts {
		o(&cfg)
	}
	d := &Decoder[T]{root: root, keeps: root.keepsText()}
	d.run.rejectUnknown = cfg.rejectUnknown
	return d, nil
}

// DecoderOf returns what sources ask for: a maker of decoders of rows like
// like, of which only the type matters. Sources call it once for each reader
// and never at graph build; a type that cannot be read is an error then.
func DecoderOf[T any](like T, opts ...DecoderOption) func() (formats.Decoder[T], error) {
	return func() (formats.Decoder[T], error) { return NewDecoder(like, opts...) }
}

// Decode implements formats.Decoder.
func (d *Decoder[T]) Decode(rec *formats.Record, dst *T, arena *codec.Arena) error {
	if rec.Value == nil {
		return errors.New("jsonfmt: the record has no value (a tombstone): filter such records before, or decode them with their key")
	}
	return d.DecodeBytes(rec.Value, dst, arena)
}

// DecodeBytes reads the text src into dst, which must be zero. src is copied
// into the arena, to which the strings of dst refer; a nil arena makes one for
// this text. After an error the content of dst is undefined. The error names
// the byte offset and the field.
func (d *Decoder[T]) DecodeBytes(src []byte, dst *T, arena *codec.Arena) error {
	r := &d.run
	if d.keeps {
		if arena == nil {
			arena = new(codec.Arena)
		}
		r.base = unsafe.Pointer(unsafe.SliceData(arena.Padded(src, padBytes)))
	} else {
		d.scratch = append(append(d.scratch[:0], src...), make([]byte, padBytes)...)
		r.base = unsafe.Pointer(unsafe.SliceData(d.scratch))
	}
	r.n = len(src)
	i := r.space(0)
	if r.at(i) == 'n' && !d.root.nullable() {
		if string(r.text(i, min(r.n, i+len("null")))) == "null" {
			i = r.fail(i, "null where a value is expected")
		} else {
			i = r.unexpected(i, "a value")
		}
	} else {
		i = r.value(d.root, unsafe.Pointer(dst), i)
	}
	if i >= 0 {
		if i = r.space(i); i == r.n {
			return nil
		}
		_ = r.unexpected(i, "the end of the text") // it notes the failure
	}
	return r.failure()
}

func (r *run) failure() error {
	if r.path == "" {
		return fmt.Errorf("jsonfmt: %w", r.err)
	}
	return fmt.Errorf("jsonfmt: field %s: %w", r.path, r.err)
}

// keepsText reports whether values of n may refer to the text.
func (n *node) keepsText() bool {
	switch n.act {
	case actString, actBytes:
		return true
	case actStruct:
		for i := range n.fields {
			if n.fields[i].node.keepsText() {
				return true
			}
		}
	case actMap:
		return n.key.keepsText() || n.elem.keepsText()
	case actArray, actSlice, actPointer:
		return n.elem.keepsText()
	}
	return false
}

// nullable reports whether null is a value of n.
func (n *node) nullable() bool {
	switch n.act {
	case actPointer, actSlice, actMap, actJSON, actBytes:
		return true
	}
	return false
}
