package formats

// FileEncoder is implemented by encoders that say how a file of their records
// is named and how it begins.
type FileEncoder interface {
	// Extension is that of the file's name, with the dot (".csv").
	Extension() string
	// AppendHeader appends what stands before the first record of each file,
	// without the line feed; nothing: a file begins with its first record.
	AppendHeader(dst []byte) []byte
}

// HeaderDecoder is implemented by decoders of files whose first line says what
// stands in the others.
type HeaderDecoder interface {
	// HasHeader reports whether each file begins with such a line.
	HasHeader() bool
	// ReadHeader takes the first line of the file whose records follow, without
	// the line feed. It is borrowed. An error rejects the whole file.
	ReadHeader(line []byte) error
}

// LineJoiner is implemented by decoders whose records may go over several
// lines. A file of them can be read from its beginning only: where a record
// begins cannot be seen from the middle.
type LineJoiner interface {
	// JoinsLines reports whether records may go over several lines.
	JoinsLines() bool
	// GoesOn reports whether the record is not at its end after a line, given
	// without its line feed, and whether it was not before.
	GoesOn(line []byte, before bool) bool
}

// FramingError is a fault of a record after which nobody can tell where the
// next one begins: a file is not read on after it, even where records that
// cannot be decoded are set aside.
type FramingError struct {
	// What is wrong, as a sentence without a full stop.
	What string
	// Fix is what a person can do about it.
	Fix string
}

// Error implements error.
func (e *FramingError) Error() string { return e.What }
