package depot

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/minio/minio-go/v7"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/internal/retry"
)

// PartBytes is the size of all parts of an upload but the last: the least that
// S3 takes, so that many files can be open at once.
const PartBytes = 5 << 20

// PartsMax is the number of parts that S3 takes.
const PartsMax = 10_000

// queuedMax bounds the bytes of one folder that wait to be uploaded before it
// is busy.
const queuedMax = 4 * PartBytes

// goneTries is how often in a row a server must say that an upload and its
// object are not there: one answer may come from a replica that lags.
const goneTries = 4

// publishMax bounds the requests of one Publish at a time.
const publishMax = 8

// bucketFolder is a Folder. A file that is not published is an upload that is
// not completed.
type bucketFolder struct {
	s      *s3
	prefix string // empty, or with a final slash
	svc    Service
	// queued are bytes that wait to be uploaded, of all files.
	queued  *atomic.Int64
	workers *sync.WaitGroup
}

var (
	_ Folder = (*bucketFolder)(nil)
	_ Behind = (*bucketFolder)(nil)
)

// Behind is implemented by folders whose files go out after Write returned.
type Behind interface {
	// Busy reports whether nothing more should be written for now; Wake follows.
	Busy() bool
	// Wait returns when nothing goes on in the background, after the service's
	// life ended.
	Wait()
}

// Folder implements Depot.
func (s *s3) Folder(root string, svc Service) Folder {
	_, prefix, _ := strings.Cut(strings.TrimPrefix(root, scheme), "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return &bucketFolder{s: s, prefix: prefix, svc: svc, queued: new(atomic.Int64), workers: new(sync.WaitGroup)}
}

// Wait implements Behind.
func (b *bucketFolder) Wait() { b.workers.Wait() }

// Busy implements Behind.
func (b *bucketFolder) Busy() bool { return b.queued.Load() >= queuedMax }

// Create implements Folder.
func (b *bucketFolder) Create(name string) (File, error) {
	u := &upload{b: b, name: name, key: b.prefix + name, idle: make(chan struct{})}
	close(u.idle)
	return u, nil
}

// upload is a File. Parts go up one after the other on a goroutine that lives
// as long as there are some.
type upload struct {
	b         *bucketFolder
	name, key string
	buf       []byte
	bytes     int64

	mu    sync.Mutex
	id    string        // guarded by mu
	parts []string      // guarded by mu
	queue [][]byte      // guarded by mu
	err   error         // guarded by mu; ends the file
	idle  chan struct{} // guarded by mu; closed while no goroutine runs
}

// Write implements File.
func (u *upload) Write(p []byte) (int, error) {
	n := len(p)
	u.bytes += int64(n)
	for len(u.buf)+len(p) >= PartBytes {
		k := PartBytes - len(u.buf)
		u.buf = append(u.buf, p[:k]...)
		p = p[k:]
		if err := u.push(u.buf); err != nil {
			return 0, err
		}
		u.buf = nil
	}
	u.buf = append(u.buf, p...)
	return n, nil
}

// push hands a part over.
func (u *upload) push(part []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil {
		return u.err
	}
	u.b.queued.Add(int64(len(part)))
	u.queue = append(u.queue, part)
	select {
	case <-u.idle:
	default:
		return nil // one is at work
	}
	u.idle = make(chan struct{})
	u.b.workers.Go(func() { u.work(u.b.svc.Life) })
	return nil
}

// work uploads what is queued.
func (u *upload) work(ctx context.Context) {
	for {
		u.mu.Lock()
		if len(u.queue) == 0 || u.err != nil {
			for _, part := range u.queue {
				u.b.queued.Add(-int64(len(part)))
			}
			u.queue = nil
			close(u.idle)
			u.mu.Unlock()
			u.b.svc.Wake()
			return
		}
		part := u.queue[0]
		u.queue = u.queue[1:]
		id, number := u.id, len(u.parts)+1
		u.mu.Unlock()
		id, tag, err := u.send(ctx, id, number, part)
		u.b.queued.Add(-int64(len(part)))
		u.mu.Lock()
		u.id, u.err = id, err
		u.parts = append(u.parts, tag)
		u.mu.Unlock()
		u.b.svc.Wake()
	}
}

// send uploads a part, and begins the upload with the first.
func (u *upload) send(ctx context.Context, id string, number int, part []byte) (_, tag string, err error) {
	s := u.b.s
	if id == "" {
		err = s.do(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, tryTimeout)
			defer cancel()
			id, err = s.core.NewMultipartUpload(ctx, s.bucket, u.key, minio.PutObjectOptions{})
			return err
		})
		if err != nil {
			return "", "", s.fault("begin "+s.url(u.key), err)
		}
	}
	sum := md5.Sum(part)
	opts := minio.PutObjectPartOptions{Md5Base64: base64.StdEncoding.EncodeToString(sum[:])}
	err = s.do(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		p, err := s.core.PutObjectPart(ctx, s.bucket, u.key, id, number, bytes.NewReader(part), int64(len(part)), opts)
		tag = p.ETag
		return err
	})
	return id, tag, s.fault(fmt.Sprintf("write part %d of %s", number, s.url(u.key)), err)
}

