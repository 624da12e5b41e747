package s3store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/internal/retry"
)

// do tries op with a bound on each try, until it works or fails for good.
func (s *Store) do(ctx context.Context, op func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return retry.Do(ctx, s.clock, s.cfg.Retry, func(ctx context.Context, _ int) error {
		try, cancel := context.WithTimeout(ctx, s.cfg.TryTimeout)
		defer cancel()
		return s.classify(op(try))
	})
}

// classify marks the errors that another try cannot help.
func (s *Store) classify(err error) error {
	if err == nil || retryable(err) {
		return err
	}
	return retry.Permanent(err)
}

// retryable reports whether an error may go away: everything that is not the
// server's considered answer about this request.
func retryable(err error) bool {
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrExists), errors.Is(err, errRange), errors.Is(err, errSource):
		return false
	}
	var resp minio.ErrorResponse
	if !errors.As(err, &resp) {
		return true // the network, a broken body, a time-out
	}
	switch resp.Code {
	case "RequestTimeTooSkewed", "NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NotImplemented",
		"PreconditionFailed", "NoSuchKey", "InvalidArgument", "MethodNotAllowed", "EntityTooLarge", "InvalidRange":
		return false
	case "BadRequest", "NoSuchUpload", "ConditionalRequestConflict", "OperationAborted", "BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody", "RequestTimeout":
		return true
	}
	return resp.StatusCode == 0 || resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusRequestTimeout
}

func (s *Store) pause(ctx context.Context, failures int) error {
	return retry.Wait(ctx, s.clock, s.cfg.Retry.Pause(failures, rand.Float64()))
}

// confirmMissing turns "no such key" into ErrNotFound, once the bucket was
// seen to be there: a wrong bucket or a proxy's 404 must not look like an
// object that does not exist.
func (s *Store) confirmMissing(ctx context.Context, err error) error {
	if err == nil || minio.ToErrorResponse(err).Code != "NoSuchKey" {
		return err
	}
	there, bucketErr := s.client.BucketExists(ctx, s.cfg.Bucket)
	switch {
	case bucketErr != nil:
		var resp minio.ErrorResponse
		if errors.As(bucketErr, &resp) && resp.Code == "AccessDenied" {
			return store.ErrNotFound // the right to list is not needed otherwise
		}
		return fmt.Errorf("the server says that the object does not exist, but not that the bucket does: %w", bucketErr)
	case !there:
		return minio.ErrorResponse{Code: "NoSuchBucket", StatusCode: http.StatusNotFound,
			Message: fmt.Sprintf("bucket %q does not exist: make it, or set another", s.cfg.Bucket)}
	}
	return store.ErrNotFound
}

func ignoreMissing(err error) error {
	if err != nil && minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return nil
	}
	return err
}

func (s *Store) fault(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", op, s.URI(key), err)
}
