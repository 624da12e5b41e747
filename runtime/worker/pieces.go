package worker

import (
	"errors"
	"fmt"
	"io"
	"sort"
)

// piece is a part of an object.
type piece struct {
	r    io.ReaderAt
	size int64
}

// pieces reads parts one after another, without copying them into one.
type pieces struct {
	parts []piece
	ends  []int64 // offset after each part
	at    int64
}

var _ io.ReadSeeker = (*pieces)(nil)

func newPieces(parts []piece) *pieces {
	p := &pieces{parts: parts}
	var n int64
	for _, b := range parts {
		n += b.size
		p.ends = append(p.ends, n)
	}
	return p
}

// Size is the number of bytes in all.
func (p *pieces) Size() int64 {
	if len(p.ends) == 0 {
		return 0
	}
	return p.ends[len(p.ends)-1]
}

// Read implements io.Reader.
func (p *pieces) Read(b []byte) (int, error) {
	if p.at >= p.Size() {
		return 0, io.EOF
	}
	i := sort.Search(len(p.ends), func(i int) bool { return p.ends[i] > p.at })
	n := 0
	for ; i < len(p.parts) && n < len(b); i++ {
		from := p.parts[i].size - (p.ends[i] - p.at)
		want := int(min(p.parts[i].size-from, int64(len(b)-n)))
		k, err := p.parts[i].r.ReadAt(b[n:n+want], from)
		n += k
		p.at += int64(k)
		if k < want {
			return n, fmt.Errorf("reading what was to be uploaded: %w", err)
		}
	}
	return n, nil
}

// Seek implements io.Seeker.
func (p *pieces) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.Size()
	default:
		return 0, fmt.Errorf("seek from %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	p.at = offset
	return offset, nil
}
