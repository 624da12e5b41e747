package csvfmt

import (
	"errors"
	"fmt"
	"strings"
)

// Option changes how records are written and read. Give an encoder and the
// decoder of what it wrote the same ones.
type Option func(*config)

type config struct {
	delimiter, quote byte
	null             string
	noHeader         bool
	quotedLines      bool
	rejectUnknown    bool
	// sparesNumbers says that numbers and times hold neither delimiter nor
	// quote, so that nobody needs to look.
	sparesNumbers bool
}

// Delimiter sets the byte between fields; a comma without it.
func Delimiter(b byte) Option { return func(c *config) { c.delimiter = b } }

// Quote sets the byte around fields that hold a delimiter or a quote; a double
// quote without it. 0: there are no quotes, and no field can hold a delimiter.
func Quote(b byte) Option { return func(c *config) { c.quote = b } }

// Null sets the text of a field that is null, when it stands without quotes;
// an empty one without it.
func Null(text string) Option { return func(c *config) { c.null = text } }

// NoHeader says that files begin with their first record, and that columns are
// the fields of the struct in their order. Records outside of files (Kafka)
// need it.
func NoHeader() Option { return func(c *config) { c.noHeader = true } }

// QuotedLines allows line feeds within quotes. A file of such records is read
// by one subtask from its beginning to its end: from the middle nobody can
// tell a line feed within quotes from one between records.
func QuotedLines() Option { return func(c *config) { c.quotedLines = true } }

// RejectUnknown makes a column that no field is for an error; without it such
// columns are skipped.
func RejectUnknown() Option { return func(c *config) { c.rejectUnknown = true } }

func configOf(opts []Option) (config, error) {
	c := config{delimiter: ',', quote: '"'}
	for _, o := range opts {
		o(&c)
	}
	const inNumbers = "0123456789+-.:/=" // and letters
	c.sparesNumbers = !strings.ContainsAny(inNumbers, string([]byte{c.delimiter, c.quote})) && !letter(c.delimiter) && !letter(c.quote)
	return c, c.validate()
}

func (c *config) validate() error {
	var errs []error
	if !separates(c.delimiter) {
		errs = append(errs, fmt.Errorf("csvfmt: delimiter %q: take one byte of ASCII that is no line end", c.delimiter))
	}
	if c.quote != 0 && !separates(c.quote) {
		errs = append(errs, fmt.Errorf("csvfmt: quote %q: take one byte of ASCII that is no line end, or 0 for none", c.quote))
	}
	if c.quote == c.delimiter {
		errs = append(errs, fmt.Errorf("csvfmt: quote and delimiter are both %q: take two", c.quote))
	}
	if c.quote == 0 && c.quotedLines {
		errs = append(errs, errors.New("csvfmt: quoted line feeds without quotes: leave out QuotedLines, or set a quote"))
	}
	for i := range len(c.null) {
		if b := c.null[i]; b == c.delimiter || b == '\n' || b == '\r' || b == c.quote && b != 0 {
			errs = append(errs, fmt.Errorf("csvfmt: null text %q holds a delimiter, a quote or a line end: take another", c.null))
			break
		}
	}
	return errors.Join(errs...)
}

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

func separates(b byte) bool { return b != 0 && b < 0x80 && b != '\n' && b != '\r' }
