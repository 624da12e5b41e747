// Package memstate is the state backend that keeps everything in memory:
// keys and values encoded in byte pages without pointers, found by an
// open-addressing index of integers, so that the garbage collector sees a few
// thousand objects where a Go map would show it millions. It is not for state
// larger than memory and writes no file of its own: snapshots go to where the
// caller says, in the form of state/statefile.
//
// How the parts lie on each other: a Backend holds tables, a table holds one
// space for each namespace, a space holds an index (tags and references) and
// a store (pages of entries). A snapshot shares the stores' pages; a page that
// an unreleased snapshot shares is copied before it is next written. The
// index is never shared, because pages can be read without it.
package memstate
