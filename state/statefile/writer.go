package statefile

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/leatstream/leat/state"
)

// Writer writes one file: New, any number of Chunk, Finish. It is used by
// one goroutine and writes to w in few large writes.
type Writer struct {
	w      io.Writer
	n      int64
	chunks uint32
	buf    []byte
}

// NewWriter writes the header.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	wr := &Writer{w: w}
	body := appendHeader(nil, h)
	if len(body) > headerBytesMax {
		return wr, fmt.Errorf("state header of %d bytes, at most %d: fewer tables, shorter schemas or fewer dropped namespaces", len(body), headerBytesMax)
	}
	b := append(wr.buf, magic...)
	version := Version
	if h.Base != 0 {
		version = DeltaVersion
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(version))
	b = append(b, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, body...)
	return wr, wr.write(binary.LittleEndian.AppendUint32(b, checksum(b)))
}

func appendHeader(b []byte, h Header) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Checkpoint))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.MaxParallelism))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Groups.First))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Groups.Last))
	b = binary.AppendUvarint(b, uint64(len(h.Tables)))
	for _, d := range h.Tables {
		b = appendDescriptor(b, d)
	}
	if h.Base == 0 {
		return b
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Base))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Whole.First))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Whole.Last))
	b = binary.AppendUvarint(b, uint64(len(h.Dropped)))
	for _, n := range h.Dropped {
		b = binary.AppendUvarint(b, uint64(n.Table))
		b = binary.LittleEndian.AppendUint64(b, uint64(n.NS))
	}
	return b
}

func appendDescriptor(b []byte, d state.Descriptor) []byte {
	var flags byte
	if d.Sub {
		flags = 1
	}
	b = binary.AppendUvarint(append(b, flags), uint64(d.Fixed))
	b = appendBytes(b, []byte(d.Name))
	return appendBytes(b, []byte(d.Schema))
}

// Chunk writes sections, which are in ascending order of key group, each
// group at most once.
func (w *Writer) Chunk(sections []Section) error {
	b := append(w.buf[:0], tagChunk, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(sections)))
	for _, s := range sections {
		if uint64(len(s.Body)) > math.MaxUint32 {
			return fmt.Errorf("state of key group %d in one chunk is %d bytes, at most 4 GiB", s.Group, len(s.Body))
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(s.Group))
		b = append(b, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s.Body)))
		b = binary.LittleEndian.AppendUint32(b, checksum(s.Body))
	}
	w.buf = binary.LittleEndian.AppendUint32(b, checksum(b))
	if err := w.write(w.buf); err != nil {
		return err
	}
	for _, s := range sections {
		if err := w.write(s.Body); err != nil {
			return err
		}
	}
	w.chunks++
	return nil
}

// Finish writes the end mark. entries is the number of entries in all
// sections, subkeys counted singly, and of deleted keys and subkeys.
func (w *Writer) Finish(entries int64) error {
	b := append(w.buf[:0], tagEnd, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, w.chunks)
	b = binary.LittleEndian.AppendUint64(b, uint64(entries))
	return w.write(binary.LittleEndian.AppendUint32(b, checksum(b)))
}

// Bytes is the number of bytes written so far.
func (w *Writer) Bytes() int64 { return w.n }

func (w *Writer) write(b []byte) error {
	n, err := w.w.Write(b)
	w.n += int64(n)
	if err != nil {
		return fmt.Errorf("write state at byte %d: %w", w.n, err)
	}
	return nil
}
