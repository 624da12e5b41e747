package bundle_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/internal/release"
	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/jobview"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func manifest() bundle.Manifest {
	return bundle.Manifest{Engine: "0.1.0", Protocol: release.Protocol, Name: "fraud", Main: "example.org/fraud", Go: "go1.26.8"}
}

// programs writes stand-ins for executables: some text, some noise.
func programs(t *testing.T, platforms ...string) []bundle.Executable {
	t.Helper()
	dir := t.TempDir()
	var out []bundle.Executable
	for i, p := range platforms {
		goos, arch, _ := strings.Cut(p, "/")
		noise := make([]byte, 2000)
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		for j := range noise {
			noise[j] = byte(rnd.Uint32())
		}
		content := append(bytes.Repeat([]byte("program for "+p+"\n"), 500), noise...)
		path := filepath.Join(dir, goos+"-"+arch)
		if err := os.WriteFile(path, content, 0o700); err != nil {
			t.Fatal(err)
		}
		out = append(out, bundle.Executable{OS: goos, Arch: arch, Path: path})
	}
	return out
}

func write(t *testing.T, platforms ...string) (path, sha string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fraud.bundle")
	sha, err := bundle.Write(path, manifest(), programs(t, platforms...))
	if err != nil {
		t.Fatal(err)
	}
	return path, sha
}

