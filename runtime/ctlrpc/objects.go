package ctlrpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/dataflow"
	controlv1 "github.com/leatstream/leat/proto/control/v1"
)

// JobPrefix is where a job's objects lie in the object store.
func JobPrefix(job dataflow.JobID) string { return "jobs/" + string(job) + "/" }

// IsURI tells a store's URI ("s3://bucket/key", "mem:key") from a key: it has
// a colon before the first slash.
func IsURI(object string) bool {
	i := strings.IndexAny(object, ":/")
	return i > 0 && object[i] == ':'
}

// URIBase is what a store's URIs have before the key.
func URIBase(objects store.Store) string {
	const probe = "probe"
	return strings.TrimSuffix(objects.URI(probe), probe)
}

// CheckObjectKey refuses keys that could leave the job's prefix or that no
// store takes.
func CheckObjectKey(key string) error {
	if key == "" || len(key) > objectKeyMax {
		return fmt.Errorf("object key of %d bytes: it must have 1 to %d", len(key), objectKeyMax)
	}
	for _, r := range key {
		if r < ' ' || r == '\\' || r == 0x7f {
			return fmt.Errorf("object key %q: character %q is not allowed", key, r)
		}
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return fmt.Errorf("object key %q: segment %q is not allowed", key, segment)
		}
	}
	return nil
}

// place turns a worker's key into one of the store. Absolute URIs are for
// reading the parts of a foreign savepoint that the job starts from.
func (s *TaskManagerServer) place(token, key string, reading bool) (string, error) {
	job, ok := s.host.JobOf(token)
	if !ok {
		return "", status.Error(codes.Unauthenticated, "no worker with this token runs here")
	}
	if IsURI(key) {
		return s.placeForeign(token, key, reading)
	}
	if err := CheckObjectKey(key); err != nil {
		return "", status.Error(codes.InvalidArgument, err.Error())
	}
	return JobPrefix(job) + key, nil
}

func (s *TaskManagerServer) placeForeign(token, uri string, reading bool) (string, error) {
	if !reading || !s.host.MayRead(token, uri) {
		return "", status.Errorf(codes.PermissionDenied, "object %s is outside the job's prefix", uri)
	}
	key, ok := strings.CutPrefix(uri, s.uriBase)
	if !ok || CheckObjectKey(key) != nil {
		return "", status.Errorf(codes.FailedPrecondition, "object %s is not in the cluster's object store %s", uri, s.uriBase)
	}
	return key, nil
}

// PutObject implements the TaskManager service. The object is collected
// first, in memory or in a file, since a store may have to read it again.
func (s *TaskManagerServer) PutObject(stream grpc.ClientStreamingServer[controlv1.PutObjectRequest, controlv1.PutObjectResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	key, err := s.place(first.GetToken(), first.GetKey(), false)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	select {
	case s.puts <- struct{}{}:
		defer func() { <-s.puts }()
	case <-ctx.Done():
		return ctx.Err()
	}
	body, done, err := s.collect(stream, first)
	if err != nil {
		return err
	}
	defer done()
	if err := s.objects.Put(ctx, key, body, first.GetSize()); err != nil {
		return objectStatus(err)
	}
	return stream.SendAndClose(&controlv1.PutObjectResponse{})
}

// collect gathers exactly the announced number of bytes.
func (s *TaskManagerServer) collect(stream grpc.ClientStreamingServer[controlv1.PutObjectRequest, controlv1.PutObjectResponse], first *controlv1.PutObjectRequest) (io.ReadSeeker, func(), error) {
	in := &putReader{stream: stream, rest: first.GetData()}
	size := first.GetSize()
	if size < 0 {
		return nil, nil, status.Errorf(codes.InvalidArgument, "object %q: size %d is negative", first.GetKey(), size)
	}
	if size <= putMemoryMax {
		buf := make([]byte, size)
		if err := readExactly(in, buf); err != nil {
			return nil, nil, status.Errorf(codes.InvalidArgument, "object %q: %v", first.GetKey(), err)
		}
		return bytes.NewReader(buf), func() {}, nil
	}
	f, err := os.CreateTemp(s.spoolDir, "put-*")
	if err != nil {
		return nil, nil, status.Errorf(codes.Unavailable, "object %q: %v", first.GetKey(), err)
	}
	done := func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) } // scratch
	n, err := io.Copy(f, io.LimitReader(in, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes arrived, %d were announced", n, size)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		done()
		return nil, nil, status.Errorf(codes.InvalidArgument, "object %q: %v", first.GetKey(), err)
	}
	return f, done, nil
}

func readExactly(in io.Reader, buf []byte) error {
	if _, err := io.ReadFull(in, buf); err != nil {
		return fmt.Errorf("fewer bytes than the %d announced: %w", len(buf), err)
	}
	var one [1]byte
	if n, _ := in.Read(one[:]); n > 0 {
		return fmt.Errorf("more bytes than the %d announced", len(buf))
	}
	return nil
}

// putReader reads the bytes of a PutObject stream.
type putReader struct {
	stream grpc.ClientStreamingServer[controlv1.PutObjectRequest, controlv1.PutObjectResponse]
	rest   []byte
}

func (r *putReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		m, err := r.stream.Recv()
		if err != nil {
			return 0, err
		}
		r.rest = m.GetData()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// GetObject implements the TaskManager service.
func (s *TaskManagerServer) GetObject(req *controlv1.GetObjectRequest, stream grpc.ServerStreamingServer[controlv1.GetObjectResponse]) error {
	key, err := s.place(req.GetToken(), req.GetKey(), true)
	if err != nil {
		return err
	}
	body, err := s.objects.Get(stream.Context(), key, req.GetOffset(), req.GetLength())
	if err != nil {
		return objectStatus(err)
	}
	defer func() { _ = body.Close() }() // read errors were seen by Read
	// gRPC keeps what it is given until it is written: a buffer for each chunk.
	for {
		buf := make([]byte, ChunkBytes)
		n, err := fill(body, buf)
		if n > 0 {
			if err := stream.Send(&controlv1.GetObjectResponse{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return objectStatus(err)
		}
	}
}

// fill is io.ReadFull that keeps the reader's own error: io.ErrUnexpectedEOF
// from a store means missing bytes, not the end of the object.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// objectStatus keeps the distinction that callers branch on.
func objectStatus(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	default:
		return status.Error(codes.Unavailable, err.Error())
	}
}

// objectError is the inverse of objectStatus, at the worker.
func objectError(key string, err error) error {
	if s, ok := status.FromError(err); ok {
		switch s.Code() {
		case codes.NotFound:
			return fmt.Errorf("object %q: %w", key, store.ErrNotFound)
		case codes.Canceled:
			return fmt.Errorf("object %q: %w", key, context.Canceled)
		default:
			return fmt.Errorf("object %q: %s", key, s.Message())
		}
	}
	return fmt.Errorf("object %q: %w", key, err)
}
