package cli_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestErrorsArePublished compares the codes in the program with the page.
func TestErrorsArePublished(t *testing.T) {
	t.Parallel()
	const root = "../.."
	used := codes(t, root)
	page, err := os.ReadFile(filepath.Join(root, "docs/operating/errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]int{}
	row := regexp.MustCompile(`^\| (LEAT\d{4}) \| (\S.*) \| (\S.*) \|$`)
	for line := range strings.Lines(string(page)) {
		if m := row.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			explained[m[1]]++
		}
	}
	if len(used) < 50 || len(explained) < 50 {
		t.Fatalf("%d codes in the program, %d on the page: the test does not see them", len(used), len(explained))
	}
	for _, c := range slices.Sorted(maps.Keys(used)) {
		if explained[c] != 1 {
			t.Errorf("%s (%s) is on the page %d times", c, used[c], explained[c])
		}
	}
	for _, c := range slices.Sorted(maps.Keys(explained)) {
		if used[c] == "" {
			t.Errorf("%s is on the page, but nothing uses it", c)
		}
	}
}

// codes finds the codes in Go sources that are no tests, with a place of each.
func codes(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	code := regexp.MustCompile(`LEAT\d{4}`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "test" || d.Name() == "bin" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, c := range code.FindAllString(string(b), -1) {
			out[c] = path
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
