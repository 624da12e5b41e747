package bundle

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Executable names the built program for one platform.
type Executable struct {
	OS, Arch string
	Path     string
}

// Write packs executables into a bundle file, atomically, and returns its
// identity. Of m only Engine, Protocol, Name, Main and Go are taken. Equal
// input gives equal bytes.
func Write(path string, m Manifest, programs []Executable) (string, error) {
	m.Format, m.Created, m.Programs = FormatVersion, createdFixed, nil
	programs = slices.Clone(programs)
	slices.SortFunc(programs, func(a, b Executable) int {
		return strings.Compare(a.OS+"/"+a.Arch, b.OS+"/"+b.Arch)
	})
	packed, err := os.CreateTemp(filepath.Dir(path), ".bundle-*")
	if err != nil {
		return "", fmt.Errorf("writing bundle: %w", err)
	}
	defer func() { _ = errors.Join(packed.Close(), os.Remove(packed.Name())) }() // scratch
	var at int64
	for _, e := range programs {
		p, err := pack(packed, e)
		if err != nil {
			return "", err
		}
		p.Offset = at
		at += p.PackedSize
		m.Programs = append(m.Programs, p)
	}
	if err := m.validate(); err != nil {
		return "", fmt.Errorf("writing bundle: %w", err)
	}
	return assemble(path, &m, packed)
}

// pack appends a program as one zstd frame. One encoder thread and a fixed
// level make the bytes a function of the input.
func pack(w io.Writer, e Executable) (Program, error) {
	f, err := os.Open(e.Path)
	if err != nil {
		return Program{}, fmt.Errorf("packing %s/%s: %w", e.OS, e.Arch, err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	sum := sha256.New()
	count := &countingWriter{w: io.MultiWriter(w, sum)}
	enc, err := zstd.NewWriter(count, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return Program{}, fmt.Errorf("packing %s/%s: %w", e.OS, e.Arch, err)
	}
	plain := sha256.New()
	n, err := io.Copy(enc, io.TeeReader(f, plain))
	if err = errors.Join(err, enc.Close()); err != nil {
		return Program{}, fmt.Errorf("packing %s/%s: %w", e.OS, e.Arch, err)
	}
	return Program{
		OS: e.OS, Arch: e.Arch,
		SHA256: hex.EncodeToString(plain.Sum(nil)), Size: n,
		PackedSHA256: hex.EncodeToString(sum.Sum(nil)), PackedSize: count.n,
	}, nil
}

func assemble(path string, m *Manifest, packed io.ReadSeeker) (string, error) {
	header, err := encodeHeader(m)
	if err != nil {
		return "", err
	}
	if _, err := packed.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("writing bundle: %w", err)
	}
	out, err := os.CreateTemp(filepath.Dir(path), ".bundle-*")
	if err != nil {
		return "", fmt.Errorf("writing bundle: %w", err)
	}
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(out, sum), 1<<16)
	_, err = w.Write(header)
	if err == nil {
		_, err = io.Copy(w, packed)
	}
	err = errors.Join(err, w.Flush(), out.Chmod(0o644), out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), path)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("writing bundle: %w", err), os.Remove(out.Name()))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func encodeHeader(m *Manifest) ([]byte, error) {
	manifest, err := m.encode()
	if err != nil {
		return nil, err
	}
	b := append([]byte(magic), make([]byte, 8)...)
	binary.LittleEndian.PutUint16(b[8:], FormatVersion)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(manifest)))
	b = append(b, manifest...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli())), nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
