package state

import "fmt"

// MismatchError says that a state table holds something else than the
// operator wants; no retry can mend it.
type MismatchError struct {
	Table string
	// Why names both, and what to do.
	Why string
}

// Error implements error.
func (e *MismatchError) Error() string { return fmt.Sprintf("state table %q %s", e.Table, e.Why) }

// CheckDescriptor returns a *MismatchError unless want describes the same
// table as have, which holds data already. Backends call it.
func CheckDescriptor(have, want Descriptor) error {
	if have.Schema != want.Schema {
		return &MismatchError{have.Name, fmt.Sprintf("holds values of schema %q, but the operator wants %q: keep the type, or give the new state another name", have.Schema, want.Schema)}
	}
	if have.Sub != want.Sub || have.Fixed != want.Fixed {
		return &MismatchError{have.Name, fmt.Sprintf("(schema %q) is %s, but the operator (schema %q) wants it to be %s: give the new state another name",
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
