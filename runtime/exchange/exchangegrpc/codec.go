package exchangegrpc

import (
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// message is what travels: buffers on the way out, one slice on the way in.
type message struct {
	out mem.BufferSlice
	in  []byte
}

// rawCodec passes bytes through. It is given to each connection, never
// registered: a registry would be shared with the user's code.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

// Marshal implements encoding.CodecV2: the transport frees the buffers.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("exchange codec: cannot send a %T", v)
	}
	return m.out, nil
}

// Unmarshal implements encoding.CodecV2. The bytes are copied into memory of
// their own: decoded batches alias it for as long as they live, which no pool
// could follow.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("exchange codec: cannot receive a %T", v)
	}
	m.in = fresh(data)
	return nil
}

// fresh copies buffers into new memory. A strings.Builder gives memory that is
// not cleared before it is written, which make does not.
func fresh(data mem.BufferSlice) []byte {
	var b strings.Builder
	b.Grow(data.Len())
	for _, buf := range data {
		b.Write(buf.ReadOnlyData())
	}
	return unsafe.Slice(unsafe.StringData(b.String()), b.Len())
}

// Name implements encoding.CodecV2.
func (rawCodec) Name() string { return "leat-exchange" }

// pooledMax is the capacity above which a buffer is left to the collector.
const pooledMax = 1 << 20

// bufferPool keeps the buffers of encoded batches between uses.
type bufferPool struct{ pool sync.Pool }

var _ mem.BufferPool = (*bufferPool)(nil)

// Get implements mem.BufferPool. The capacity is what the last user left.
func (p *bufferPool) Get(length int) *[]byte {
	b, ok := p.pool.Get().(*[]byte)
	if !ok || cap(*b) < length {
		fresh := make([]byte, length)
		return &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put implements mem.BufferPool.
func (p *bufferPool) Put(b *[]byte) {
	if cap(*b) <= pooledMax {
		p.pool.Put(b)
	}
}

// framePool keeps the memory of received HTTP/2 frames between uses. The pool
// that grpc has clears it for each frame.
type framePool struct{ pool sync.Pool }

var _ mem.BufferPool = (*framePool)(nil)

// frameBytes is the size of the largest frame that grpc sends.
const frameBytes = 16 << 10

// Get implements mem.BufferPool.
func (p *framePool) Get(length int) *[]byte {
	if length > frameBytes {
		large := make([]byte, length)
		return &large
	}
	b, ok := p.pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, frameBytes)
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put implements mem.BufferPool.
func (p *framePool) Put(b *[]byte) {
	if cap(*b) == frameBytes {
		p.pool.Put(b)
	}
}
