// Package cases_test runs published cases: programs in words with their input
// and the output that Apache Flink or Apache Kafka Streams documents for them,
// one file each, and own cases of the same form in testdata. It holds tests
// only. To add a program, add it to the programs of its file's folder.
package cases_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	// envCases names the folder of the published cases, with the folders
	// datastream and kstreams in it.
	envCases = "LEAT_CASES"
	// casesDefault lies beside the clone.
	casesDefault = "../../../shared/cases"
)

// program runs a case and compares what comes out with what the case expects.
type program func(t *testing.T, c *file)

// folders are the folders of published cases with the programs of their files.
func folders() map[string]map[string]program {
	return map[string]map[string]program{
		"datastream": datastreamPrograms(),
		"kstreams":   kstreamsPrograms(),
	}
}

// notYet lists the files that have no program yet: there is none.
func notYet() []string {
	return nil
}

// TestPublished runs every published case, or says loudly that it did not.
func TestPublished(t *testing.T) {
	t.Parallel()
	root := os.Getenv(envCases)
	given := root != ""
	if !given {
		root = casesDefault
	}
	if _, err := os.Stat(root); err != nil {
		if given {
			t.Fatalf("%s: %v", envCases, err)
		}
		t.Skipf("NOT TESTED: the published cases: %s is not set and %s does not exist", envCases, root)
	}
	for folder, programs := range folders() {
		files, err := caseFiles(filepath.Join(root, folder))
		if err != nil {
			t.Fatal(err)
		}
		runFolder(t, folder, files, programs)
	}
}

// TestOwn runs the cases in testdata.
func TestOwn(t *testing.T) {
	t.Parallel()
	files, err := caseFiles("testdata")
	if err != nil {
		t.Fatal(err)
	}
	runFolder(t, "own", files, ownPrograms())
}

// runFolder runs the cases of a folder. A file without a program, a program
// without a file and a file that waits without need are failures.
func runFolder(t *testing.T, folder string, files map[string]*file, programs map[string]program) {
	t.Helper()
	for _, fault := range uncovered(folder, slices.Collect(maps.Keys(files)), slices.Collect(maps.Keys(programs)), notYet()) {
		t.Error(fault)
	}
	for name, c := range files {
		if run := programs[name]; run != nil {
			t.Run(folder+"/"+name, func(t *testing.T) {
				t.Parallel()
				run(t, c)
			})
			continue
		}
		t.Run(folder+"/"+name, func(t *testing.T) { t.Skipf("NOT TESTED: %s has no program yet", c.header["id"]) })
	}
}

// uncovered compares the files of a folder with the programs there are and
// those that may be missing.
func uncovered(folder string, files, programs, waiting []string) (faults []string) {
	for _, name := range slices.Sorted(slices.Values(files)) {
		has, waits := slices.Contains(programs, name), slices.Contains(waiting, folder+"/"+name)
		switch {
		case has && waits:
			faults = append(faults, folder+"/"+name+" has a program: take it off notYet")
		case !has && !waits:
			faults = append(faults, folder+"/"+name+" has no program: add one to the programs of its folder")
		}
	}
	for _, name := range slices.Sorted(slices.Values(programs)) {
		if !slices.Contains(files, name) {
			faults = append(faults, folder+"/"+name+" is a program without a file")
		}
	}
	for _, path := range waiting {
		if f, name, _ := strings.Cut(path, "/"); f == folder && !slices.Contains(files, name) {
			faults = append(faults, path+" is in notYet, but there is no such file")
		}
	}
	return faults
}

func TestUncovered(t *testing.T) {
	t.Parallel()
	got := uncovered("f", []string{"new", "done", "waits"}, []string{"done", "gone"}, []string{"f/done", "f/waits", "f/away", "other/x"})
	want := []string{
		"f/done has a program: take it off notYet",
		"f/new has no program: add one to the programs of its folder",
		"f/gone is a program without a file",
		"f/away is in notYet, but there is no such file",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("faults\n%s", strings.Join(got, "\n"))
	}
}

// file is a case: "# key: value" lines, then sections that begin with
// "-- name --".
type file struct {
	header   map[string]string
	sections map[string][]byte
}

// caseFiles reads the cases of a folder, by name without extension.
func caseFiles(dir string) (map[string]*file, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, errors.New("no cases in " + dir)
	}
	out := make(map[string]*file)
	for _, p := range paths {
		b, err := fs.ReadFile(os.DirFS(dir), filepath.Base(p))
		if err != nil {
			return nil, err
		}
		out[strings.TrimSuffix(filepath.Base(p), ".txtar")] = parse(b)
	}
	return out, nil
}

func parse(b []byte) *file {
	c := &file{header: make(map[string]string), sections: make(map[string][]byte)}
	section := ""
	for line := range bytes.Lines(b) {
		text := strings.TrimSpace(string(line))
		if name, ok := strings.CutPrefix(text, "-- "); ok && strings.HasSuffix(name, " --") {
			section = strings.TrimSuffix(name, " --")
			c.sections[section] = nil
			continue
		}
		if section != "" {
			c.sections[section] = append(c.sections[section], line...)
			continue
		}
		if key, value, ok := strings.Cut(strings.TrimPrefix(text, "# "), ": "); ok {
			c.header[key] = value
		}
	}
	return c
}

// section returns a part of the case, which must be there.
func (c *file) section(t *testing.T, name string) string {
	t.Helper()
	b, ok := c.sections[name]
	if !ok {
		t.Fatalf("the case has no section %q", name)
	}
	return string(b)
}

// lines returns the lines of a section.
func (c *file) lines(t *testing.T, name string) []string {
	t.Helper()
	return strings.Split(strings.TrimRight(c.section(t, name), "\n"), "\n")
}
