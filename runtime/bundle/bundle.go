// Package bundle is the form in which a job is submitted: one file with a
// manifest and the job's own executable for each platform, named by the
// SHA-256 of its bytes. It builds, checks, stores and extracts bundles; it
// never runs what is in them.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// The header, little-endian: magic, u16 version, u16 reserved, u32 length of
// the manifest, the manifest, u32 CRC-32C of all before.
const (
	magic      = "LEATBNDL"
	fixedBytes = len(magic) + 8
	crcBytes   = 4
)

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// Bundle is an open bundle file. It is safe for concurrent use.
type Bundle struct {
	Manifest Manifest
	// Size is that of the whole file.
	Size int64

	where   string
	src     io.ReaderAt
	closer  io.Closer
	payload int64 // offset of the first program
}

// Open reads and checks the header of a bundle file; the programs' bytes are
// checked when they are read (Extract, Verify). Errors are *jobview.Error.
func Open(path string) (*Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening bundle: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b, err := Read(f, st.Size(), path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b.closer = f
	return b, nil
}

// Read is Open for bytes that lie elsewhere; where names them in errors. The
// source stays the caller's.
func Read(src io.ReaderAt, size int64, where string) (*Bundle, error) {
	b := &Bundle{Size: size, where: where, src: src}
	raw, err := b.readHeader()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &b.Manifest); err != nil {
		return nil, errDamaged(where, "manifest: "+err.Error())
	}
	if err := b.Manifest.validate(); err != nil {
		return nil, errDamaged(where, "manifest: "+err.Error())
	}
	if want := b.payload + b.Manifest.payloadSize(); size != want {
		return nil, errTruncated(where, size, want)
	}
	return b, nil
}

// readHeader returns the manifest's bytes and sets b.payload.
func (b *Bundle) readHeader() ([]byte, error) {
	fixed := make([]byte, fixedBytes)
	n, err := b.src.ReadAt(fixed, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading bundle %s: %w", b.where, err)
	}
	if !bytes.HasPrefix(fixed[:n], []byte(magic)[:min(n, len(magic))]) || n == 0 {
		return nil, errNotABundle(b.where)
	}
	if n < fixedBytes {
		return nil, errTruncated(b.where, b.Size, int64(fixedBytes))
	}
	version := int(binary.LittleEndian.Uint16(fixed[8:]))
	if version != FormatVersion {
		return nil, errFormat(b.where, version)
	}
	length := int64(binary.LittleEndian.Uint32(fixed[12:]))
	if length > ManifestMax {
		return nil, errDamaged(b.where, fmt.Sprintf("manifest of %d bytes, at most %d are allowed", length, ManifestMax))
	}
	b.payload = int64(fixedBytes) + length + crcBytes
	if b.Size < b.payload {
		return nil, errTruncated(b.where, b.Size, b.payload)
	}
	rest := make([]byte, length+crcBytes)
	if _, err := b.src.ReadAt(rest, int64(fixedBytes)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading bundle %s: %w", b.where, err)
	}
	sum := crc32.Update(crc32.Checksum(fixed, castagnoli()), castagnoli(), rest[:length])
	if sum != binary.LittleEndian.Uint32(rest[length:]) {
		return nil, errDamaged(b.where, "the manifest's checksum does not match")
	}
	return rest[:length], nil
}

// Close closes the file that Open opened.
func (b *Bundle) Close() error {
	if b.closer == nil {
		return nil
	}
	return b.closer.Close()
}

// Inspect returns the manifest of a bundle file after checking its header.
func Inspect(path string) (Manifest, error) {
	b, err := Open(path)
	if err != nil {
		return Manifest{}, err
	}
	return b.Manifest, b.Close()
}

// Verify reads a whole bundle file, checks every sum, and returns its
// manifest and identity.
func Verify(path string) (Manifest, string, error) {
	b, err := Open(path)
	if err != nil {
		return Manifest{}, "", err
	}
	defer func() { _ = b.Close() }() // opened for reading only
	for _, p := range b.Manifest.Programs {
		if err := b.unpack(p, io.Discard); err != nil {
			return Manifest{}, "", err
		}
	}
	sha, err := Identity(path)
	return b.Manifest, sha, err
}

// Identity returns the SHA-256 of a file in hexadecimal: a bundle's name.
func Identity(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("opening bundle: %w", err)
	}
	defer func() { _ = f.Close() }() // opened for reading only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading bundle %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Extract writes the platform's executable to dst, atomically: dst appears
// whole, checked and executable, or not at all.
func (b *Bundle) Extract(platform, dst string) error {
	p, err := b.Manifest.Program(platform)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(dst), ".extract-*")
	if err != nil {
		return fmt.Errorf("extracting bundle: %w", err)
	}
	err = b.unpack(p, tmp)
	err = errors.Join(err, tmp.Chmod(0o555), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), dst)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// unpack writes a program's executable to w and checks both sums and sizes.
func (b *Bundle) unpack(p Program, w io.Writer) error {
	packed := sha256.New()
	section := io.NewSectionReader(b.src, b.payload+p.Offset, p.PackedSize)
	in := io.TeeReader(section, packed)
	dec, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("unpacking bundle: %w", err)
	}
	defer dec.Close()
	plain := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, plain), io.LimitReader(dec, p.Size+1))
	if err != nil {
		return b.unpackError(p, err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return b.unpackError(p, err)
	}
	switch {
	case n != p.Size:
		return errDamaged(b.where, fmt.Sprintf("the %s program does not have the %d bytes of the manifest", p.Platform(), p.Size))
	case hex.EncodeToString(packed.Sum(nil)) != p.PackedSHA256, hex.EncodeToString(plain.Sum(nil)) != p.SHA256:
		return errDamaged(b.where, fmt.Sprintf("the SHA-256 of the %s program does not match the manifest", p.Platform()))
	}
	return nil
}

// unpackError tells damage from trouble with the disk on either side.
func (b *Bundle) unpackError(p Program, err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("unpacking the %s program of bundle %s: %w", p.Platform(), b.where, err)
	}
	return errDamaged(b.where, fmt.Sprintf("the %s program cannot be unpacked: %v", p.Platform(), err))
}
