package bundle

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/leatstream/leat/internal/release"
)

// FormatVersion is the version of the bundle file that this release writes
// and the only one that it reads so far.
const FormatVersion = 1

// Limits of a bundle; what is beyond them is refused as damaged.
const (
	// ManifestMax bounds the manifest's bytes.
	ManifestMax = 1 << 20
	// ProgramsMax bounds the programs of a bundle: there are not more
	// platforms.
	ProgramsMax = 64
	// ProgramMax bounds one executable, so that a forged size cannot fill a
	// disk before the checksum is seen.
	ProgramMax = 4 << 30
)

// createdFixed stands for the time of creation: a bundle is a function of its
// sources alone, so no clock goes into it.
const createdFixed = "1970-01-01T00:00:00Z"

// Manifest says what a bundle holds. It is JSON in the file.
type Manifest struct {
	Format int `json:"format"`
	// Engine is the version of the engine that the programs are linked with.
	Engine string `json:"engine"`
	// Protocol is the version of the worker protocol that they speak.
	Protocol int    `json:"protocol"`
	Name     string `json:"name"`
	// Main is the import path of the main package.
	Main     string    `json:"main"`
	Go       string    `json:"go"`
	Created  string    `json:"created"`
	Programs []Program `json:"programs"`
}

// Program is the executable for one platform.
type Program struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	SHA256 string `json:"sha256"` // of the executable
	Size   int64  `json:"size"`   // of the executable
	// Offset counts from the end of the header; PackedSize bytes there are
	// one zstd frame with the executable, PackedSHA256 their sum.
	Offset       int64  `json:"offset"`
	PackedSize   int64  `json:"packedSize"`
	PackedSHA256 string `json:"packedSha256"`
}

// Platform returns "linux/amd64".
func (p Program) Platform() string { return p.OS + "/" + p.Arch }

// Platforms lists the platforms that the bundle has a program for.
func (m *Manifest) Platforms() []string {
	out := make([]string, len(m.Programs))
	for i, p := range m.Programs {
		out[i] = p.Platform()
	}
	return out
}

// Program returns the program for a platform ("linux/amd64"), or LEAT1203.
func (m *Manifest) Program(platform string) (Program, error) {
	i := slices.IndexFunc(m.Programs, func(p Program) bool { return p.Platform() == platform })
	if i < 0 {
		return Program{}, errNoPlatform(m, platform)
	}
	return m.Programs[i], nil
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidSHA256 reports whether s has the form of a bundle's identity.
func ValidSHA256(s string) bool { return hexSum.MatchString(s) }

// payloadSize is the length of everything behind the header.
func (m *Manifest) payloadSize() int64 {
	var n int64
	for _, p := range m.Programs {
		n += p.PackedSize
	}
	return n
}

func (m *Manifest) validate() error {
	switch {
	case m.Format != FormatVersion:
		return fmt.Errorf("format %d in the manifest, %d in the header", m.Format, FormatVersion)
	case m.Name == "":
		return fmt.Errorf("no name")
	case len(m.Programs) == 0 || len(m.Programs) > ProgramsMax:
		return fmt.Errorf("%d programs, want 1 to %d", len(m.Programs), ProgramsMax)
	}
	var at int64
	seen := make(map[string]bool, len(m.Programs))
	for _, p := range m.Programs {
		if err := p.validate(at); err != nil {
			return fmt.Errorf("program %s: %w", p.Platform(), err)
		}
		if seen[p.Platform()] {
			return fmt.Errorf("program %s: listed twice", p.Platform())
		}
		seen[p.Platform()] = true
		at += p.PackedSize
	}
	return nil
}

func (p Program) validate(at int64) error {
	switch {
	case p.OS == "" || p.Arch == "" || strings.ContainsAny(p.OS+p.Arch, "/\\ "):
		return fmt.Errorf("no valid platform")
	case p.Offset != at:
		return fmt.Errorf("offset %d, want %d", p.Offset, at)
	case p.Size <= 0 || p.Size > ProgramMax:
		return fmt.Errorf("size %d is not between 1 and %d", p.Size, int64(ProgramMax))
	case p.PackedSize <= 0 || p.PackedSize > ProgramMax:
		return fmt.Errorf("packed size %d is not between 1 and %d", p.PackedSize, int64(ProgramMax))
	case !ValidSHA256(p.SHA256) || !ValidSHA256(p.PackedSHA256):
		return fmt.Errorf("sha256 is not 64 hexadecimal digits")
	}
	return nil
}

// CheckProtocol tells whether this release can run the bundle's programs.
func (m *Manifest) CheckProtocol() error {
	if m.Protocol > release.Protocol {
		return errProtocol(m, "it was built with a newer release than the cluster's")
	}
	if m.Protocol < release.ProtocolMin {
		return errProtocol(m, "it was built with a release that is too old for this cluster")
	}
	return nil
}

func (m *Manifest) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("bundle manifest: %w", err)
	}
	if len(b) > ManifestMax {
		return nil, fmt.Errorf("bundle manifest has %d bytes, more than %d", len(b), ManifestMax)
	}
	return b, nil
}
