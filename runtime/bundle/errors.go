package bundle

import (
	"fmt"
	"strings"

	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/runtime/jobview"
)

// Codes of the errors about bundles.
const (
	CodeNotABundle = "LEAT1201" // the file is something else
	CodeTruncated  = "LEAT1202" // bytes are missing or too many
	CodeNoPlatform = "LEAT1203" // no program for the platform
	CodeDamaged    = "LEAT1204" // a checksum does not match
	CodeFormat     = "LEAT1205" // file format too new or too old
	CodeBuild      = "LEAT1206" // go build said no
	CodeNotAJob    = "LEAT1208" // the package is no main, or has no engine
	CodeProtocol   = "LEAT1210" // worker protocol too new or too old
	CodeNotFound   = "LEAT1213" // no such bundle in the store
)

func invalid(code, where, what, why string, fix ...string) *jobview.Error {
	return &jobview.Error{Code: code, What: what, Where: where, Why: why, Fix: fix, Kind: jobview.KindInvalid}
}

const fixRebuild = "build it again: flinkctl bundle build"

func errNotABundle(where string) error {
	return invalid(CodeNotABundle, where, "the file is not a job bundle",
		"it does not start with "+magic, "build one: flinkctl bundle build -o job.bundle ./path/to/main")
}

func errTruncated(where string, have, want int64) error {
	why := fmt.Sprintf("it has %d bytes, its manifest says %d", have, want)
	return invalid(CodeTruncated, where, "the bundle is not whole", why, "copy or upload it again", fixRebuild)
}

func errDamaged(where, why string) error {
	return invalid(CodeDamaged, where, "the bundle is damaged", why, "copy or upload it again", fixRebuild)
}

func errFormat(where string, version int) error {
	if version > FormatVersion {
		return invalid(CodeFormat, where, fmt.Sprintf("the bundle has format %d, this release reads %d", version, FormatVersion),
			"it was built with a newer release", "use flinkctl and a cluster of that release", fixRebuild+" with this one")
	}
	return invalid(CodeFormat, where, fmt.Sprintf("the bundle has format %d, this release reads %d", version, FormatVersion),
		"it was built with a release that is too old", fixRebuild)
}

func errNoPlatform(m *Manifest, platform string) error {
	return invalid(CodeNoPlatform, "", fmt.Sprintf("bundle %q has no %s program", m.Name, platform),
		"it was built for "+strings.Join(m.Platforms(), ", "),
		"flinkctl bundle build --platform "+strings.Join(append(m.Platforms(), platform), ","))
}

func errProtocol(m *Manifest, why string) error {
	return invalid(CodeProtocol, "", fmt.Sprintf("bundle %q speaks worker protocol %d, this cluster %d to %d",
		m.Name, m.Protocol, release.ProtocolMin, release.Protocol), why,
		"build the bundle with engine "+release.Version)
}

func errBundleNotFound(sha string) error {
	return &jobview.Error{Code: CodeNotFound, What: fmt.Sprintf("no bundle %s", sha), Kind: jobview.KindNotFound,
		Why: "it was never uploaded, or was deleted", Fix: []string{"upload it: flinkctl bundle push FILE"}}
}
