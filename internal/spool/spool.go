// Package spool holds bytes that are written once and then read: a few in
// memory, many in a file without a name, which goes with its process.
package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// memoryMax is the size up to which the bytes stay in memory.
const memoryMax = 4 << 20

var table = crc32.MakeTable(crc32.Castagnoli)

// Spool is written by one goroutine, then read by any number. It is closed
// once nobody reads it; one that is forgotten is closed by the runtime when it
// is collected, as files are.
type Spool struct {
	dir  string
	mem  []byte
	file *os.File // nil: all is in mem
	size int64
	sum  uint32
}

// New returns an empty spool with its file, if it comes to have one, in dir;
// with an empty dir everything stays in memory.
func New(dir string) *Spool { return &Spool{dir: dir} }

// Write implements io.Writer. Its errors are those of the file.
func (s *Spool) Write(p []byte) (int, error) {
	s.sum = crc32.Update(s.sum, table, p)
	s.size += int64(len(p))
	if s.file == nil && (s.dir == "" || s.size <= memoryMax) {
		s.mem = append(s.mem, p...)
		return len(p), nil
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	n, err := s.file.Write(p)
	if err != nil {
		return n, fmt.Errorf("writing to local disk: %w", err)
	}
	return n, nil
}

func (s *Spool) open() error {
	f, err := os.CreateTemp(s.dir, "spool-*")
	if err != nil {
		return fmt.Errorf("making a file on local disk: %w", err)
	}
	// Without a name, no crash leaves it.
	err = os.Remove(f.Name())
	if err == nil {
		_, err = f.Write(s.mem)
	}
	if err != nil {
		return fmt.Errorf("writing to local disk: %w", errors.Join(err, f.Close()))
	}
	s.file, s.mem = f, nil
	return nil
}

// Size is how many bytes were written.
func (s *Spool) Size() int64 { return s.size }

// Sum is their CRC-32C.
func (s *Spool) Sum() uint32 { return s.sum }

// Bytes returns the bytes when they are in memory, nil when they are not.
func (s *Spool) Bytes() []byte { return s.mem }

// ReadAt implements io.ReaderAt.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	if off >= int64(len(s.mem)) {
		return 0, io.EOF
	}
	n := copy(p, s.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close gives up what the spool holds; it may be called again.
func (s *Spool) Close() error {
	f := s.file
	if s.mem = nil; f == nil {
		return nil
	}
	if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
