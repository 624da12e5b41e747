package statefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/state"
)

// Reader reads one file. It trusts no byte that a checksum has not covered.
// It is used by one goroutine.
type Reader struct {
	r       io.Reader
	pos     int64
	header  Header
	index   []indexEntry // of the current chunk, what is left of it
	chunks  uint32
	entries int64 // announced by the end mark
	body    []byte
	done    bool
}

type indexEntry struct {
	group       dataflow.KeyGroup
	length, crc uint32
}

// NewReader reads the header. r is read in large pieces; when it is an
// io.Seeker, sections that nobody wants are skipped by seeking.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: r}
	var prefix [prefixBytes]byte
	if err := rd.full(prefix[:], "header"); err != nil {
		return nil, err
	}
	if string(prefix[:8]) != magic {
		return nil, corrupt("it begins with %q, not with %q", prefix[:8], magic)
	}
	version := binary.LittleEndian.Uint16(prefix[8:])
	length := binary.LittleEndian.Uint32(prefix[12:])
	if length > headerBytesMax {
		return nil, corrupt("header says it is %d bytes long, at most %d", length, headerBytesMax)
	}
	b, err := rd.block(append([]byte(nil), prefix[:]...), int(length)+4, "header")
	if err != nil {
		return nil, err
	}
	if !sumOK(b) {
		return nil, corrupt("checksum of the header does not match")
	}
	if version != Version && version != DeltaVersion {
		return nil, fmt.Errorf("state file has version %d, this program reads versions %d to %d: use a program of the version that wrote it or a later one", version, Version, DeltaVersion)
	}
	if binary.LittleEndian.Uint16(prefix[10:]) != 0 {
		return nil, corrupt("reserved bytes of the header are not zero")
	}
	rd.header, err = parseHeader(b[prefixBytes:len(b)-4], int(version))
	return rd, err
}

// Header returns what NewReader read.
func (r *Reader) Header() Header { return r.header }

// Entries is the number of entries that the writer announced; it is known
// after Next has returned io.EOF.
func (r *Reader) Entries() int64 { return r.entries }

// Next returns the next section whose key group lies in one of the ranges
// want, io.EOF after the end mark. The body is borrowed until the next call.
func (r *Reader) Next(want ...dataflow.KeyGroupRange) (Section, error) {
	for {
		if len(r.index) == 0 {
			if err := r.nextChunk(); err != nil {
				return Section{}, err
			}
			continue
		}
		e := r.index[0]
		r.index = r.index[1:]
		if !slices.ContainsFunc(want, func(w dataflow.KeyGroupRange) bool { return w.Contains(e.group) }) {
			if err := r.skip(int64(e.length)); err != nil {
				return Section{}, err
			}
			continue
		}
		b, err := r.block(r.body[:0], int(e.length), "section")
		if err != nil {
			return Section{}, err
		}
		r.body = b
		if got := checksum(b); got != e.crc {
			return Section{}, corrupt("checksum of key group %d, %d bytes ending at %d, is %08x, should be %08x", e.group, e.length, r.pos, got, e.crc)
		}
		return Section{Group: e.group, Body: b}, nil
	}
}

