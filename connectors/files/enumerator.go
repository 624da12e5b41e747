package files

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/files/internal/depot"
)

// enumeratorVersion is the version of the enumerator's state, which is JSON.
// Version 1 knows paths and sizes only.
const enumeratorVersion = 2

type enumeratorState struct {
	Version int    `json:"version"`
	Files   []file `json:"files"`
}

// file is a file that was found.
type file struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	Tag   string `json:"tag,omitempty"`
	// Split is the size of the file's splits, decided when it was found; 0: it
	// is one split.
	Split  int64 `json:"split,omitempty"`
	Packed bool  `json:"packed,omitempty"`
	// Unknown says that only its size is known: version 1 named it.
	Unknown bool `json:"unknown,omitempty"`
}

// NewEnumerator implements connectors.Source.
func (s *Source[T]) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if s.err != nil {
		return nil, s.err
	}
	dec, err := s.dec()
	if err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	d, err := depotOf(s.cfg.Pattern, s.cfg.S3, ctx.Clock)
	if err != nil {
		return nil, err
	}
	e := &enumerator{cfg: s.cfg, depot: d, whole: joinerOf(dec) != nil, byPath: make(map[string]int)}
	if ctx.Restored == nil {
		return e, nil
	}
	var st enumeratorState
	if err := json.Unmarshal(ctx.Restored, &st); err != nil || st.Version < 1 || st.Version > enumeratorVersion {
		return nil, fmt.Errorf("state of source %q is not of version %d: %.60q", s.Name(), enumeratorVersion, ctx.Restored)
	}
	for _, f := range st.Files {
		if st.Version == 1 {
			f.Unknown, f.Split = true, s.cfg.SplitBytes
		}
		e.add(f)
	}
	e.known = true
	return e, nil
}

type enumerator struct {
	cfg    SourceConfig
	depot  depot.Depot
	whole  bool // a file is one split
	files  []file
	byPath map[string]int
	known  bool
}

func (e *enumerator) add(f file) {
	e.byPath[f.Path] = len(e.files)
	e.files = append(e.files, f)
}

// Discover implements connectors.Enumerator: a file has the size that it had
// when it was found first.
func (e *enumerator) Discover(ctx context.Context) ([]connectors.Split, error) {
	if !e.known || e.cfg.Interval > 0 {
		if err := e.look(ctx); err != nil {
			return nil, err
		}
	}
	var out []connectors.Split
	for i := range e.files {
		out = e.files[i].splits(out)
	}
	return out, nil
}

// look adds the files that are new.
func (e *enumerator) look(ctx context.Context) error {
	found, err := e.depot.Find(ctx, e.cfg.Pattern)
	if err != nil {
		return err
	}
	if len(found) == 0 && e.cfg.Interval == 0 {
		return &connectors.FatalError{Code: "LEAT5301", What: fmt.Sprintf("no file matches %q", e.cfg.Pattern), Fix: "correct the pattern, or put the files there before the job starts"}
	}
	for _, f := range found {
		if i, ok := e.byPath[f.Path]; ok {
			was := &e.files[i]
			if !was.Unknown && (was.Bytes != f.Bytes || was.Tag != f.Tag) {
				return changed(f.Path, fmt.Sprintf("it had %d bytes%s and has %d%s", was.Bytes, tagText(was.Tag), f.Bytes, tagText(f.Tag)))
			}
			continue
		}
		if len(e.files) == e.cfg.FilesMax {
			return &connectors.FatalError{
				Code: "LEAT5310", What: fmt.Sprintf("%q matches more than %d files", e.cfg.Pattern, e.cfg.FilesMax), Why: "all files that were read stay in the state of the source",
				Fix: "raise FilesMax, which costs some 200 bytes of each checkpoint for a file; or start anew with a narrower pattern",
			}
		}
		e.add(e.file(f))
	}
	e.known = true
	return nil
}

func tagText(tag string) string {
	if tag == "" {
		return ""
	}
	return " (tag " + tag + ")"
}

// file decides how a file is cut.
func (e *enumerator) file(f depot.Info) file {
	out := file{Path: f.Path, Bytes: f.Bytes, Tag: f.Tag, Packed: e.cfg.Compression.packed(f.Path), Split: e.cfg.SplitBytes}
	if out.Packed || e.whole {
		out.Split = 0
	}
	return out
}

// splits appends the splits of f.
func (f *file) splits(out []connectors.Split) []connectors.Split {
	size := f.Split
	if size == 0 {
		size = max(1, f.Bytes)
	}
	for from := int64(0); from < f.Bytes; from += size {
		p := position{
			next: from, end: min(from+size, f.Bytes), aligned: from == 0, packed: f.Packed,
			identified: !f.Unknown, size: f.Bytes, tag: f.Tag,
		}
		if f.Packed {
			p.end = math.MaxInt64
		}
		out = append(out, connectors.Split{ID: f.Path + ":" + strconv.FormatInt(from, 10), Position: p.encode()})
	}
	return out
}

// Interval implements connectors.Enumerator.
func (e *enumerator) Interval() time.Duration { return e.cfg.Interval }

// Snapshot implements connectors.Enumerator.
func (e *enumerator) Snapshot() ([]byte, error) {
	if !e.known {
		return nil, nil
	}
	return json.Marshal(enumeratorState{Version: enumeratorVersion, Files: e.files})
}

// Close implements connectors.Enumerator.
func (e *enumerator) Close() error { return e.depot.Close() }

func pathOf(splitID string) string { return splitID[:max(0, strings.LastIndexByte(splitID, ':'))] }