// Finish implements File. The last part may have any size.
func (u *upload) Finish() error {
	last := u.buf
	u.buf = nil
	if len(last) == 0 {
		return nil
	}
	return u.push(last)
}

// Seal implements File.
func (u *upload) Seal(ctx context.Context) (Sealed, error) {
	u.mu.Lock()
	idle := u.idle
	u.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
		return Sealed{}, ctx.Err()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return Sealed{Name: u.name, Bytes: u.bytes, Handle: u.id, Parts: u.parts}, u.err
}

// Discard implements File.
func (u *upload) Discard() { u.buf = nil }

// Publish implements Folder: completions, which may have been done.
func (b *bucketFolder) Publish(ctx context.Context, files []Sealed) error {
	errs := make([]error, len(files))
	var all sync.WaitGroup
	room := make(chan struct{}, publishMax)
	for i := range files {
		room <- struct{}{}
		all.Go(func() {
			errs[i] = b.publish(ctx, &files[i])
			<-room
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// publish tries until the upload is completed.
func (b *bucketFolder) publish(ctx context.Context, f *Sealed) error {
	told, gone := false, 0
	for failures := 1; ; failures++ {
		err := b.complete(ctx, f)
		if !errors.Is(err, ErrGone) {
			gone = 0
		} else if gone++; gone < goneTries {
			_ = retry.Wait(ctx, b.s.clock, policy.Pause(gone, 1)) // the loop sees an ended context
			continue
		}
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrGone) || final(err) {
			if told {
				b.trouble(nil)
			}
			return b.s.fault("complete "+b.s.url(b.prefix+f.Name), errors.Join(err, ctx.Err()))
		}
		told = true
		b.trouble(&connectors.Trouble{Code: "LEAT5309", What: "S3 at " + b.s.endpoint + " does not complete " + b.s.url(b.prefix+f.Name),
			Fix: "nothing, if it is back soon; else look at the server and the network", Err: err})
		_ = retry.Wait(ctx, b.s.clock, policy.Pause(min(failures, policy.AttemptsMax), 1)) // the loop sees an ended context
	}
}

func (b *bucketFolder) trouble(err error) {
	if b.svc.Trouble != nil {
		b.svc.Trouble(err)
	}
}

func (b *bucketFolder) complete(ctx context.Context, f *Sealed) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	parts := make([]minio.CompletePart, len(f.Parts))
	for i, tag := range f.Parts {
		parts[i] = minio.CompletePart{PartNumber: i + 1, ETag: tag}
	}
	key := b.prefix + f.Name
	_, err := b.s.core.CompleteMultipartUpload(ctx, b.s.bucket, key, f.Handle, parts, minio.PutObjectOptions{})
	if err == nil || minio.ToErrorResponse(err).Code != "NoSuchUpload" {
		return err
	}
	// It was completed before: names are used once, so the object is this one.
	o, statErr := b.s.core.StatObject(ctx, b.s.bucket, key, minio.StatObjectOptions{})
	switch {
	case statErr == nil && o.Size == f.Bytes:
		return nil
	case statErr == nil:
		return fmt.Errorf("%w: %s has %d bytes and should have %d", ErrGone, b.s.url(key), o.Size, f.Bytes)
	case minio.ToErrorResponse(statErr).Code == "NoSuchKey":
		return fmt.Errorf("%w: the upload of %s does not exist, nor does the object", ErrGone, b.s.url(key))
	}
	return statErr
}

// sweepPage is the number of uploads asked for at a time.
const sweepPage = 1000

// Sweep implements Folder: it aborts uploads.
func (b *bucketFolder) Sweep(ctx context.Context, doomed func(base, handle string) bool) error {
	keyAfter, idAfter := "", ""
	for {
		var page minio.ListMultipartUploadsResult
		err := b.s.do(ctx, func(ctx context.Context) (err error) {
			ctx, cancel := context.WithTimeout(ctx, tryTimeout)
			defer cancel()
			page, err = b.s.core.ListMultipartUploads(ctx, b.s.bucket, b.prefix, keyAfter, idAfter, "", sweepPage)
			return err
		})
		if err != nil {
			return b.s.fault("list the uploads of "+b.s.url(b.prefix), err)
		}
		for _, u := range page.Uploads {
			if doomed(path.Base(u.Key), u.UploadID) {
				if err := b.abort(ctx, u.Key, u.UploadID); err != nil {
					return err
				}
			}
		}
		if !page.IsTruncated {
			return nil
		}
		keyAfter, idAfter = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

func (b *bucketFolder) abort(ctx context.Context, key, id string) error {
	err := b.s.do(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tryTimeout)
		defer cancel()
		err := b.s.core.AbortMultipartUpload(ctx, b.s.bucket, key, id)
		if err != nil && minio.ToErrorResponse(err).Code == "NoSuchUpload" {
			return nil
		}
		return err
	})
	return b.s.fault("abort the upload of "+b.s.url(key), err)
}
