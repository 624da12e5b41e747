// Package invariant says whether this is a build that checks itself, which the
// tag invariants makes: memory that was given up is overwritten, and its use is
// a panic. It is not for checks that cost little: those are always made.
package invariant
