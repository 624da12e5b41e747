package state

import "fmt"

// CheckDescriptor returns an error unless want describes the same table as
// have, which holds data already. Backends call it; the error names both.
func CheckDescriptor(have, want Descriptor) error {
	if have.Schema != want.Schema {
		return fmt.Errorf("state table %q holds values of schema %q, but the operator wants %q: keep the type, or give the new state another name", have.Name, have.Schema, want.Schema)
	}
	if have.Sub != want.Sub || have.Fixed != want.Fixed {
		return fmt.Errorf("state table %q (schema %q) is %s, but the operator (schema %q) wants it to be %s: give the new state another name",
			have.Name, have.Schema, shape(have), want.Schema, shape(want))
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
