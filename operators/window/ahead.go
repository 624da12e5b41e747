package window

import "github.com/leatstream/leat/state"

// aheadKeys is how many keys of a scan state is told of before the first of
// them is worked on: many enough for the misses of their reads to overlap, few
// enough for what was read to be in the processor's cache still.
const aheadKeys = 128

// ahead holds some keys of a scan, each with a value. Their bytes are copies,
// so that the tables they come from may change meanwhile.
type ahead[V any] struct {
	keys []state.Key
	vals []V
	buf  []byte
}

func (x *ahead[V]) reset() {
	clear(x.vals)
	x.keys, x.vals, x.buf = x.keys[:0], x.vals[:0], x.buf[:0]
}

// add returns the place for the value of another key, a zero V.
func (x *ahead[V]) add(key []byte) *V {
	at := len(x.buf)
	// A buffer that grows leaves its bytes to the keys before.
	x.buf = append(x.buf, key...)
	x.keys = append(x.keys, keyOf(x.buf[at:len(x.buf):len(x.buf)]))
	var zero V
	x.vals = append(x.vals, zero)
	return &x.vals[len(x.vals)-1]
}

func (x *ahead[V]) full() bool { return len(x.keys) >= aheadKeys }
