// Package cepop finds patterns in the rows of each key: it compiles a pattern
// to an automaton, keeps the partial matches of a key, and emits those that
// become whole. Clocks, watermarks and state are in the operator; the
// automaton and its matcher are pure. How programs write patterns is not
// here: see stream/cep.
//
// # How it works
//
// A pattern becomes one position for each event that it may take: repetitions
// are unrolled, one without end loops on its last position. Edges between
// positions carry all rules about what may lie between two taken events, so
// that a partial match is no more than the position it is at and the set of
// edges that are still open (a Glushkov automaton with guards).
//
// Partial matches share what they have in common: the events, and their
// beginnings, as a tree whose leaves they are. This is the shared match
// buffer of J. Agrawal, Y. Diao, D. Gyllstrom and N. Immerman, "Efficient
// Pattern Matching over Event Streams" (SIGMOD 2008), with a node for each
// beginning in place of versioned links: a node has one parent, so no version
// is needed to find the way back.
package cepop
