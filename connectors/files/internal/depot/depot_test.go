package depot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // what the proxy of net/http logs through
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/devs3"
)

const bucket = "leat-files-test"

var access depot.Access

func TestMain(m *testing.M) {
	code, err := runWithServer(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func runWithServer(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "leat-depot-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := devs3.Start(context.Background(), dir, bucket)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	access = depot.Access{Endpoint: "http://" + server.Address(), Region: devs3.Region, AccessKey: devs3.AccessKey, SecretKey: devs3.SecretKey}
	return m.Run(), nil
}

var roots atomic.Int64

// site is a depot with a root of its own.
type site struct {
	depot.Depot
	root   string
	folder depot.Folder
	put    func(t *testing.T, name, text string)
}

func service(ctx context.Context) depot.Service { return depot.Service{Life: ctx, Wake: func() {}} }

func open(t *testing.T, root string, a depot.Access) *site {
	t.Helper()
	d, err := depot.New(root, a, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &site{Depot: d, root: root, folder: d.Folder(root, service(ctx))}
	t.Cleanup(func() {
		cancel()
		if b, ok := s.folder.(depot.Behind); ok {
			b.Wait()
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	s.put = func(t *testing.T, name, text string) {
		t.Helper()
		if !depot.OnS3(root) {
			path := filepath.Join(root, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := s.folder.Publish(t.Context(), []depot.Sealed{s.seal(t, name, text)}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// each runs a test on a disk and on S3.
func each(t *testing.T, test func(t *testing.T, s *site)) {
	t.Parallel()
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, filepath.Join(t.TempDir(), "in"), depot.Access{}))
	})
	t.Run("S3", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), access))
	})
}

func (s *site) write(t *testing.T, name, text string) depot.File {
	t.Helper()
	f, err := s.folder.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for len(text) > 0 {
		n := min(len(text), 999_999)
		if _, err := io.WriteString(f, text[:n]); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	return f
}

func (s *site) seal(t *testing.T, name, text string) depot.Sealed {
	t.Helper()
	f := s.write(t, name, text)
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	sealed, err := f.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func (s *site) find(t *testing.T, pattern string) []depot.Info {
	t.Helper()
	found, err := s.Find(t.Context(), s.root+"/"+pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (s *site) names(t *testing.T, pattern string) (out []string) {
	t.Helper()
	for _, f := range s.find(t, pattern) {
		out = append(out, strings.TrimPrefix(f.Path, s.root+"/"))
	}
	return out
}

func (s *site) read(t *testing.T, f depot.Info, offset int64) string {
	t.Helper()
	r, err := s.Open(t.Context(), f, offset)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFind(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		for _, name := range []string{"b.txt", "a.txt", "a.csv", "sub/c.txt", "sub/deep/d.txt", ".part-x.txt", "star*.txt"} {
			s.put(t, name, name)
		}
		for pattern, want := range map[string][]string{
			"*.txt":      {"a.txt", "b.txt", "star*.txt"},
			"a.txt":      {"a.txt"},
			"a.*":        {"a.csv", "a.txt"},
			"*/*.txt":    {"sub/c.txt"},
			"s*/*/d*":    {"sub/deep/d.txt"},
			".part*":     {".part-x.txt"},
			"[bc].txt":   {"b.txt"},
			`star\*.tx?`: {"star*.txt"},
			"none*":      nil,
			"a":          nil,
		} {
			if got := s.names(t, pattern); !slices.Equal(got, want) {
				t.Errorf("%s found %q, want %q", pattern, got, want)
			}
		}
		if f := s.find(t, "b.txt")[0]; f.Bytes != 5 || depot.OnS3(s.root) && f.Tag == "" {
			t.Errorf("found %+v", f)
		}
	})
}

func TestOpen(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.put(t, "a", "0123456789")
		f := s.find(t, "a")[0]
		for offset, want := range map[int64]string{0: "0123456789", 4: "456789", 9: "9", 10: ""} {
			if got := s.read(t, f, offset); got != want {
				t.Errorf("from %d on: %q, want %q", offset, got, want)
			}
		}
		s.put(t, "a", "0123456789+")
		if r, err := s.Open(t.Context(), f, 3); !errors.Is(err, depot.ErrChanged) {
			t.Errorf("a file that changed: reader %v, error %v", r, err)
		}
		f.Path += "-none"
		if _, err := s.Open(t.Context(), f, 0); err == nil || errors.Is(err, depot.ErrChanged) {
			t.Errorf("a file that is not there: error %v", err)
		}
	})
}

// big is larger than a part.
var big = strings.Repeat("0123456789abcde\n", depot.PartBytes/16*2+1000)

func TestFilesAppearWhenPublished(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		small, large := s.seal(t, "x/y/small", "text"), s.seal(t, "large", big)
		if got := append(s.names(t, "*"), s.names(t, "*/*/*")...); len(got) != 0 {
			t.Fatalf("%q are visible before they are published", got)
		}
		if small.Bytes != 4 || large.Bytes != int64(len(big)) {
			t.Errorf("sealed %d and %d bytes", small.Bytes, large.Bytes)
		}
		for range 3 { // again, as after a crash
			if err := s.folder.Publish(t.Context(), []depot.Sealed{small, large}); err != nil {
				t.Fatal(err)
			}
		}
		if got := append(s.names(t, "*"), s.names(t, "*/*/*")...); !slices.Equal(got, []string{"large", "x/y/small"}) {
			t.Errorf("%q are visible", got)
		}
		if s.read(t, s.find(t, "x/y/small")[0], 0) != "text" || s.read(t, s.find(t, "large")[0], 0) != big {
			t.Error("what was published differs from what was written")
		}
	})
}

func TestSweepRemovesWhatIsDoomed(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		keep, drop := s.seal(t, "part-1-keep", "keep"), s.seal(t, "sub/part-1-drop", "drop")
		s.write(t, "part-1-open", big).Discard()
		if b, ok := s.folder.(depot.Behind); ok {
			b.Wait()
		}
		s.put(t, "part-1-visible", "visible")
		var seen []string
		sweep := func() {
			t.Helper()
			seen = nil
			if err := s.folder.Sweep(t.Context(), func(base, handle string) bool {
				seen = append(seen, base)
				return strings.HasPrefix(base, "part-1-") && handle != keep.Handle
			}); err != nil {
				t.Fatal(err)
			}
			slices.Sort(seen)
		}
		sweep()
		if want := []string{"part-1-drop", "part-1-keep", "part-1-open"}; !slices.Equal(seen, want) {
			t.Errorf("unpublished are %q, want %q", seen, want)
		}
		if sweep(); !slices.Equal(seen, []string{"part-1-keep"}) {
			t.Errorf("after the sweep %q are left", seen)
		}
		if err := s.folder.Publish(t.Context(), []depot.Sealed{drop}); !errors.Is(err, depot.ErrGone) {
			t.Errorf("publishing what was swept: error %v", err)
		}
		if err := s.folder.Publish(t.Context(), []depot.Sealed{keep}); err != nil {
			t.Error(err)
		}
		if got := s.names(t, "*"); !slices.Equal(got, []string{"part-1-keep", "part-1-visible"}) {
			t.Errorf("%q are visible", got)
		}
	})
}

