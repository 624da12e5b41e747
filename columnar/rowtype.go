package columnar

import (
	"fmt"
	"reflect"

	"github.com/leatstream/leat/dataflow/codec"
)

// TypeOf compiles T into the operations that the runtime needs. A type that
// cannot be encoded is an error that names the field and what to do.
func TypeOf[T any]() (RowType, error) {
	c, err := codec.Of[T]()
	if err != nil {
		return nil, err
	}
	return &rowType[T]{codec: c}, nil
}

type rowType[T any] struct {
	codec *codec.Codec[T]
	pool  Pool[T] // of what is decoded
}

var (
	_ RowType   = (*rowType[int])(nil)
	_ RowPooler = (*rowType[int])(nil)
)

func (t *rowType[T]) Name() string { return reflect.TypeFor[T]().String() }

func (t *rowType[T]) Schema() string { return t.codec.Schema() }

func (t *rowType[T]) Len(rows any) int { return len(rows.([]T)) }

func (t *rowType[T]) Slice(rows any, from, to int) any { return rows.([]T)[from:to:to] }

func (t *rowType[T]) Gather(dst, src any, idx []int32) any {
	from := src.([]T)
	var old []T
	if dst != nil {
		old = dst.([]T)
	}
	n := len(old)
	var to []T
	if cap(old)-n >= len(idx) {
		to = old[:n+len(idx)]
	} else {
		// Not slices.Grow, which clears fresh memory a second time.
		to = make([]T, n+len(idx), max(n+len(idx), 2*n))
		copy(to, old)
	}
	out := to[n:]
	for i, at := range idx {
		out[i] = from[at]
	}
	return to
}

func (t *rowType[T]) NewPool() BatchPool { return new(Pool[T]) }

func (t *rowType[T]) AppendBatch(dst []byte, b *Batch) []byte {
	rows := b.Rows.([]T)
	return t.codec.AppendColumns(appendHeader(dst, len(rows), b.Times), rows)
}

func (t *rowType[T]) DecodeBatch(src []byte) (*Batch, error) {
	h, src, err := decodeHeader(src)
	if err != nil {
		return nil, fmt.Errorf("columnar: batch of %s: %w", t.Name(), err)
	}
	n, err := t.codec.Rows(src)
	if err != nil {
		return nil, err
	}
	if n != h.rows {
		return nil, fmt.Errorf("columnar: batch of %s: %d rows with %d times: the bytes are damaged", t.Name(), n, h.rows)
	}
	b := t.pool.Take(n, h.form != timesNone)
	if err := t.codec.DecodeColumnsTo(Rows[T](b), src); err != nil {
		b.Release()
		return nil, err
	}
	fillTimes(b.Times, h.times, h.form, h.least)
	return b, nil
}

// KeyDescriber is implemented by key hashers that know the type of their
// keys, as those of HasherOf.
type KeyDescriber interface {
	// KeySchema is the canonical text of the key's type (codec.Codec.Schema).
	KeySchema() string
}
