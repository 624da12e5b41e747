package codec

import "unsafe"

// arenaChunkBytes is the size of the first chunk. The next ones are twice as
// large each up to arenaChunkMax, which what is kept of one may hold on to.
const (
	arenaChunkBytes = 64 << 10
	arenaChunkMax   = 256 << 10
)

// Arena holds the strings and byte slices of one batch: they stay valid as
// long as anything refers to them, and are never moved. One goroutine uses
// it. The zero value is ready.
type Arena struct {
	chunk []byte // len: used, cap: room
}

// Bytes copies b into the arena and returns the copy, of equal length and
// capacity.
func (a *Arena) Bytes(b []byte) []byte {
	if cap(a.chunk)-len(a.chunk) < len(b) {
		a.grow(len(b))
	}
	from := len(a.chunk)
	a.chunk = append(a.chunk, b...)
	return a.chunk[from:len(a.chunk):len(a.chunk)]
}

func (a *Arena) grow(need int) {
	a.chunk = make([]byte, 0, max(arenaChunkBytes, min(2*cap(a.chunk), arenaChunkMax), need))
}

// Padded copies b like Bytes, followed by pad zero bytes that may be read, up
// to the capacity of the copy, until the arena's next use.
func (a *Arena) Padded(b []byte, pad int) []byte {
	need := len(b) + pad
	if cap(a.chunk)-len(a.chunk) < need {
		a.grow(need)
	}
	from := len(a.chunk)
	a.chunk = append(a.chunk, b...)
	to := len(a.chunk)
	clear(a.chunk[to : to+pad])
	return a.chunk[from : to : to+pad]
}

// String copies b into the arena and returns it as a string.
func (a *Arena) String(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	c := a.Bytes(b)
	return unsafe.String(&c[0], len(c))
}
