// Package files reads files of lines and writes them exactly once: a source
// whose splits are ranges of bytes, and a sink whose files appear by rename
// when their checkpoint is committed. It serves folders of the local machine
// (or mounted ones) and no object store.
package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/formats"
)

// SourceConfig configures a source.
type SourceConfig struct {
	// Pattern names the files (filepath.Match), as they are when the job
	// starts: bytes that are added later are not read.
	Pattern string
	// SplitBytes is the size of the ranges that files are cut into; default 64 MiB.
	SplitBytes int64
	// LineBytesMax bounds a line; default 16 MiB.
	LineBytesMax int
}

// EnsureDefaults fills what is not set.
func (c *SourceConfig) EnsureDefaults() {
	if c.SplitBytes == 0 {
		c.SplitBytes = 64 << 20
	}
	if c.LineBytesMax == 0 {
		c.LineBytesMax = 16 << 20
	}
}

// Validate returns all faults of the configuration in one error.
func (c *SourceConfig) Validate() error {
	var errs []error
	if _, err := filepath.Match(c.Pattern, ""); err != nil || c.Pattern == "" {
		errs = append(errs, fmt.Errorf("pattern %q names no files", c.Pattern))
	}
	if c.SplitBytes < 1 || c.LineBytesMax < 1 {
		errs = append(errs, fmt.Errorf("splits of %d bytes and lines of %d: want at least 1", c.SplitBytes, c.LineBytesMax))
	}
	return errors.Join(errs...)
}

// Source reads lines, each of them one record; empty lines are skipped.
type Source[T any] struct {
	connectors.Typed[T]
	cfg SourceConfig
	dec func() (formats.Decoder[T], error)
	typ columnar.RowType
	err error
}

var _ connectors.SourceOf[int] = (*Source[int])(nil)

// NewSource returns a source; dec makes one decoder for each reader. Faults
// of cfg are reported when the program is built, see Fault.
func NewSource[T any](cfg SourceConfig, dec func() (formats.Decoder[T], error)) *Source[T] {
	cfg.EnsureDefaults()
	s := &Source[T]{cfg: cfg, dec: dec}
	typ, err := columnar.TypeOf[T]()
	s.typ, s.err = typ, errors.Join(err, cfg.Validate())
	return s
}

// Fault returns what is wrong with the source's configuration, nil if nothing.
func (s *Source[T]) Fault() error { return s.cfg.Validate() }

// Name implements connectors.Source.
func (s *Source[T]) Name() string { return "files " + s.cfg.Pattern }

// Detail implements connectors.Source.
func (s *Source[T]) Detail() string { return fmt.Sprintf("splits of %d bytes", s.cfg.SplitBytes) }

// Bounded implements connectors.Source.
func (s *Source[T]) Bounded() bool { return true }

// RowType implements connectors.Source.
func (s *Source[T]) RowType() columnar.RowType { return s.typ }

// enumeratorVersion is the version of the enumerator's state, which is JSON.
const enumeratorVersion = 1

type enumeratorState struct {
	Version int    `json:"version"`
	Files   []file `json:"files"`
}

type file struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

// NewEnumerator implements connectors.Source.
func (s *Source[T]) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if s.err != nil {
		return nil, s.err
	}
	e := &enumerator{cfg: s.cfg}
	if ctx.Restored == nil {
		return e, nil
	}
	var st enumeratorState
	if err := json.Unmarshal(ctx.Restored, &st); err != nil || st.Version != enumeratorVersion {
		return nil, fmt.Errorf("state of source %q is not of version %d: %.60q", s.Name(), enumeratorVersion, ctx.Restored)
	}
	e.files, e.known = st.Files, true
	return e, nil
}

type enumerator struct {
	cfg   SourceConfig
	files []file
	known bool
}

// Discover implements connectors.Enumerator: files are looked up once, with
// the size they have then.
func (e *enumerator) Discover(context.Context) ([]connectors.Split, error) {
	if !e.known {
		paths, err := filepath.Glob(e.cfg.Pattern)
		if err != nil {
			return nil, err
		}
		if len(paths) == 0 {
			return nil, &connectors.FatalError{Code: "LEAT5301", What: fmt.Sprintf("no file matches %q", e.cfg.Pattern), Fix: "correct the pattern, or put the files there before the job starts"}
		}
		slices.Sort(paths)
		for _, p := range paths {
			info, err := os.Stat(p)
			if err != nil {
				return nil, err
			}
			if info.Mode().IsRegular() {
				e.files = append(e.files, file{p, info.Size()})
			}
		}
		e.known = true
	}
	var out []connectors.Split
	for _, f := range e.files {
		for from := int64(0); from < f.Bytes; from += e.cfg.SplitBytes {
			p := position{next: from, end: min(from+e.cfg.SplitBytes, f.Bytes), aligned: from == 0}
			out = append(out, connectors.Split{ID: f.Path + ":" + strconv.FormatInt(from, 10), Position: p.encode()})
		}
	}
	return out, nil
}

// Interval implements connectors.Enumerator.
func (e *enumerator) Interval() time.Duration { return 0 }

// Snapshot implements connectors.Enumerator.
func (e *enumerator) Snapshot() ([]byte, error) {
	if !e.known {
		return nil, nil
	}
	return json.Marshal(enumeratorState{Version: enumeratorVersion, Files: e.files})
}

// Close implements connectors.Enumerator.
func (e *enumerator) Close() error { return nil }

func pathOf(splitID string) string { return splitID[:max(0, strings.LastIndexByte(splitID, ':'))] }
