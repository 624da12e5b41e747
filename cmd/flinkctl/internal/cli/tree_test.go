package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const repo = "../../../.."

// TestEachVerbHasAScript keeps test/cli complete.
func TestEachVerbHasAScript(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(repo, "test/cli/testdata/scripts/*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var lines []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(string(b), "\n")...)
	}
	tried := func(verb string) bool {
		for _, line := range lines {
			step, rest, _ := strings.Cut(line, " ")
			if strings.HasPrefix(step, ">") && strings.HasPrefix(rest+" ", verb+" ") {
				return true
			}
		}
		return false
	}
	if tried("no such verb") {
		t.Fatal("the test finds what is not there")
	}
	for _, verb := range Tree() {
		if !tried(verb) {
			t.Errorf("flinkctl %s is in no script of test/cli", verb)
		}
	}
}

// TestEachVerbIsInTheGuide keeps docs/guides/flinkctl.md complete.
func TestEachVerbIsInTheGuide(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(repo, "docs/guides/flinkctl.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range Tree() {
		if !regexp.MustCompile("`" + verb + "[` ]").Match(b) {
			t.Errorf("the guide has no row that begins with `%s", verb)
		}
	}
}

// TestHelpIsShort holds the limit of 24 lines, but for the root, which lists
// everything, and the generated completion.
func TestHelpIsShort(t *testing.T) {
	t.Parallel()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.HasParent() && c.Parent().Name() != "completion" && c.Name() != "help" {
			var out bytes.Buffer
			c.SetOut(&out)
			if err := c.Help(); err != nil {
				t.Error(err)
			}
			if n := strings.Count(out.String(), "\n"); n > 24 {
				t.Errorf("the help of %s has %d lines:\n%s", c.CommandPath(), n, out.String())
			}
			if c.Short == "" || !strings.Contains(out.String(), "Usage: ") {
				t.Errorf("the help of %s says too little:\n%s", c.CommandPath(), out.String())
			}
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk((&app{in: strings.NewReader(""), out: &bytes.Buffer{}, err: &bytes.Buffer{}}).root())
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"lst", "list", 1}, {"lst", "get", 2}, {"stop", "pots", 4}, {"", "abc", 3}, {"abc", "", 3}} {
		if got := distance(x.a, x.b); got != x.want {
			t.Errorf("distance(%q, %q) = %d, want %d", x.a, x.b, got, x.want)
		}
	}
}