func codeOf(err error) string {
	var e *jobview.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestABundleGivesBackWhatWasPacked(t *testing.T) {
	t.Parallel()
	path, sha := write(t, "linux/arm64", "linux/amd64", "darwin/arm64")
	m, again, err := bundle.Verify(path)
	if err != nil || again != sha {
		t.Fatalf("verified as %s, %v, want %s", again, err, sha)
	}
	if got := strings.Join(m.Platforms(), " "); got != "darwin/arm64 linux/amd64 linux/arm64" {
		t.Errorf("platforms %s", got)
	}
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i, p := range []string{"linux/arm64", "linux/amd64", "darwin/arm64"} {
		dst := filepath.Join(t.TempDir(), "program")
		if err := b.Extract(p, dst); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(dst)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(programs(t, "linux/arm64", "linux/amd64", "darwin/arm64")[i].Path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes differ from the %d packed", p, len(got), len(want))
		}
		if st, err := os.Stat(dst); err != nil || st.Mode().Perm() != 0o555 {
			t.Errorf("%s: mode %v, %v", p, st.Mode(), err)
		}
	}
	dir := t.TempDir()
	if err := b.Extract("plan9/386", filepath.Join(dir, "program")); codeOf(err) != bundle.CodeNoPlatform {
		t.Errorf("a platform that is not there: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEqualInputGivesEqualBytes(t *testing.T) {
	t.Parallel()
	_, one := write(t, "linux/amd64", "darwin/arm64")
	_, two := write(t, "linux/amd64", "darwin/arm64")
	if one != two {
		t.Errorf("%s and %s", one, two)
	}
	ps := programs(t, "linux/amd64", "darwin/arm64")
	slices.Reverse(ps)
	three, err := bundle.Write(filepath.Join(t.TempDir(), "x"), manifest(), ps)
	if err != nil || three != one {
		t.Errorf("in another order: %s, %v, want %s", three, err, one)
	}
}

// TestEveryDamageIsNoticed cuts a bundle at every length and flips a bit in
// every byte: nothing but the original verifies.
func TestEveryDamageIsNoticed(t *testing.T) {
	t.Parallel()
	path, _ := write(t, "linux/amd64")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	verify := func(b []byte) error {
		if err := os.WriteFile(damaged, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := bundle.Verify(damaged)
		return err
	}
	if err := verify(whole); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole); n += 1 + n/40 {
		if c := codeOf(verify(whole[:n])); !slices.Contains([]string{bundle.CodeTruncated, bundle.CodeNotABundle}, c) {
			t.Errorf("cut to %d bytes: code %q", n, c)
		}
	}
	if c := codeOf(verify(append(slices.Clone(whole), 0))); c != bundle.CodeTruncated {
		t.Errorf("with a byte more: code %q", c)
	}
	for i := range whole {
		b := slices.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if c := codeOf(verify(b)); !slices.Contains([]string{bundle.CodeDamaged, bundle.CodeNotABundle, bundle.CodeFormat, bundle.CodeTruncated}, c) {
			t.Errorf("bit %d of byte %d: code %q", i%8, i, c)
		}
	}
}

func TestOtherFilesAndVersionsAreNamed(t *testing.T) {
	t.Parallel()
	path, _ := write(t, "linux/amd64")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer, older := slices.Clone(whole), slices.Clone(whole)
	binary.LittleEndian.PutUint16(newer[8:], bundle.FormatVersion+1)
	binary.LittleEndian.PutUint16(older[8:], 0)
	for name, test := range map[string]struct {
		content []byte
		code    string
		text    string
	}{
		"an executable": {[]byte("\x7fELF and so on, long enough"), bundle.CodeNotABundle, "flinkctl bundle build"},
		"empty":         {nil, bundle.CodeNotABundle, ""},
		"newer":         {newer, bundle.CodeFormat, "newer release"},
		"older":         {older, bundle.CodeFormat, "too old"},
	} {
		p := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(p, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := bundle.Inspect(p)
		var e *jobview.Error
		if !errors.As(err, &e) || e.Code != test.code || !strings.Contains(e.Error()+strings.Join(e.Fix, " "), test.text) || len(e.Fix) == 0 {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProtocolsOfOtherReleasesAreRefused(t *testing.T) {
	t.Parallel()
	for protocol, ok := range map[int]bool{release.Protocol: true, release.Protocol + 1: false, release.ProtocolMin - 1: false} {
		m := manifest()
		m.Protocol = protocol
		if err := m.CheckProtocol(); (err == nil) != ok || !ok && codeOf(err) != bundle.CodeProtocol {
			t.Errorf("protocol %d: %v", protocol, err)
		}
	}
}

// TestGoldenFile reads the file that each format version wrote first.
func TestGoldenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join("testdata", "golden", "v1.bundle")
	if *rewrite {
		if _, err := bundle.Write(path, manifest(), programs(t, "linux/amd64", "linux/arm64")); err != nil {
			t.Fatal(err)
		}
	}
	m, sha, err := bundle.Verify(path)
	if err != nil {
		t.Fatal(err)
	}
	if sha != "b95c88a273e82b014a069c0464c99cb30de9c1671ebf9bcb1d4bf5831684a20c" || m.Name != "fraud" || len(m.Programs) != 2 || m.Created != "1970-01-01T00:00:00Z" {
		t.Errorf("got %s %+v", sha, m)
	}
}

func TestBuildIsReproducible(t *testing.T) {
	t.Parallel()
	host := goruntime.GOOS + "/" + goruntime.GOARCH
	var shas []string
	for _, name := range []string{"a", "b"} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "job.bundle")
		built, err := bundle.Build(t.Context(), bundle.BuildOptions{Dir: "testdata", Package: "./job", Platforms: []string{host, host}, Output: out})
		if err != nil {
			t.Fatal(err)
		}
		if built.Manifest.Name != "job" || built.Manifest.Go != goruntime.Version() || built.Manifest.Engine != release.Version || len(built.Manifest.Programs) != 1 {
			t.Errorf("manifest %+v", built.Manifest)
		}
		shas = append(shas, built.SHA256)
		runExtracted(t, out, host)
	}
	if shas[0] != shas[1] {
		t.Errorf("two builds: %v", shas)
	}
}

// TestAProgramOfAnotherModuleIsBuiltThere: the working directory is in this
// module, the program in one of its own.
func TestAProgramOfAnotherModuleIsBuiltThere(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mod, sum := readFile(t, filepath.Join(root, "go.mod")), readFile(t, filepath.Join(root, "go.sum"))
	other := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": strings.Replace(mod, "module "+release.Module+"\n", "module example.com/other\n", 1) +
			"\nrequire " + release.Module + " v0.0.0\n\nreplace " + release.Module + " => " + root + "\n",
		"go.sum": sum,
		"job/main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t_ \"github.com/leatstream/leat/dataflow\"\n)\n\n" +
			"func main() { fmt.Println(\"packed\") }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(other, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, filepath.Join(other, "job"))
	if err != nil {
		t.Fatal(err)
	}
	host := goruntime.GOOS + "/" + goruntime.GOARCH
	for _, pkg := range []string{filepath.Join(other, "job"), relative} {
		out := filepath.Join(t.TempDir(), "job.bundle")
		built, err := bundle.Build(t.Context(), bundle.BuildOptions{Package: pkg, Platforms: []string{host}, Output: out})
		if err != nil {
			t.Fatalf("%s: %v", pkg, err)
		}
		if built.Manifest.Main != "example.com/other/job" || built.Manifest.Name != "job" {
			t.Errorf("%s: manifest %+v", pkg, built.Manifest)
		}
		runExtracted(t, out, host)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func runExtracted(t *testing.T, path, host string) {
	t.Helper()
	b, err := bundle.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	program := filepath.Join(t.TempDir(), "program")
	if err := b.Extract(host, program); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for range 50 { // a fork elsewhere in this process may keep the file busy
		if out, err = exec.Command(program).Output(); err == nil {
			break
		}
	}
	if err != nil || string(out) != "packed\n" {
		t.Errorf("the program printed %q, %v", out, err)
	}
}

func TestWhatCannotBeBuiltIsSaid(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ pkg, platform, code, text string }{
		{"./nothing", "linux/amd64", bundle.CodeBuild, "nothing"},
		{"./library", "linux/amd64", bundle.CodeNotAJob, "not main"},
		{"./job", "linux", bundle.CodeBuild, "linux/amd64"},
		{"./job", "linux/abacus", bundle.CodeBuild, "abacus"},
	} {
		_, err := bundle.Build(t.Context(), bundle.BuildOptions{Dir: "testdata", Package: test.pkg, Platforms: []string{test.platform}, Output: filepath.Join(t.TempDir(), "x")})
		var e *jobview.Error
		if !errors.As(err, &e) || e.Code != test.code || !strings.Contains(e.Error()+strings.Join(e.Fix, " "), test.text) {
			t.Errorf("%s for %s: got %v", test.pkg, test.platform, err)
		}
	}
}

// FuzzRead: no input makes the reader panic or take memory by a forged
// length; what is accepted has a whole, consistent manifest. Each input is read
// as a bundle, and as a manifest whose frame is right.
func FuzzRead(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "golden", "v1.bundle"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(golden[:40])
	f.Add([]byte("LEATBNDL\x01\x00\x00\x00\xff\xff\xff\xff"))
	f.Add(forge(`{"format":1,"name":"x","programs":[{"os":"linux","arch":"amd64","size":9223372036854775807,"packedSize":1}]}`))
	f.Add([]byte(`{"format":1,"name":"x","programs":[{"os":"linux","arch":"amd64","size":1,"packedSize":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, in := range [][]byte{b, forge(string(b))} {
			got, err := bundle.Read(bytes.NewReader(in), int64(len(in)), "fuzz")
			if err != nil {
				continue
			}
			for _, p := range got.Manifest.Programs {
				if p.Size <= 0 || p.Offset < 0 || p.Offset+p.PackedSize > int64(len(in)) {
					t.Errorf("accepted %+v in %d bytes", p, len(in))
				}
			}
		}
	})
}

func forge(m string) []byte {
	b := []byte("LEATBNDL\x01\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, uint32(len(m)))
	b = append(b, m...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}
