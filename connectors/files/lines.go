package files

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// errEnd says that the next line belongs to another split.
var errEnd = errors.New("end of split")

// lines reads the lines that begin within a range of a file.
type lines struct {
	path string
	file *os.File
	in   *bufio.Reader
	at   position
	most int
	buf  []byte // a line longer than in's buffer
}

func openLines(path string, at position, lineBytesMax int) (*lines, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	l := &lines{path: path, file: f, in: bufio.NewReaderSize(f, 64<<10), at: at, most: lineBytesMax}
	if err := l.align(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// align goes to the start of the first line at or after the position. The
// byte before tells whether the position is one.
func (l *lines) align() error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < l.at.end {
		return fmt.Errorf("%s has %d bytes, less than the %d it had when the job began", l.path, info.Size(), l.at.end)
	}
	if l.at.aligned {
		_, err := l.file.Seek(l.at.next, io.SeekStart)
		return err
	}
	if _, err := l.file.Seek(l.at.next-1, io.SeekStart); err != nil {
		return err
	}
	l.at.next--
	if l.at.next >= l.at.end {
		return nil
	}
	_, err = l.read()
	l.at.aligned = true
	return err
}

// next returns the next line, without its end, and where it begins. It is
// valid until the next call.
func (l *lines) next() ([]byte, int64, error) {
	if l.at.next >= l.at.end {
		return nil, 0, errEnd
	}
	from := l.at.next
	line, err := l.read()
	if err != nil {
		return nil, from, err
	}
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, from, nil
}

// read reads through the next line feed or to the end of the file.
func (l *lines) read() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		l.at.next += int64(len(part))
		if err == nil && len(l.buf) == 0 {
			return part, nil
		}
		l.buf = append(l.buf, part...)
		switch {
		case len(l.buf) > l.most:
			return nil, fmt.Errorf("%s: the line before byte %d is longer than %d bytes: raise LineBytesMax", l.path, l.at.next, l.most)
		case err == nil, errors.Is(err, io.EOF):
			return l.buf, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

func (l *lines) position() position { return l.at }

func (l *lines) close() { _ = l.file.Close() } // only read from