func TestManyUploadsAreSwept(t *testing.T) {
	t.Parallel()
	s := open(t, fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), access)
	for i := range 30 {
		s.seal(t, fmt.Sprintf("b%d/part-%d", i%3, i), "x")
	}
	n := 0
	if err := s.folder.Sweep(t.Context(), func(string, string) bool { n++; return true }); err != nil || n != 30 {
		t.Fatalf("swept %d, error %v", n, err)
	}
}

func fatal(t *testing.T, err error, code string) {
	t.Helper()
	var f *connectors.FatalError
	if !errors.As(err, &f) || f.Code != code || f.Fix == "" {
		t.Errorf("error %v, want %s", err, code)
	}
	if err != nil && strings.Contains(fmt.Sprint(err), devs3.SecretKey) {
		t.Errorf("the secret is in %v", err)
	}
}

func TestFaultsAreExplained(t *testing.T) {
	t.Parallel()
	missing := open(t, "s3://leat-no-such-bucket/x", access)
	_, err := missing.Find(t.Context(), "s3://leat-no-such-bucket/x/*")
	fatal(t, err, "LEAT5305")
	fatal(t, missing.Check(t.Context(), missing.root), "LEAT5305")
	f := missing.write(t, "a", "text")
	if err := f.Finish(); err != nil {
		t.Fatal(err)
	}
	_, err = f.Seal(t.Context())
	fatal(t, err, "LEAT5305")

	for _, change := range []func(a *depot.Access){
		func(a *depot.Access) { a.SecretKey = "wrong" },
		func(a *depot.Access) { a.AccessKey = "nobody" },
	} {
		a := access
		change(&a)
		refused := open(t, "s3://"+bucket+"/x", a)
		_, err = refused.Find(t.Context(), "s3://"+bucket+"/x/*")
		fatal(t, err, "LEAT5306")
		fatal(t, refused.folder.Sweep(t.Context(), nil), "LEAT5306")
	}
}

