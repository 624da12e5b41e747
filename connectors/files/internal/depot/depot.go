// Package depot is where files are: a local disk or a bucket of S3. It finds
// and reads files, and makes files that nobody sees before they are published.
// It knows nothing of rows, splits or checkpoints.
package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/retry"
)

// Info is a file as it was found.
type Info struct {
	// Path is a path of the file system, or s3://bucket/key.
	Path string
	// Bytes is its size. Open takes a negative one for a file of a disk whose
	// size is not known.
	Bytes int64
	// Tag is what S3 calls the entity tag: another content has another one. A
	// file system has none.
	Tag string
}

// ErrChanged says that a file is not any more what it was when it was found.
var ErrChanged = errors.New("the file has changed since it was found")

// Depot is one place of files. It may be used from several goroutines.
type Depot interface {
	// Find returns the files whose paths match a pattern (path.Match, element
	// by element), in order. Names that begin with a dot match only a pattern
	// that does. No match is no error.
	Find(ctx context.Context, pattern string) ([]Info, error)
	// Open reads a file from offset to its end, as long as ctx lives. A file
	// that differs from what was found is ErrChanged, at once or in the middle.
	Open(ctx context.Context, f Info, offset int64) (io.ReadCloser, error)
	// Folder returns the place below root, where files can be made.
	Folder(root string, s Service) Folder
	// Check looks at the place at root without changing anything there.
	Check(ctx context.Context, root string) error
	Close() error
}

// Folder makes files. Names are paths below it, with slashes.
type Folder interface {
	// Create begins a file that is not visible. It does nothing outside yet
	// that could block.
	Create(name string) (File, error)
	// Publish makes files visible. Those that are visible already are left as
	// they are. It tries until it is done, ctx ends, or the outside refuses for
	// good; a file that is neither visible nor there is ErrGone.
	Publish(ctx context.Context, files []Sealed) error
	// Sweep removes the unpublished files for which doomed says so. It is given
	// the last element of the file's name, and its handle as in Sealed.
	Sweep(ctx context.Context, doomed func(base, handle string) bool) error
}

// ErrGone says that a sealed file is lost.
var ErrGone = errors.New("the file is gone")

// File is being written, by one goroutine.
type File interface {
	io.Writer
	// Finish says that nothing follows. It does not wait.
	Finish() error
	// Seal waits, after Finish, until the file is durable.
	Seal(ctx context.Context) (Sealed, error)
	// Discard gives up what is not finished. Files that are left unpublished
	// are for Sweep.
	Discard()
}

// Sealed is a file that is durable and not visible. It is written into
// checkpoints as JSON.
type Sealed struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	// Handle is the hidden name on a disk, the upload's id on S3.
	Handle string `json:"handle"`
	// Parts are the entity tags of an upload's parts.
	Parts []string `json:"parts,omitempty"`
}

// Service is what a folder needs of its user.
type Service struct {
	// Life ends what the folder's files do in the background.
	Life context.Context //nolint:containedctx // handed over in a struct of settings, kept by what runs in the background
	// Wake is called after Busy has become false.
	Wake func()
	// Trouble is told of what is tried again, nil once it works. It may be nil.
	Trouble func(error)
}

// Access is how S3 is reached.
type Access struct {
	Endpoint, Region                   string
	AccessKey, SecretKey, SessionToken string
	// SilenceMax is how long a server may send nothing, before an answer or in
	// the middle of one, until the request is tried again; 0: SilenceDefault.
	SilenceMax time.Duration
}

// scheme begins the paths of S3.
const scheme = "s3://"

// OnS3 reports whether a path is one of S3.
func OnS3(path string) bool { return strings.HasPrefix(path, scheme) }

// Bucket cuts s3://bucket/key in two.
func Bucket(path string) (bucket, key string, err error) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(path, scheme), "/")
	if bucket == "" || strings.ContainsAny(bucket, `*?[\ :@`) {
		return "", "", fmt.Errorf("%q names no bucket: write s3://bucket/key", path)
	}
	return bucket, key, nil
}

// policy is about one request.
var policy = retry.Policy{AttemptsMax: 8, PauseFirst: 100 * time.Millisecond, PauseMax: 5 * time.Second}

// tryTimeout bounds one try of a request, of a part as well.
const tryTimeout = time.Minute

// New returns the depot of a path or pattern. It does not talk to a server. clk
// may be nil.
func New(path string, a Access, clk clock.Clock) (Depot, error) {
	if clk == nil {
		clk = clock.Real{}
	}
	if !OnS3(path) {
		return disk{}, nil
	}
	bucket, _, err := Bucket(path)
	if err != nil {
		return nil, err
	}
	return newS3(bucket, a.fromEnvironment(os.Getenv), clk)
}

// fromEnvironment fills what is not set from the variables that other clients
// of S3 read. Keys are looked up later, with each request that needs new ones.
func (a Access) fromEnvironment(get func(string) string) Access {
	for _, v := range []struct {
		to   *string
		name string
	}{
		{&a.Endpoint, "AWS_ENDPOINT_URL_S3"},
		{&a.Endpoint, "AWS_ENDPOINT_URL"},
		{&a.Region, "AWS_REGION"},
		{&a.Region, "AWS_DEFAULT_REGION"},
	} {
		if *v.to == "" {
			*v.to = get(v.name)
		}
	}
	if a.Endpoint == "" {
		a.Endpoint = "https://s3.amazonaws.com"
	}
	return a
}
