// Package release names this release of the engine and the versions of the
// protocols it speaks. It holds no build information of other modules.
package release

const (
	// Version is the engine's version, as in tags, REST and --version.
	Version = "0.1.0"
	// Protocol is the version of proto/control/v1 that this release speaks.
	Protocol = 1
	// ProtocolMin is the oldest one that it still accepts from a bundle.
	ProtocolMin = 1
	// Module is the engine's module path, by which bundles are recognised.
	Module = "github.com/leatstream/leat"
)
