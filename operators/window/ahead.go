package window

import "github.com/leatstream/leat/state"

// aheadKeys is how many keys of a scan are worked on together at most: many
// enough for the misses of their reads to overlap, few enough for what was read
// to be in the processor's cache still.
const aheadKeys = 128

// ahead collects entries of a scan for a table that gives them one by one. It
// copies them, since they are borrowed.
type ahead struct {
	keys []state.Key
	vals [][]byte
	buf  []byte
}

func (x *ahead) reset() { x.keys, x.vals, x.buf = x.keys[:0], x.vals[:0], x.buf[:0] }

// add copies an entry; it reports whether there are enough.
func (x *ahead) add(key, val []byte) bool {
	// A buffer that grows leaves its bytes to the entries before.
	from := len(x.buf)
	x.buf = append(x.buf, key...)
	mid := len(x.buf)
	x.buf = append(x.buf, val...)
	x.keys = append(x.keys, keyOf(x.buf[from:mid:mid]))
	x.vals = append(x.vals, x.buf[mid:len(x.buf):len(x.buf)])
	return len(x.keys) >= aheadKeys
}

// scan calls fn with the entries of a namespace, some at a time, until it
// returns an error. They are borrowed until fn returns; it must not use the
// table.
func (x *ahead) scan(t state.Table, ns int64, fn func(keys []state.Key, vals [][]byte) error) (err error) {
	if b, ok := t.(state.BatchScanner); ok {
		b.ScanBatch(ns, func(keys []state.Key, vals [][]byte) bool {
			for len(keys) > aheadKeys && err == nil {
				err = fn(keys[:aheadKeys], vals[:aheadKeys])
				keys, vals = keys[aheadKeys:], vals[aheadKeys:]
			}
			if err == nil {
				err = fn(keys, vals)
			}
			return err == nil
		})
		return err
	}
	x.reset()
	t.Scan(ns, func(key, val []byte) bool {
		if x.add(key, val) {
			err = fn(x.keys, x.vals)
			x.reset()
		}
		return err == nil
	})
	if err == nil && len(x.keys) > 0 {
		err = fn(x.keys, x.vals)
	}
	return err
}