// TestAnswersThatAreLost lets a proxy lose answers to requests that were done:
// every kind is tried again, and nothing is there twice.
func TestAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	var n, lost atomic.Int64
	target, err := url.Parse(access.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	proxy.ModifyResponse = func(*http.Response) error {
		if n.Add(1)%2 == 1 {
			lost.Add(1)
			return errors.New("lost")
		}
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.Close()
		}
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	a := access
	a.Endpoint = server.URL
	s := open(t, fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), a)
	sealed := s.seal(t, "part-a", big)
	if err := s.folder.Publish(t.Context(), []depot.Sealed{sealed}); err != nil {
		t.Fatal(err)
	}
	if err := s.folder.Sweep(t.Context(), func(string, string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if got := s.names(t, "*"); !slices.Equal(got, []string{"part-a"}) {
		t.Fatalf("%q are visible", got)
	}
	if s.read(t, s.find(t, "part-a")[0], 0) != big {
		t.Error("what was published differs from what was written")
	}
	if lost.Load() < 6 {
		t.Errorf("only %d answers were lost", lost.Load())
	}
}

func TestReadingGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	direct := open(t, fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), access)
	direct.put(t, "a", big)
	f := direct.find(t, "a")[0]
	target, err := url.Parse(access.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	var bodies atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ModifyResponse = func(r *http.Response) error {
		switch n := bodies.Add(1); {
		case n < 4:
			r.Body = &cut{ReadCloser: r.Body, left: 1_500_000}
		case n < 7:
			r.Body = &cut{ReadCloser: r.Body}
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	a := access
	a.Endpoint = server.URL
	s := open(t, direct.root, a)
	if got := s.read(t, f, 7); got != big[7:] {
		t.Errorf("%d bytes were read, want %d", len(got), len(big)-7)
	}
	if bodies.Load() != 7 {
		t.Errorf("%d bodies", bodies.Load())
	}
}

// cut fails after some bytes.
type cut struct {
	io.ReadCloser
	left int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errors.New("cut")
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func TestBusyEnds(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	target, err := url.Parse(access.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-gate
		proxy.ServeHTTP(w, r)
	}))
	defer server.Close()
	a := access
	a.Endpoint = server.URL
	d, err := depot.New("s3://"+bucket, a, clock.Real{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	woken := make(chan struct{}, 100)
	folder := d.Folder(fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), depot.Service{Life: t.Context(), Wake: func() { woken <- struct{}{} }})
	f, err := folder.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	behind, _ := folder.(depot.Behind)
	part := bytes.Repeat([]byte("x"), depot.PartBytes)
	for !behind.Busy() {
		if _, err := f.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	for behind.Busy() {
		<-woken
	}
	f.Discard()
	behind.Wait()
}

func TestAccess(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"ftp://x":            "the endpoint of S3 is not",
		"http://k:secret@h":  "the endpoint of S3 is not",
		"http://host/bucket": "the endpoint of S3 is not",
	} {
		if err := (depot.Access{Endpoint: endpoint}).Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") {
			t.Errorf("%s: error %v", endpoint, err)
		}
	}
	if err := (depot.Access{AccessKey: "a"}).Validate(); err == nil {
		t.Error("an access key alone is accepted")
	}
	for _, path := range []string{"s3://", "s3:///key", "s3://b*/key"} {
		if _, err := depot.New(path, depot.Access{}, nil); err == nil {
			t.Errorf("%s is accepted", path)
		}
	}
}

// TestCompletedBefore has a server that forgets uploads with their completion,
// as AWS does after a while: the object tells that it was done.
func TestCompletedBefore(t *testing.T) {
	t.Parallel()
	target, err := url.Parse(access.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	var completions atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && completions.Add(1) > 1 {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>NoSuchUpload</Code><Message>gone</Message></Error>`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer server.Close()
	a := access
	a.Endpoint = server.URL
	s := open(t, fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1)), a)
	sealed, other := s.seal(t, "part-a", "text"), s.seal(t, "part-b", "text")
	for range 3 {
		if err := s.folder.Publish(t.Context(), []depot.Sealed{sealed}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.folder.Publish(t.Context(), []depot.Sealed{other}); !errors.Is(err, depot.ErrGone) {
		t.Errorf("an upload that is gone without an object: error %v", err)
	}
	sealed.Bytes++
	if err := s.folder.Publish(t.Context(), []depot.Sealed{sealed}); !errors.Is(err, depot.ErrGone) {
		t.Errorf("an object of another size: error %v", err)
	}
}

// TestCompletionsThatFail has a server that is throttled, then fails within an
// answer that began well, then lags behind: the file appears all the same.
func TestCompletionsThatFail(t *testing.T) {
	t.Parallel()
	target, err := url.Parse(access.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	answers := []struct {
		status int
		code   string
	}{{503, "SlowDown"}, {503, "SlowDown"}, {503, "SlowDown"}, {200, "InternalError"}, {404, "NoSuchUpload"}}
	var completions atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			if n := int(completions.Add(1)); n <= len(answers) {
				w.Header().Set("Content-Type", "application/xml")
				w.WriteHeader(answers[n-1].status)
				fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>not now</Message></Error>`, answers[n-1].code)
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	defer server.Close()
	a := access
	a.Endpoint = server.URL
	root := fmt.Sprintf("s3://%s/test-%d", bucket, roots.Add(1))
	s := open(t, root, a)
	var told []error
	svc := service(t.Context())
	svc.Trouble = func(err error) { told = append(told, err) }
	if err := s.Folder(root, svc).Publish(t.Context(), []depot.Sealed{s.seal(t, "part-a", "text")}); err != nil {
		t.Fatal(err)
	}
	if got := s.names(t, "*"); !slices.Equal(got, []string{"part-a"}) || completions.Load() != 6 {
		t.Errorf("%q are visible after %d completions", got, completions.Load())
	}
	var trouble *connectors.Trouble
	if len(told) != 5 || !errors.As(told[0], &trouble) || trouble.Code != "LEAT5309" || told[4] != nil {
		t.Errorf("told %v", told)
	}
}
