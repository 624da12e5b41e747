package files_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"go.uber.org/goleak"

	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/internal/devs3"
)

const bucket = "leat-files-connector-test"

// s3 is the server under test, and client one that is not the connector's.
var (
	s3     files.S3
	client *minio.Client
)

func TestMain(m *testing.M) {
	if slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz") }) {
		os.Exit(m.Run()) // no fuzz target needs the server, and each of its processes would start one
	}
	code, err := runWithServer(m)
	if err == nil && code == 0 {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runWithServer(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "leat-files-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := devs3.Start(context.Background(), dir, bucket)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	s3 = files.S3{Endpoint: "http://" + server.Address(), Region: devs3.Region, AccessKey: devs3.AccessKey, SecretKey: devs3.SecretKey}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client, err = minio.New(server.Address(), &minio.Options{Creds: credentials.NewStaticV4(devs3.AccessKey, devs3.SecretKey, ""), Region: devs3.Region, Transport: transport})
	if err != nil {
		return 1, err
	}
	return m.Run(), nil
}

var roots atomic.Int64

// root is a folder, or a prefix of a bucket, of one test.
type root string

func (r root) s3() bool { return strings.HasPrefix(string(r), "s3://") }

func (r root) key(name string) string {
	return strings.TrimPrefix(string(r), "s3://"+bucket+"/") + "/" + name
}

func (r root) path(name string) string { return string(r) + "/" + name }

func (r root) put(t testing.TB, name string, text []byte) {
	t.Helper()
	if r.s3() {
		if _, err := client.PutObject(t.Context(), bucket, r.key(name), bytes.NewReader(text), int64(len(text)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := r.path(name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// each runs a test on a disk and on S3.
func each(t *testing.T, test func(t *testing.T, r root)) {
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		test(t, root(t.TempDir()))
	})
	t.Run("S3", func(t *testing.T) {
		t.Parallel()
		test(t, root(fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1))))
	})
}

// visible returns the files that a reader of the folder sees, by their paths
// below it; those that are in known already are not read again.
func (r root) visible(t testing.TB, known map[string][]byte) {
	t.Helper()
	if r.s3() {
		for o := range client.ListObjects(context.Background(), bucket, minio.ListObjectsOptions{Prefix: r.key(""), Recursive: true}) {
			name := strings.TrimPrefix(o.Key, r.key(""))
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			if known[name] != nil {
				continue
			}
			body, err := client.GetObject(context.Background(), bucket, o.Key, minio.GetObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if known[name], err = io.ReadAll(body); err != nil {
				t.Fatal(err)
			}
			_ = body.Close()
		}
		return
	}
	err := filepath.WalkDir(string(r), func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, string(r)+"/")
		if err != nil || d.IsDir() || strings.HasPrefix(filepath.Base(path), ".") || known[name] != nil {
			return err
		}
		known[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// unpublished counts hidden files and uploads that are not completed.
func (r root) unpublished(t testing.TB) (n int) {
	t.Helper()
	if !r.s3() {
		hidden, err := filepath.Glob(filepath.Join(string(r), ".part-*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(hidden)
	}
	core := minio.Core{Client: client}
	all, err := core.ListMultipartUploads(context.Background(), bucket, r.key(""), "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(all.Uploads)
}

func packed(t testing.TB, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpacked(t testing.TB, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
