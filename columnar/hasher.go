package columnar

import (
	"unsafe"

	"github.com/leatstream/leat/dataflow/codec"
)

// HasherOf compiles K, the type of the keys that key takes from rows. The
// hasher may be used by any number of goroutines if key may.
func HasherOf[T any, K comparable](key func(T) K) (KeyHasher, error) {
	c, err := codec.Of[K]()
	if err != nil {
		return nil, err
	}
	t := c.Type()
	switch {
	case t.Kind == codec.KindString:
		return &textHasher[T, K]{key: key, schema: c.Schema()}, nil
	case t.Size == 8 && (t.Kind.Signed() || t.Kind.Unsigned()):
		return &wordHasher[T, K]{key: key, signed: t.Kind.Signed(), schema: c.Schema()}, nil
	}
	return &keyHasher[T, K]{key: key, codec: c}, nil
}

// keyHasher serves keys of any type.
type keyHasher[T any, K comparable] struct {
	key   func(T) K
	codec *codec.Codec[K]
}

func (h *keyHasher[T, K]) HashRows(dst []uint64, rows any) []uint64 {
	buf := make([]byte, 0, 128)
	var k K
	for _, row := range rows.([]T) {
		k = h.key(row)
		buf = h.codec.AppendKey(buf[:0], &k)
		dst = append(dst, codec.HashKey(buf))
	}
	return dst
}

// textHasher serves keys whose memory is that of a string: their encoding is
// the string's own bytes.
type textHasher[T any, K comparable] struct {
	key    func(T) K
	schema string
}

func (h *textHasher[T, K]) HashRows(dst []uint64, rows any) []uint64 {
	for _, row := range rows.([]T) {
		k := h.key(row)
		s := *(*string)(unsafe.Pointer(&k))
		dst = append(dst, codec.HashKey(unsafe.Slice(unsafe.StringData(s), len(s))))
	}
	return dst
}

// wordHasher serves keys that are 64-bit integers.
type wordHasher[T any, K comparable] struct {
	key    func(T) K
	signed bool
	schema string
}

func (h *wordHasher[T, K]) HashRows(dst []uint64, rows any) []uint64 {
	flip := uint64(0)
	if h.signed {
		flip = 1 << 63
	}
	for _, row := range rows.([]T) {
		k := h.key(row)
		dst = append(dst, codec.HashKey64(*(*uint64)(unsafe.Pointer(&k))^flip))
	}
	return dst
}

// KeySchema implements KeyDescriber.
func (h *keyHasher[T, K]) KeySchema() string { return h.codec.Schema() }

// KeySchema implements KeyDescriber.
func (h *textHasher[T, K]) KeySchema() string { return h.schema }

// KeySchema implements KeyDescriber.
func (h *wordHasher[T, K]) KeySchema() string { return h.schema }
