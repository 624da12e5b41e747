// Package jsonfmt reads and writes records as JSON texts (RFC 8259), compiled
// for a Go type. It follows encoding/json where that has a rule; the
// differences are:
//
//   - Names are matched exactly, never without regard to case.
//   - A text that is null, an empty value and a missing value are errors.
//   - An array with more elements than the Go array is an error.
//   - Of a name that occurs twice in an object, the last one wins.
//   - Strings are written without HTML escapes.
//   - int64 fields tagged leat:"decimal=N" are exact decimals, and those
//     tagged leat:"time=millis" are times.
//
// Invalid UTF-8 in strings is replaced by U+FFFD, as encoding/json does. The
// package does not infer schemas and does not read a stream of many texts.
package jsonfmt
