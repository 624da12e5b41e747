// Package codec turns a Go type into a field program once and then encodes,
// decodes and hashes values of it without reflection: column by column for a
// batch on the wire, row by row for a value in state. It is not a format for
// people: see formats/jsonfmt.
package codec
