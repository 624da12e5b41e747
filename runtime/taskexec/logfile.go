package taskexec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Limits of logs.
const (
	// logSegmentMax bounds one file of a log; two are kept.
	logSegmentMax = 16 << 20
	// logReadMax bounds the answer to one ReadLog.
	logReadMax = 1 << 20
	// tailMax bounds what is kept of stderr for the report of an exit.
	tailMax = 8 << 10
)

// LogFile is a log that keeps its newest bytes in two files of bounded size.
// Offsets count from the log's beginning and stay valid when old bytes go. It
// is safe for concurrent use.
type LogFile struct {
	path string
	max  int64

	mu      sync.Mutex
	current *os.File // guarded by mu; nil once closed
	start   int64    // guarded by mu; offset of the current file
	size    int64    // guarded by mu; offset of the end
	oldSize int64    // guarded by mu; bytes of the file before
}

var _ io.Writer = (*LogFile)(nil)

// OpenLog begins a log at path; what an earlier process left there becomes
// its older file.
func OpenLog(path string) (*LogFile, error) {
	l := &LogFile{path: path, max: logSegmentMax}
	if st, err := os.Stat(path); err == nil && st.Size() > 0 {
		if err := os.Rename(path, l.oldPath()); err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		l.oldSize, l.start, l.size = st.Size(), st.Size(), st.Size()
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	l.current = f
	return l, nil
}

func (l *LogFile) oldPath() string { return l.path + ".1" }

// Write implements io.Writer. A disk that is full costs the log, not the
// worker: what cannot be written is dropped.
func (l *LogFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return len(p), nil
	}
	if l.size-l.start >= l.max {
		l.rotateLocked()
	}
	n, err := l.current.Write(p)
	l.size += int64(n)
	if err != nil {
		return len(p), nil
	}
	return n, nil
}

// rotateLocked keeps the current file as the older one. If that fails the
// current one is emptied: the bound holds in any case.
func (l *LogFile) rotateLocked() {
	l.oldSize = 0
	f, err := os.OpenFile(l.path+".new", os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err == nil {
		err = os.Rename(l.path, l.oldPath())
	}
	if err != nil {
		if f != nil {
			_ = f.Close() // empty
		}
		if l.current.Truncate(0) == nil {
			_, _ = l.current.Seek(0, io.SeekStart)
		}
		l.start = l.size
		return
	}
	_ = l.current.Close() // written; an error could only be shown in itself
	_ = os.Rename(l.path+".new", l.path)
	l.oldSize, l.start, l.current = l.size-l.start, l.size, f
}

// ReadAt returns up to limit bytes from offset; a negative offset counts from
// the end. first is the offset of the data: later than asked for when the
// beginning is gone. size is the offset of the end.
func (l *LogFile) ReadAt(offset, limit int64) (data []byte, first, size int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit <= 0 || limit > logReadMax {
		limit = logReadMax
	}
	if offset < 0 {
		offset += l.size
	}
	first = min(max(offset, l.start-l.oldSize, 0), l.size)
	data = make([]byte, min(limit, l.size-first))
	n := 0
	if first < l.start {
		n, err = l.readFile(l.oldPath(), data[:min(int64(len(data)), l.start-first)], first-(l.start-l.oldSize))
	}
	if err == nil && n < len(data) {
		var m int
		m, err = l.readFile(l.path, data[n:], first+int64(n)-l.start)
		n += m
	}
	return data[:n], first, l.size, err
}

func (l *LogFile) readFile(path string, p []byte, at int64) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("log: %w", err)
	}
	n, err := f.ReadAt(p, at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, errors.Join(err, f.Close())
}

// Close ends writing; the log can still be read.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return nil
	}
	err := l.current.Close()
	l.current = nil
	return err
}

// remove deletes the log's files.
func (l *LogFile) remove() error {
	err := l.Close()
	for _, p := range []string{l.path, l.oldPath()} {
		if e := os.Remove(p); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// tail keeps the last tailMax bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte // guarded by mu
}

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailMax; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
