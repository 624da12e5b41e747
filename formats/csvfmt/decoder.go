package csvfmt

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
)

// Decoder reads a T of a record's value. One decoder serves one goroutine.
type Decoder[T any] struct {
	cfg     config
	columns []column
	// order holds the index in columns of each column of the file, -1 for one
	// that is skipped; nil until the header is known.
	order []int
	cells []cell
	own   codec.Arena // of texts that came without an arena
}

var (
	_ formats.Decoder[struct{ A int }] = (*Decoder[struct{ A int }])(nil)
	_ formats.HeaderDecoder            = (*Decoder[struct{ A int }])(nil)
	_ formats.LineJoiner               = (*Decoder[struct{ A int }])(nil)
)

// NewDecoder compiles T. A type that cannot be read is an error that names
// the field and what to do.
func NewDecoder[T any](like T, opts ...Option) (*Decoder[T], error) {
	cfg, columns, err := compile[T](opts)
	if err != nil {
		return nil, err
	}
	d := &Decoder[T]{cfg: cfg, columns: columns}
	if cfg.noHeader {
		for i := range columns {
			d.order = append(d.order, i)
		}
	}
	return d, nil
}

func compile[T any](opts []Option) (config, []column, error) {
	cfg, faults := configOf(opts)
	c, err := codec.Of[T]()
	if err != nil {
		return cfg, nil, errors.Join(faults, err)
	}
	columns, err := plan(c.Type())
	return cfg, columns, errors.Join(faults, err)
}

// DecoderOf returns what sources ask for: a maker of decoders of rows like
// like, of which only the type matters.
func DecoderOf[T any](like T, opts ...Option) func() (formats.Decoder[T], error) {
	return func() (formats.Decoder[T], error) {
		d, err := NewDecoder(like, opts...)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
}

// HasHeader implements formats.HeaderDecoder.
func (d *Decoder[T]) HasHeader() bool { return !d.cfg.noHeader }

// ReadHeader implements formats.HeaderDecoder.
func (d *Decoder[T]) ReadHeader(line []byte) error {
	cells, err := d.cfg.split(bytes.Clone(line), nil)
	if err != nil {
		return fmt.Errorf("csvfmt: header: %w", err)
	}
	order, seen := make([]int, 0, len(cells)), make([]bool, len(d.columns))
	var errs []error
	for _, c := range cells {
		name := string(c.text)
		k := slices.IndexFunc(d.columns, func(c column) bool { return c.name == name })
		switch {
		case k < 0 && d.cfg.rejectUnknown:
			errs = append(errs, fmt.Errorf("column %q is unknown", name))
		case k >= 0 && seen[k]:
			errs = append(errs, fmt.Errorf("column %q occurs twice", name))
		case k >= 0:
			seen[k] = true
		}
		order = append(order, k)
	}
	for i := range d.columns {
		if c := &d.columns[i]; !seen[i] && !c.nullable() {
			errs = append(errs, fmt.Errorf("there is no column %q: make the field a pointer, or give its json tag the option omitzero, if it may be missing", c.name))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("csvfmt: header %.200q: %w", line, errors.Join(errs...))
	}
	d.order = order
	return nil
}

// JoinsLines implements formats.LineJoiner.
func (d *Decoder[T]) JoinsLines() bool { return d.cfg.quotedLines }

// GoesOn implements formats.LineJoiner.
func (d *Decoder[T]) GoesOn(line []byte, before bool) bool { return d.cfg.goesOn(line, before) }

// Decode implements formats.Decoder.
func (d *Decoder[T]) Decode(rec *formats.Record, dst *T, arena *codec.Arena) error {
	if rec.Value == nil {
		return errors.New("csvfmt: the record has no value (a tombstone): filter such records before, or decode them with their key")
	}
	return d.DecodeBytes(rec.Value, dst, arena)
}

// DecodeBytes reads the record src, without a line feed at its end, into dst,
// which must be zero. src is copied into the arena, to which the strings of
// dst refer; nil takes one of the decoder's. After an error the content of dst
// is undefined.
func (d *Decoder[T]) DecodeBytes(src []byte, dst *T, arena *codec.Arena) error {
	if d.order == nil {
		return errors.New("csvfmt: the order of columns is not known, since there was no header line: use NoHeader for records that have none")
	}
	if arena == nil {
		arena = &d.own
	}
	var err error
	if d.cells, err = d.cfg.split(arena.Bytes(src), d.cells[:0]); err != nil {
		return err
	}
	if len(d.cells) != len(d.order) {
		return fmt.Errorf("csvfmt: the record has %d fields, and %d columns are expected", len(d.cells), len(d.order))
	}
	for i, k := range d.order {
		if k < 0 {
			continue
		}
		c := &d.columns[k]
		if err := d.cfg.read(c, &d.cells[i], unsafe.Add(unsafe.Pointer(dst), c.off)); err != nil {
			return &fieldError{column: c.name, err: err}
		}
	}
	return nil
}
