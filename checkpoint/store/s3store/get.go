package s3store

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/leatstream/leat/checkpoint/store"
)

// crc64NVME is the polynomial of S3's own checksum, reflected.
const crc64NVME = 0x9a6c9329ac4bc9b5

// errRange marks a range that is not within the object.
var errRange = errors.New("range is not within the object")

// Get implements store.Store. A body that ends early, whatever it says about
// itself, is continued with another request for the same version of the
// object. Whole objects are verified against their stored checksum, if any.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if offset < 0 {
		return nil, s.fault("get", key, fmt.Errorf("%w: offset %d is negative", errRange, offset))
	}
	if length == 0 {
		return s.getNothing(ctx, key, offset)
	}
	r := &reader{s: s, ctx: ctx, key: key, next: offset, end: -1}
	if length > 0 {
		r.end = offset + length
	}
	if err := ctx.Err(); err != nil {
		return nil, s.fault("get", key, err)
	}
	for failures := 1; ; failures++ {
		err := r.open()
		if err == nil {
			return r, nil
		}
		if !retryable(err) || failures >= s.cfg.Retry.AttemptsMax || s.pause(ctx, failures) != nil {
			return nil, s.fault("get", key, errors.Join(err, ctx.Err()))
		}
	}
}

// getNothing only checks that the object reaches to offset: a range of no
// bytes cannot be asked for.
func (s *Store) getNothing(ctx context.Context, key string, offset int64) (io.ReadCloser, error) {
	info, err := s.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	if _, err := store.CheckRange(key, info.Size, offset, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errRange, err)
	}
	return http.NoBody, nil
}

// reader reads the object's bytes from next to end over as many bodies as it
// takes.
type reader struct {
	s    *Store
	ctx  context.Context //nolint:containedctx // of the Get call, which bounds the reading too
	key  string
	next int64 // of the object, to be read next
	end  int64 // of the range; -1 until the object's size is known
	etag string
	// failures counts those since the last byte that came.
	failures int
	body     io.ReadCloser
	// want is the checksum of the whole object and sum that of what was read;
	// sum is nil when there is none to verify.
	want []byte
	sum  hash.Hash
}

// open asks for the bytes from next to end.
func (r *reader) open() error {
	var opts minio.GetObjectOptions
	whole := r.next == 0 && r.end < 0
	opts.Checksum = whole && r.s.cfg.Checksums == ChecksumsVerify
	if err := r.setRange(&opts, whole); err != nil {
		return err
	}
	if r.etag != "" {
		if err := opts.SetMatchETag(r.etag); err != nil {
			return err
		}
	}
	body, info, header, err := r.s.core.GetObject(r.ctx, r.s.cfg.Bucket, r.s.prefix+r.key, opts)
	if err != nil {
		return r.judge(err)
	}
	size, err := sizeOf(info, header)
	if err == nil {
		err = r.checkSize(size)
	}
	if err == nil && whole {
		err = r.expectChecksum(info)
	}
	if err != nil {
		return errors.Join(err, body.Close())
	}
	r.body, r.etag = body, info.ETag
	return nil
}

func (r *reader) setRange(opts *minio.GetObjectOptions, whole bool) error {
	switch {
	case whole:
		return nil
	case r.end < 0:
		return opts.SetRange(r.next, 0) // to the end
	default:
		return opts.SetRange(r.next, r.end-1)
	}
}

// judge sorts out the errors of a GET. A range that starts at or after the end
// is refused by the server: at the end it is just empty.
func (r *reader) judge(err error) error {
	resp := minio.ToErrorResponse(err)
	if resp.Code != "InvalidRange" && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return r.s.confirmMissing(r.ctx, err)
	}
	info, statErr := r.s.Stat(r.ctx, r.key)
	if statErr != nil {
		return statErr
	}
	length := int64(-1)
	if r.end >= 0 {
		length = r.end - r.next
	}
	if _, err := store.CheckRange(r.key, info.Size, r.next, length); err != nil {
		return fmt.Errorf("%w: %w", errRange, err)
	}
	r.body, r.end = http.NoBody, r.next
	return nil
}

// sizeOf returns the size of the whole object.
func sizeOf(info minio.ObjectInfo, header http.Header) (int64, error) {
	cr := header.Get("Content-Range")
	if cr == "" {
		return info.Size, nil
	}
	_, total, found := strings.Cut(cr, "/")
	n, err := strconv.ParseInt(total, 10, 64)
	if !found || err != nil {
		return 0, fmt.Errorf("the server's Content-Range %q cannot be read", cr)
	}
	return n, nil
}

// expectChecksum remembers the checksum of a whole object, if the server
// knows one: of an object in parts it may only know one over the parts'.
func (r *reader) expectChecksum(info minio.ObjectInfo) error {
	var stored string
	switch {
	case info.ChecksumMode == "COMPOSITE":
		return nil
	case info.ChecksumCRC32C != "":
		stored, r.sum = info.ChecksumCRC32C, crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case info.ChecksumCRC64NVME != "": // what S3 computes itself
		stored, r.sum = info.ChecksumCRC64NVME, crc64.New(crc64.MakeTable(crc64NVME))
	default:
		return nil
	}
	want, err := base64.StdEncoding.DecodeString(stored)
	if err != nil || len(want) != r.sum.Size() {
		return fmt.Errorf("the server's checksum %q cannot be read", stored)
	}
	r.want = want
	return nil
}

func (r *reader) checkSize(size int64) error {
	if r.end < 0 {
		r.end = size
		return nil
	}
	if _, err := store.CheckRange(r.key, size, r.next, r.end-r.next); err != nil {
		return fmt.Errorf("%w: %w", errRange, err)
	}
	return nil
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.next == r.end {
			return 0, r.finish()
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.next)])
		r.next += int64(n)
		if n > 0 {
			if r.sum != nil {
				_, _ = r.sum.Write(p[:n]) // never fails
			}
			r.failures = 0
			return n, nil // an error comes again with the next read
		}
		if err == nil {
			continue
		}
		if err := r.resume(err); err != nil {
			return 0, r.s.fault("get", r.key, err)
		}
	}
}

// finish says that all bytes have come, or that they are not what was stored.
func (r *reader) finish() error {
	if r.sum != nil && !bytes.Equal(r.sum.Sum(nil), r.want) {
		return r.s.fault("get", r.key, fmt.Errorf("checksum of the %d bytes is %x, stored is %x", r.end, r.sum.Sum(nil), r.want))
	}
	// All bytes are here; the end of the body only frees the connection.
	_, _ = r.body.Read(make([]byte, 1))
	return io.EOF
}

// resume opens another body after a failure, of the same ETag.
func (r *reader) resume(cause error) error {
	for {
		if errors.Is(cause, io.EOF) {
			cause = io.ErrUnexpectedEOF
		}
		r.failures++
		if r.ctx.Err() != nil || !retryable(cause) || r.failures >= r.s.cfg.Retry.AttemptsMax {
			return errors.Join(fmt.Errorf("%d bytes are missing at %d: %w", r.end-r.next, r.next, cause), r.ctx.Err())
		}
		// What is wrong with the old body is known already.
		_ = r.body.Close()
		if err := r.s.pause(r.ctx, r.failures); err != nil {
			return errors.Join(cause, err)
		}
		if cause = r.open(); cause == nil {
			return nil
		}
	}
}

func (r *reader) Close() error { return r.body.Close() }
