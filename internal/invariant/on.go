//go:build invariants

package invariant

// Enabled is a constant, so that what is only for such builds is left out of
// others.
const Enabled = true
