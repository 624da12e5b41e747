// Package csvfmt reads and writes records as lines of comma-separated values
// (RFC 4180), compiled for a Go struct. Fields are found by the header line of
// a file, or by their order (NoHeader). It is as strict as encoding/csv: a
// quote stands at the beginning of a field or is doubled within a quoted one.
//
//   - Columns have the names that fields have in JSON: the json tag, else the
//     Go name. A column that no field is for is skipped; a field that has no
//     column is an error, unless it can be null or its tag says omitempty or
//     omitzero.
//   - int64 fields tagged leat:"decimal=N" are exact decimals, and those tagged
//     leat:"time=millis" are times, both written as in JSON without quotes.
//   - A pointer is null where an unquoted field is the null text, by default an
//     empty one. Other fields are never null: an empty number is an error.
//   - Bytes are base64. Types that read and write themselves as text do so.
//   - Line feeds within quotes are refused unless QuotedLines is given.
//
// Invalid UTF-8 in strings is replaced by U+FFFD. A struct within the struct
// has no column of its own: embed it, or write JSON.
package csvfmt
