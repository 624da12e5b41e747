// Package version tells which build this is. It decides nothing about
// compatibility: protocols and formats carry versions of their own.
package version

import "runtime/debug"

// version is set by the linker for releases.
var version = ""

// String returns the release, or what the module system knows, or "dev".
func String() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
