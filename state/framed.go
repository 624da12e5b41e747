package state

import (
	"fmt"
	"strings"
)

// Reframe makes a value in a form of an operator's own anew: it appends old to
// dst with each row in it replaced by what row makes of that. It returns an
// error for a value that is not of the form.
type Reframe func(dst, old []byte, row func(dst, src []byte) ([]byte, error)) ([]byte, error)

// FramedTable is RowTable for values that hold rows of c within a form of the
// operator's own, which form names: the table's schema text is form, then the
// schema of c. A restored table of the same form with rows of an older type is
// rewritten by reframe, as far as c can read them; one of another form is a
// MismatchError.
func FramedTable(b Backend, name, form string, c RowCodec, sub bool, reframe Reframe) (Table, error) {
	d := Descriptor{Name: name, Schema: form + c.Schema(), Sub: sub}
	m, ok := b.(Migrator)
	if !ok {
		return b.Table(d)
	}
	have, ok := m.Restored(name)
	old, same := strings.CutPrefix(have.Schema, form)
	if !ok || have.Schema == d.Schema || !same || have.Sub != sub || have.Fixed != 0 {
		return b.Table(d)
	}
	rows, err := rowsOf(c, old)
	if err != nil {
		return nil, &MismatchError{Table: name, Why: fmt.Sprintf("holds rows of schema %q, the operator wants %q: %v", old, c.Schema(), err)}
	}
	var buf []byte
	rewrite := func(sub, val []byte) (_, _ []byte, err error) {
		buf, err = reframe(buf[:0], val, rows.whole)
		return sub, buf, err
	}
	if err := m.Migrate(d, rewrite); err != nil {
		return nil, fmt.Errorf("rewriting state %q of %q as %q: %w", name, have.Schema, d.Schema, err)
	}
	return b.Table(d)
}
