// Package manifest reads and writes the manifest of a checkpoint or savepoint,
// the one object that names everything else it consists of. The format is in
// docs/formats/manifest.md. What may be deleted is decided in
// checkpoint/retention, not here.
package manifest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"

	"google.golang.org/protobuf/proto"

	"github.com/leatstream/leat/checkpoint/store"
	checkpointv1 "github.com/leatstream/leat/proto/checkpoint/v1"
)

const (
	// Version is the one that Encode writes.
	Version = 1
	// BodyMax bounds a manifest: 100,000 handles have about 15 MB.
	BodyMax = 256 << 20

	headerSize  = 32
	headerCheck = 24 // the header's own checksum covers the bytes before it
	magic       = "LEATMNFT"
)

// ErrVersion says that the manifest is whole but of a version that this
// program does not read.
var ErrVersion = errors.New("manifest has a newer format")

// CorruptError says that a manifest is not as it was written.
type CorruptError struct {
	Key    string
	Offset int64 // of the first byte known to be wrong or missing
	What   string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("manifest %q is corrupt at byte %d: %s", e.Key, e.Offset, e.What)
}

// Encode returns the stored form of m as it is to lie under key. Object keys
// of m are relative to the store's root; those under key's directory are
// written relative to it, so that the directory can be moved. A savepoint with
// an object elsewhere is refused. m is not changed.
func Encode(key string, m *checkpointv1.Manifest) ([]byte, error) {
	if err := Validate(m); err != nil {
		return nil, fmt.Errorf("encode manifest %q: %w", key, err)
	}
	stored := proto.CloneOf(m)
	dir := dirOf(key)
	if err := mapKeys(stored, func(k string) (string, error) { return relative(dir, k, m.GetKind()) }); err != nil {
		return nil, fmt.Errorf("encode manifest %q: %w", key, err)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(make([]byte, headerSize), stored)
	if err != nil {
		return nil, fmt.Errorf("encode manifest %q: %w", key, err)
	}
	if len(data)-headerSize > BodyMax {
		return nil, fmt.Errorf("encode manifest %q: %d bytes, more than %d", key, len(data)-headerSize, BodyMax)
	}
	putHeader(data)
	return data, nil
}

func putHeader(data []byte) {
	body := data[headerSize:]
	copy(data, magic)
	binary.LittleEndian.PutUint32(data[8:], Version)
	binary.LittleEndian.PutUint32(data[12:], 0)
	binary.LittleEndian.PutUint64(data[16:], uint64(len(body)))
	binary.LittleEndian.PutUint32(data[headerCheck:], checksum(data[:headerCheck]))
	binary.LittleEndian.PutUint32(data[28:], checksum(body))
}

// Decode reads what Encode wrote. Object keys of the result are relative to
// the store's root. Errors are *CorruptError, or wrap ErrVersion.
func Decode(key string, data []byte) (*checkpointv1.Manifest, error) {
	body, err := openFrame(key, data)
	if err != nil {
		return nil, err
	}
	m := &checkpointv1.Manifest{}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, &CorruptError{Key: key, Offset: headerSize, What: fmt.Sprintf("body: %v", err)}
	}
	dir := dirOf(key)
	if err := mapKeys(m, func(k string) (string, error) { return absolute(dir, k) }); err != nil {
		return nil, &CorruptError{Key: key, Offset: headerSize, What: err.Error()}
	}
	if err := Validate(m); err != nil {
		return nil, &CorruptError{Key: key, Offset: headerSize, What: err.Error()}
	}
	return m, nil
}

func openFrame(key string, data []byte) ([]byte, error) {
	bad := func(offset int, format string, args ...any) error {
		return &CorruptError{Key: key, Offset: int64(offset), What: fmt.Sprintf(format, args...)}
	}
	if len(data) < headerSize {
		return nil, bad(len(data), "it ends within the header of %d bytes", headerSize)
	}
	if string(data[:8]) != magic {
		return nil, bad(0, "it starts with %q, not %q: this is no manifest", data[:8], magic)
	}
	if got, want := checksum(data[:headerCheck]), binary.LittleEndian.Uint32(data[headerCheck:]); got != want {
		return nil, bad(8, "checksum of the header is %08x, not %08x", got, want)
	}
	version := binary.LittleEndian.Uint32(data[8:])
	if version != Version {
		return nil, fmt.Errorf("manifest %q has version %d, this program reads version %d: %w", key, version, Version, ErrVersion)
	}
	length := binary.LittleEndian.Uint64(data[16:])
	body := data[headerSize:]
	if uint64(len(body)) < length {
		return nil, bad(len(data), "it ends here, %d bytes are missing", length-uint64(len(body)))
	}
	if uint64(len(body)) > length {
		return nil, bad(headerSize+int(length), "%d bytes follow the body", uint64(len(body))-length)
	}
	if got, want := checksum(body), binary.LittleEndian.Uint32(data[28:]); got != want {
		return nil, bad(headerSize, "checksum of the %d bytes of the body is %08x, not %08x", length, got, want)
	}
	return body, nil
}

// Write encodes m and writes it under key, which must be absent: it wraps
// store.ErrExists if another manifest is there. It returns the bytes written.
func Write(ctx context.Context, s store.Store, key string, m *checkpointv1.Manifest) (int64, error) {
	data, err := Encode(key, m)
	if err != nil {
		return 0, err
	}
	if err := s.PutIfAbsent(ctx, key, data); err != nil {
		return 0, fmt.Errorf("write manifest: %w", err)
	}
	return int64(len(data)), nil
}

// Read reads the manifest under key. It wraps store.ErrNotFound when there is
// none; any other error that is neither a *CorruptError nor ErrVersion says
// that the store could not answer, and nothing about the manifest.
func Read(ctx context.Context, s store.Store, key string) (_ *checkpointv1.Manifest, err error) {
	r, err := s.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	data, err := io.ReadAll(io.LimitReader(r, headerSize+BodyMax+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest %q: %w", s.URI(key), err)
	}
	return Decode(key, data)
}

func dirOf(key string) string {
	if d := path.Dir(key); d != "." {
		return d + "/"
	}
	return ""
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
