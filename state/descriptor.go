package state

import (
	"errors"
	"fmt"
)

// MismatchError says that a state table holds something else than the
// operator wants; no retry can mend it.
type MismatchError struct {
	// Operator is the UID, "" when it is not known.
	Operator string
	// Table is the name of the state.
	Table string
	// Why names both, and what to do.
	Why string
}

// Error implements error.
func (e *MismatchError) Error() string {
	if e.Operator != "" {
		return fmt.Sprintf("state table %q of operator %q %s", e.Table, e.Operator, e.Why)
	}
	return fmt.Sprintf("state table %q %s", e.Table, e.Why)
}

// named adds the name of a state to an error that does not have it.
func named(name string, err error) error {
	var m *MismatchError
	if errors.As(err, &m) {
		return m
	}
	return fmt.Errorf("state %q: %w", name, err)
}

// NameOperator makes a *MismatchError in err name the operator.
func NameOperator(err error, uid string) error {
	var m *MismatchError
	if errors.As(err, &m) && m.Operator == "" {
		m.Operator = uid
	}
	return err
}

// CheckDescriptor returns a *MismatchError unless want describes the same
// table as have, which holds data already. Backends call it.
func CheckDescriptor(have, want Descriptor) error {
	if have.Schema != want.Schema {
		return &MismatchError{Table: have.Name, Why: fmt.Sprintf("holds values of schema %q, but the operator wants %q: keep the type, or give the new state another name", have.Schema, want.Schema)}
	}
	if have.Sub != want.Sub || have.Fixed != want.Fixed {
		return &MismatchError{Table: have.Name, Why: fmt.Sprintf("(schema %q) is %s, but the operator (schema %q) wants it to be %s: give the new state another name",
			have.Schema, shape(have), want.Schema, shape(want))}
	}
	return nil
}

func shape(d Descriptor) string {
	switch {
	case d.Sub:
		return "a map under each key"
	case d.Fixed > 0:
		return fmt.Sprintf("values of %d bytes", d.Fixed)
	}
	return "values of any size"
}
