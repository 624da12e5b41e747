// Package docs_test checks the pages for people: what they quote is code that
// is compiled and run, and what they link to is there. It holds tests only.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const repo = "../.."

// quoted are the folders whose code pages may quote: it is run by tests.
var quoted = []string{"examples", "stream", "state", "connectors", "formats", "launch", "operators"}

// pages returns README.md, the other pages at the root, and all below docs.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := make(map[string]string)
	files, err := filepath.Glob(filepath.Join(repo, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, find(t, "docs", ".md")...)
	for _, f := range files {
		out[f] = read(t, f)
	}
	if len(out) < 10 {
		t.Fatalf("only %d pages found", len(out))
	}
	return out
}

func find(t *testing.T, dir, ext string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(repo, dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ext {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestGoSnippetsAreQuotedFromCode wants each fenced block of Go in README.md
// and the guides to stand, line by line but for indentation, in a file that is
// compiled and tested. A line "…" leaves something out.
func TestGoSnippetsAreQuotedFromCode(t *testing.T) {
	t.Parallel()
	var sources [][]string
	for _, dir := range quoted {
		for _, f := range find(t, dir, ".go") {
			sources = append(sources, lines(read(t, f)))
		}
	}
	blocks := 0
	for page, text := range pages(t) {
		if !strings.Contains(page, "guides") && filepath.Base(page) != "README.md" && !strings.Contains(page, "checklists") {
			continue
		}
		for _, block := range goBlocks(text) {
			blocks++
			if !slices.ContainsFunc(sources, func(src []string) bool { return quotes(src, block) }) {
				t.Errorf("%s: no tested file contains this:\n%s", strings.TrimPrefix(page, repo+"/"), strings.Join(block, "\n"))
			}
		}
	}
	if blocks < 12 {
		t.Errorf("only %d blocks of Go found", blocks)
	}
}

// lines drops indentation and empty lines.
func lines(text string) (out []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func goBlocks(text string) (out [][]string) {
	for _, part := range strings.Split(text, "\n```go\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		out = append(out, lines(block))
	}
	return out
}

// quotes says whether the pieces of block stand in src in their order.
func quotes(src, block []string) bool {
	for len(block) > 0 {
		piece := block
		block = nil
		if i := slices.Index(piece, "…"); i >= 0 {
			piece, block = piece[:i], piece[i+1:]
		}
		at := index(src, piece)
		if at < 0 {
			return false
		}
		src = src[at+len(piece):]
	}
	return true
}

func index(src, piece []string) int {
	for i := 0; i+len(piece) <= len(src); i++ {
		if slices.Equal(src[i:i+len(piece)], piece) {
			return i
		}
	}
	return -1
}

var (
	code    = regexp.MustCompile("(?s)\n```.*?\n```|`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noWord  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksLeadSomewhere follows each link to a file of the repository.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	links := 0
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			info, err := os.Stat(to)
			if err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if anchor != "" && (info.IsDir() || !slices.Contains(anchors(read(t, to)), anchor)) {
				t.Errorf("%s links to %s: no such heading", page, m[1])
			}
		}
	}
	if links < 30 {
		t.Errorf("only %d links found", links)
	}
}

func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(noWord.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// TestExampleOfTheFirstGuideIsComplete wants each declaration of
// examples/clicks in the guide, so that who types it in has all of it.
func TestExampleOfTheFirstGuideIsComplete(t *testing.T) {
	t.Parallel()
	var shown []string
	for _, block := range goBlocks(read(t, filepath.Join(repo, "docs/guides/first-job.md"))) {
		shown = append(shown, block...)
	}
	for _, line := range lines(read(t, filepath.Join(repo, "examples/clicks/main.go"))) {
		if !strings.HasPrefix(line, "//") && !slices.Contains(shown, line) {
			t.Errorf("the guide does not show %q", line)
		}
	}
}

// TestMetricsAreThose compares docs/operating/monitoring.md with the names in
// the code that exports them.
func TestMetricsAreThose(t *testing.T) {
	t.Parallel()
	page := read(t, filepath.Join(repo, "docs/operating/monitoring.md"))
	names := regexp.MustCompile(`"(leat_[a-z_]+|flink_[A-Za-z_]+[a-zA-Z]|(?:num|last|total|accumulate|current)[A-Z][A-Za-z]+|numberOf[A-Za-z]+|stateBytes|uptime)"`)
	found := 0
	for _, f := range append(append(find(t, "launch/promview", ".go"), find(t, "internal/telemetry", ".go")...), filepath.Join(repo, "runtime/rest/metrics.go")) {
		for _, m := range names.FindAllStringSubmatch(read(t, f), -1) {
			found++
			if !strings.Contains(page, "`"+m[1]+"`") {
				t.Errorf("monitoring.md lacks %s", m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d names found", found)
	}
}
