//go:build !failpoints

package fault

// Enabled says whether the build has failpoints.
const Enabled = false

// Environment returns nothing in this build.
func Environment() map[string]string { return nil }

// Hit does nothing in this build.
func Hit(Point) error { return nil }
