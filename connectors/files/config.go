package files

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
	"github.com/leatstream/leat/internal/clock"
)

// S3 says how a bucket is reached. What is empty comes from the environment
// of the process that reads or writes: AWS_ENDPOINT_URL_S3 or
// AWS_ENDPOINT_URL, AWS_REGION or AWS_DEFAULT_REGION; keys from
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, the AWS
// credentials file, or the machine's role. None of it is part of the graph.
type S3 struct {
	// Endpoint is a host with an optional port, or a URL whose scheme decides
	// about TLS. Empty, also in the environment: AWS.
	Endpoint, Region string
	// AccessKey and SecretKey, and SessionToken for keys that last for a while.
	// They are better given by the names of the variables that hold them.
	AccessKey, SecretKey, SessionToken string
	// AccessKeyEnv, SecretKeyEnv and SessionTokenEnv name variables of the
	// environment, for a bucket whose keys are not the usual ones.
	AccessKeyEnv, SecretKeyEnv, SessionTokenEnv string
	// SilenceMax is how long the server may send nothing, before an answer or
	// in the middle of one, until the request is tried again, a read from the
	// byte that it had come to; default 30 s.
	SilenceMax time.Duration
}

// access resolves names of variables. In the process that builds the graph
// they need not be set.
func (s *S3) access(get func(string) string) (depot.Access, error) {
	a := depot.Access{Endpoint: s.Endpoint, Region: s.Region, AccessKey: s.AccessKey, SecretKey: s.SecretKey, SessionToken: s.SessionToken, SilenceMax: s.SilenceMax}
	for _, v := range []struct {
		name string
		to   *string
	}{{s.AccessKeyEnv, &a.AccessKey}, {s.SecretKeyEnv, &a.SecretKey}, {s.SessionTokenEnv, &a.SessionToken}} {
		if v.name == "" {
			continue
		}
		if *v.to = get(v.name); *v.to == "" {
			return a, &connectors.FatalError{
				Code: "LEAT5306", What: fmt.Sprintf("the environment variable %s, which is to hold a key of S3, is not set in this process", v.name),
				Fix: "set it for the taskmanagers, and name it in their worker-env",
			}
		}
	}
	return a, nil
}

// depotOf returns the depot of a path.
func depotOf(path string, s S3, clk clock.Clock) (depot.Depot, error) {
	a, err := s.access(os.Getenv)
	if err != nil && depot.OnS3(path) {
		return nil, err
	}
	return depot.New(path, a, clk)
}

// Compression says how files are packed.
type Compression uint8

const (
	// ByName takes files whose names end in .gz for gzip; sinks do not pack.
	ByName Compression = iota
	// Plain files are not packed, whatever their names say.
	Plain
	// Gzip files are read from their beginning by one subtask each.
	Gzip
)

// packed reports whether a file of that name is gzip.
func (c Compression) packed(name string) bool {
	return c == Gzip || c == ByName && strings.HasSuffix(name, gzipExtension)
}

const gzipExtension = ".gz"

// SourceConfig configures a source.
type SourceConfig struct {
	// Pattern names the files (path.Match, element by element): a path of the
	// file system, or s3://bucket/key. Names that begin with a dot match only a
	// pattern that does. The files are those that are there when the job
	// starts, unless Interval is set.
	Pattern string
	// Interval is the time between looks for new files, which makes the source
	// unbounded. Each file is read once. 0: the source is bounded.
	Interval time.Duration
	// SplitBytes is the size of the ranges that files are cut into; default 64 MiB.
	SplitBytes int64
	// LineBytesMax bounds a line; default 16 MiB.
	LineBytesMax int
	// FilesMax bounds the files that the source knows, all of which stay in its
	// state; default 100,000. More end the job.
	FilesMax int
	// Compression of the files; by their names without it.
	Compression Compression
	// S3 says how the bucket of an s3:// pattern is reached.
	S3 S3
}

// EnsureDefaults fills what is not set.
func (c *SourceConfig) EnsureDefaults() {
	if c.SplitBytes == 0 {
		c.SplitBytes = 64 << 20
	}
	if c.LineBytesMax == 0 {
		c.LineBytesMax = 16 << 20
	}
	if c.FilesMax == 0 {
		c.FilesMax = 100_000
	}
}

