//go:build !failpoints

package fault

// Enabled says whether the build has failpoints.
const Enabled = false

// Hit does nothing in this build.
func Hit(Point) error { return nil }
