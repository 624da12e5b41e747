package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/leatstream/leat/checkpoint/store/s3store"
	"github.com/leatstream/leat/internal/clock"
)

// Beside runs another cluster on the same servers, with its objects in a bucket
// of its own. It is closed before this one.
func (r *Rig) Beside(ctx context.Context, bucket string, taskManagers int) (_ *Rig, err error) {
	o := &Rig{
		cfg: r.cfg, dir: r.dir, etcdURL: r.etcdURL, s3URL: r.s3URL, brokers: r.brokers, Trace: r.Trace,
		prefix: bucket + "-", bucket: bucket, beside: true,
	}
	o.cfg.TaskManagers = taskManagers
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Close())
		}
	}()
	if o.sockets, err = os.MkdirTemp("", "le"); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(r.dir, "s3", bucket), 0o755); err != nil {
		return nil, err
	}
	return o, o.startCluster(ctx)
}

// objects opens a bucket of the S3 server.
func (r *Rig) objects(bucket string) (*s3store.Store, error) {
	return s3store.New(s3store.Config{Endpoint: r.s3URL, Bucket: bucket, Region: "us-east-1", PathStyle: true, AccessKey: accessKey, SecretKey: secretKey}, clock.Real{})
}

// CopyObjects copies all objects under one URI to another, as people do with
// the tools of their storage, and returns how many.
func (r *Rig) CopyObjects(ctx context.Context, from, to string) (n int, err error) {
	fromBucket, fromPrefix, _ := strings.Cut(strings.TrimPrefix(from, "s3://"), "/")
	toBucket, toPrefix, _ := strings.Cut(strings.TrimPrefix(to, "s3://"), "/")
	source, err := r.objects(fromBucket)
	if err != nil {
		return 0, err
	}
	target, err := r.objects(toBucket)
	if err != nil {
		return 0, err
	}
	for info, err := range source.List(ctx, fromPrefix) {
		if err != nil {
			return n, err
		}
		body, err := source.Get(ctx, info.Key, 0, -1)
		if err != nil {
			return n, err
		}
		b, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			return n, err
		}
		if err := target.Put(ctx, toPrefix+strings.TrimPrefix(info.Key, fromPrefix), bytes.NewReader(b), int64(len(b))); err != nil {
			return n, err
		}
		n++
	}
	if n == 0 {
		return 0, fmt.Errorf("there is nothing under %s", from)
	}
	return n, nil
}