// Validate returns all faults of the configuration in one error.
func (c *SourceConfig) Validate() error {
	var errs []error
	if _, err := path.Match(c.Pattern, ""); err != nil || c.Pattern == "" {
		errs = append(errs, fmt.Errorf("pattern %q names no files", c.Pattern))
	}
	if c.SplitBytes < 1 || c.LineBytesMax < 1 || c.FilesMax < 1 {
		errs = append(errs, fmt.Errorf("splits of %d bytes, lines of %d, at most %d files: want at least 1", c.SplitBytes, c.LineBytesMax, c.FilesMax))
	}
	if c.Interval < 0 {
		errs = append(errs, fmt.Errorf("the interval of discovery %v is negative: 0 looks once", c.Interval))
	}
	if c.Interval > 0 && c.Interval < time.Millisecond {
		errs = append(errs, fmt.Errorf("the interval of discovery %v is shorter than a millisecond", c.Interval))
	}
	return errors.Join(append(errs, place(c.Pattern, c.S3), c.Compression.validate())...)
}

func (c Compression) validate() error {
	if c > Gzip {
		return fmt.Errorf("compression %d is none of ByName, Plain and Gzip", c)
	}
	return nil
}

// place returns what is wrong with a path of S3, nil for one that is none.
func place(path string, s S3) error {
	if !depot.OnS3(path) {
		return nil
	}
	_, _, err := depot.Bucket(path)
	if s.AccessKey != "" && s.AccessKeyEnv != "" || s.SecretKey != "" && s.SecretKeyEnv != "" || s.SessionToken != "" && s.SessionTokenEnv != "" {
		err = errors.Join(err, errors.New("a key of S3 is given by its value and by the name of a variable: want one of them"))
	}
	a := depot.Access{Endpoint: s.Endpoint, AccessKey: s.AccessKey + s.AccessKeyEnv, SecretKey: s.SecretKey + s.SecretKeyEnv, SilenceMax: s.SilenceMax}
	return errors.Join(err, a.Validate())
}

// SinkConfig configures a sink.
type SinkConfig struct {
	// RollBytes is the size at which a file is ended and another begun, within
	// a checkpoint; default 128 MiB. A file is larger by a row at most. Packed
	// files are measured as they are packed.
	RollBytes int64
	// OpenMax bounds the files that a subtask has open at a time; default 32.
	// One more ends the file that was not written to for the longest: more
	// buckets than that at a time make many small files. An open file holds up
	// to 5 MiB in memory on S3, and about 1 MiB when it is packed.
	OpenMax int
	// FilesMax bounds the files of a subtask in one checkpoint; default 10,000.
	// More end the job: the buckets are too many or RollBytes is too small.
	FilesMax int
	// Compression is Gzip to pack the files.
	Compression Compression
	// S3 says how the bucket of an s3:// folder is reached.
	S3 S3
}

// EnsureDefaults fills what is not set.
func (c *SinkConfig) EnsureDefaults() {
	if c.RollBytes == 0 {
		c.RollBytes = 128 << 20
	}
	if c.OpenMax == 0 {
		c.OpenMax = 32
	}
	if c.FilesMax == 0 {
		c.FilesMax = 10_000
	}
}

// rollBytesMax is what the parts of one upload can hold.
const rollBytesMax = depot.PartBytes * depot.PartsMax / 2

// Validate returns all faults of the configuration in one error.
func (c *SinkConfig) Validate() error {
	var errs []error
	if c.RollBytes < 1 || c.RollBytes > rollBytesMax {
		errs = append(errs, fmt.Errorf("files are rolled at %d bytes: want 1 to %d", c.RollBytes, int64(rollBytesMax)))
	}
	if c.OpenMax < 1 || c.FilesMax < 1 {
		errs = append(errs, fmt.Errorf("at most %d files open and %d in a checkpoint: want at least 1", c.OpenMax, c.FilesMax))
	}
	return errors.Join(append(errs, c.Compression.validate())...)
}

// bucketBytesMax bounds the path that a row asks for.
const bucketBytesMax = 512

// checkBucket wants a path below the folder, in its shortest form.
func checkBucket(b string) error {
	if b == "" {
		return nil
	}
	if len(b) > bucketBytesMax || b == "." || path.Clean(b) != b || !filepath.IsLocal(b) || strings.HasPrefix(b, ".") || strings.Contains(b, "/.") || strings.ContainsAny(b, "\\\x00\n\r") {
		return fmt.Errorf("bucket %.80q is no path below the folder: want elements such as date=2026-01-01/hour=05, none of which begins with a dot, %d bytes at most", b, bucketBytesMax)
	}
	return nil
}
