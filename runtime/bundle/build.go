package bundle

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/leatstream/leat/internal/release"
)

// compilerTextMax bounds what is kept of the compiler's messages.
const compilerTextMax = 16 << 10

// BuildOptions says what to build.
type BuildOptions struct {
	// Dir is where the go command runs; empty: the current directory.
	Dir string
	// Package is the main package: an import path, or the path of a folder
	// ("." or "./cmd/fraud"), which may lie in another module than Dir.
	Package string
	// Name of the job; empty: the last element of the package's path.
	Name string
	// Platforms as "linux/amd64"; empty: linux/amd64.
	Platforms []string
	// Output is the bundle file to write.
	Output string
}

// Built is the outcome of Build.
type Built struct {
	Manifest Manifest
	SHA256   string
	Size     int64
}

// Build compiles a main package for each platform and packs the bundle. The
// same sources, toolchain and release give the same bytes on every machine.
func Build(ctx context.Context, o BuildOptions) (Built, error) {
	if len(o.Platforms) == 0 {
		o.Platforms = []string{"linux/amd64"}
	}
	at := locate(o)
	pkg, err := describe(ctx, o, at)
	if err != nil {
		return Built{}, err
	}
	tmp, err := os.MkdirTemp("", "leat-build-")
	if err != nil {
		return Built{}, fmt.Errorf("building bundle: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // scratch
	platforms := slices.Compact(slices.Sorted(slices.Values(o.Platforms)))
	var programs []Executable
	for _, p := range platforms {
		e, err := compile(ctx, o, at, p, tmp)
		if err != nil {
			return Built{}, err
		}
		programs = append(programs, e)
	}
	m, err := manifestOf(o, pkg, programs[0].Path)
	if err != nil {
		return Built{}, err
	}
	return writeBuilt(o, m, programs)
}

func writeBuilt(o BuildOptions, m Manifest, programs []Executable) (Built, error) {
	sha, err := Write(o.Output, m, programs)
	if err != nil {
		return Built{}, err
	}
	b, err := Open(o.Output)
	if err != nil {
		return Built{}, err
	}
	return Built{Manifest: b.Manifest, SHA256: sha, Size: b.Size}, b.Close()
}

// place is where the go command runs, and how the package is named there.
type place struct{ dir, pkg string }

// locate has a folder built from within: its module, not that of the working
// directory, says which releases are built in.
func locate(o BuildOptions) place {
	p := o.Package
	isPath := filepath.IsAbs(p) || p == "." || p == ".." || strings.HasPrefix(p, "./") || strings.HasPrefix(p, "../")
	if !isPath {
		return place{dir: o.Dir, pkg: p}
	}
	dir := p
	if !filepath.IsAbs(p) {
		dir = filepath.Join(o.Dir, p)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return place{dir: o.Dir, pkg: p} // the go command says what is wrong
	}
	return place{dir: dir, pkg: "."}
}

type goPackage struct {
	ImportPath string
	Name       string
}

func describe(ctx context.Context, o BuildOptions, at place) (goPackage, error) {
	out, err := goCommand(ctx, at.dir, nil, "list", "-find", "-json=ImportPath,Name", at.pkg)
	if err != nil {
		return goPackage{}, invalid(CodeBuild, o.Package, "the package cannot be found", err.Error(),
			"name a main package of a Go module, such as ./cmd/myjob")
	}
	var p goPackage
	dec := json.NewDecoder(bytes.NewReader(out))
	if err := dec.Decode(&p); err != nil {
		return goPackage{}, fmt.Errorf("building bundle: output of go list: %w", err)
	}
	if dec.More() {
		return goPackage{}, invalid(CodeNotAJob, o.Package, "the pattern names several packages", "",
			"name one main package")
	}
	if p.Name != "main" {
		return goPackage{}, invalid(CodeNotAJob, o.Package, fmt.Sprintf("package %s is not a program", p.ImportPath),
			"its name is "+p.Name+", not main", "name the package that calls launch.Main")
	}
	return p, nil
}

func compile(ctx context.Context, o BuildOptions, at place, platform, tmp string) (Executable, error) {
	goos, goarch, ok := strings.Cut(platform, "/")
	if !ok || goos == "" || goarch == "" {
		return Executable{}, invalid(CodeBuild, "", fmt.Sprintf("%q is not a platform", platform), "",
			"write it as linux/amd64")
	}
	out := filepath.Join(tmp, goos+"-"+goarch)
	env := []string{"GOOS=" + goos, "GOARCH=" + goarch, "CGO_ENABLED=0"}
	_, err := goCommand(ctx, at.dir, env, "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid=", "-o", out, at.pkg)
	if err != nil {
		return Executable{}, invalid(CodeBuild, o.Package, "the program does not build for "+platform, err.Error(),
			"make `go build "+o.Package+"` pass with CGO_ENABLED=0")
	}
	return Executable{OS: goos, Arch: goarch, Path: out}, nil
}

// manifestOf reads what was built: the toolchain and the engine's version
// are those of the program, not of the tool that packs it.
func manifestOf(o BuildOptions, pkg goPackage, program string) (Manifest, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return Manifest{}, fmt.Errorf("building bundle: %w", err)
	}
	engine, ok := engineVersion(info)
	if !ok {
		return Manifest{}, invalid(CodeNotAJob, o.Package, fmt.Sprintf("program %s has no engine in it", pkg.ImportPath),
			"it does not import "+release.Module, "call launch.Main from its main function")
	}
	name := o.Name
	if name == "" {
		name = path.Base(pkg.ImportPath)
	}
	return Manifest{
		Engine: engine, Protocol: release.Protocol,
		Name: name, Main: pkg.ImportPath, Go: info.GoVersion,
	}, nil
}

func engineVersion(info *debug.BuildInfo) (string, bool) {
	if info.Main.Path == release.Module {
		return release.Version, true
	}
	for _, d := range info.Deps {
		if d.Path != release.Module {
			continue
		}
		if d.Replace != nil || d.Version == "" || d.Version == "(devel)" {
			return release.Version, true
		}
		return strings.TrimPrefix(d.Version, "v"), true
	}
	return "", false
}

// goCommand runs the go tool; its error is what the tool printed.
func goCommand(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	text := strings.TrimSpace(stderr.String())
	if len(text) > compilerTextMax {
		text = text[:compilerTextMax] + " … (cut)"
	}
	if text == "" {
		return nil, fmt.Errorf("go %s: %w", args[0], err)
	}
	return nil, errors.New(text)
}