// Sizes reads the rest of the file, without the sections, and tells the size of
// each. Next has nothing to return after it.
func (r *Reader) Sizes(tell func(g dataflow.KeyGroup, bytes int64)) error {
	for {
		for _, e := range r.index {
			if err := r.skip(int64(e.length)); err != nil {
				return err
			}
			tell(e.group, int64(e.length))
		}
		r.index = r.index[:0]
		if err := r.nextChunk(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// nextChunk reads a chunk's index, or the end mark.
func (r *Reader) nextChunk() error {
	if r.done {
		return io.EOF
	}
	at := r.pos
	b, err := r.block(nil, chunkBytes, "chunk")
	if err != nil {
		return err
	}
	switch b[0] {
	case tagEnd:
		return r.end(b)
	case tagChunk:
	default:
		return corrupt("byte %d is %#02x, neither a chunk nor the end", at, b[0])
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > sectionCountMax {
		return corrupt("chunk at byte %d says it has %d sections, at most %d", at, n, sectionCountMax)
	}
	if b, err = r.block(b, int(n)*sectionBytes+4, "index of a chunk"); err != nil {
		return err
	}
	if !sumOK(b) {
		return corrupt("checksum of the index of the chunk at byte %d does not match", at)
	}
	r.chunks++
	for e := b[chunkBytes : len(b)-4]; len(e) > 0; e = e[sectionBytes:] {
		r.index = append(r.index, indexEntry{
			group:  dataflow.KeyGroup(binary.LittleEndian.Uint16(e)),
			length: binary.LittleEndian.Uint32(e[4:]),
			crc:    binary.LittleEndian.Uint32(e[8:]),
		})
	}
	return nil
}

func (r *Reader) end(b []byte) error {
	b, err := r.block(b, endBytes-chunkBytes+4, "end mark")
	if err != nil {
		return err
	}
	if !sumOK(b) {
		return corrupt("checksum of the end mark does not match")
	}
	if n := binary.LittleEndian.Uint32(b[4:]); n != r.chunks {
		return corrupt("end mark counts %d chunks, found %d", n, r.chunks)
	}
	r.entries = int64(binary.LittleEndian.Uint64(b[8:]))
	var one [1]byte
	if n, err := io.ReadFull(r.r, one[:]); n != 0 {
		return corrupt("bytes follow the end mark at byte %d", r.pos)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("read state after byte %d: %w", r.pos, err)
	}
	r.done = true
	return io.EOF
}

func (r *Reader) skip(n int64) error {
	if s, ok := r.r.(io.Seeker); ok {
		if _, err := s.Seek(n, io.SeekCurrent); err != nil {
			return fmt.Errorf("skip %d bytes of state at byte %d: %w", n, r.pos, err)
		}
		r.pos += n
		return nil
	}
	m, err := io.CopyN(io.Discard, r.r, n)
	r.pos += m
	return r.readError(err, "section")
}

// block appends the next n bytes to b. It takes memory only as bytes come,
// so that a length that lies costs nothing.
func (r *Reader) block(b []byte, n int, what string) ([]byte, error) {
	const step = 1 << 20
	for n > 0 {
		from, m := len(b), min(n, step)
		if cap(b)-from < m {
			b = append(b, make([]byte, m)...)
		} else {
			b = b[:from+m]
		}
		if err := r.full(b[from:], what); err != nil {
			return nil, err
		}
		n -= m
	}
	return b, nil
}

func (r *Reader) full(b []byte, what string) error {
	n, err := io.ReadFull(r.r, b)
	r.pos += int64(n)
	return r.readError(err, what)
}

func (r *Reader) readError(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return corrupt("it ends at byte %d in the middle of the %s", r.pos, what)
	}
	return fmt.Errorf("read state at byte %d: %w", r.pos, err)
}

// sumOK checks a block that ends with the checksum of what precedes it.
func sumOK(b []byte) bool {
	n := len(b) - 4
	return checksum(b[:n]) == binary.LittleEndian.Uint32(b[n:])
}

func parseHeader(b []byte, version int) (Header, error) {
	c := cursor{b: b}
	h := Header{
		Checkpoint:     dataflow.CheckpointID(c.uint64()),
		MaxParallelism: int(c.uint32()),
		Groups:         dataflow.KeyGroupRange{First: dataflow.KeyGroup(c.uint16()), Last: dataflow.KeyGroup(c.uint16())},
	}
	if !c.bad && (h.MaxParallelism < 1 || h.MaxParallelism > dataflow.MaxParallelismLimit) {
		return h, corrupt("maximum parallelism %d", h.MaxParallelism)
	}
	n := c.uvarint(tableCountMax)
	for range n {
		if c.bad {
			break
		}
		flags := c.bytes(1)
		d := state.Descriptor{Fixed: int(c.uvarint(state.EntryBytesMax - 1))}
		d.Name, d.Schema = string(c.blob()), string(c.blob())
		if !c.bad {
			c.bad = flags[0] > 1
			d.Sub = flags[0] == 1
			h.Tables = append(h.Tables, d)
		}
	}
	if version == DeltaVersion {
		h.parseDelta(&c)
	}
	if c.bad || len(c.b) != 0 {
		return h, corrupt("header does not parse")
	}
	return h, nil
}

// parseDelta reads what only files with a base have.
func (h *Header) parseDelta(c *cursor) {
	h.Base = dataflow.CheckpointID(c.uint64())
	h.Whole = dataflow.KeyGroupRange{First: dataflow.KeyGroup(c.uint16()), Last: dataflow.KeyGroup(c.uint16())}
	c.bad = c.bad || h.Base == 0
	for n := c.uvarint(droppedCountMax); n > 0 && !c.bad; n-- {
		d := Namespace{Table: int(c.uvarint(tableCountMax)), NS: int64(c.uint64())}
		if !c.bad {
			c.bad = d.Table >= len(h.Tables)
			h.Dropped = append(h.Dropped, d)
		}
	}
}
