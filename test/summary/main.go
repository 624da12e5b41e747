// Command summary reads the output of `go test -json` and prints what a
// person wants to see: each package, the whole output of each test that
// failed, each test that was skipped with its reason, and a count. It fails
// when a test failed, when a package could not be built, and when no test ran.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// lineBytesMax bounds one event; an event holds one line of output.
const lineBytesMax = 16 << 20

// event is what test2json writes (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
	Elapsed                                   float64
}

type summary struct {
	out                     io.Writer
	output                  map[string][]string // by package and test, until it ended
	passed, failed, skipped int
	badPackages             []string
	skips                   []string
}

func main() {
	s := &summary{out: os.Stdout, output: make(map[string][]string)}
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		os.Exit(2)
	}
	os.Exit(s.close())
}

func (s *summary) read(r io.Reader) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, lineBytesMax)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			fmt.Fprintln(s.out, in.Text()) // not of the test runner: the go command's own words
			continue
		}
		s.take(e)
	}
	return in.Err()
}

func (s *summary) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "build-fail":
		s.badPackages = append(s.badPackages, e.ImportPath+" (build)")
	case "pass", "fail", "skip":
		s.end(e, key)
		delete(s.output, key)
	}
}

func (s *summary) end(e event, key string) {
	lines := strings.Join(s.output[key], "")
	if e.Test == "" {
		s.endPackage(e, lines)
		return
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		fmt.Fprint(s.out, lines)
	case "skip":
		s.skipped++
		s.skips = append(s.skips, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(s.output[key])))
	}
}

func (s *summary) endPackage(e event, lines string) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(s.out, "ok    %-70s %7.2fs\n", e.Package, e.Elapsed)
	case "fail":
		s.badPackages = append(s.badPackages, e.Package)
		fmt.Fprintf(s.out, "%sFAIL  %-70s %7.2fs\n", lines, e.Package, e.Elapsed)
	}
}

// reason returns what a test said when it skipped itself.
func reason(lines []string) string {
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "===") && !strings.HasPrefix(l, "---") {
			return l
		}
	}
	return "no reason given"
}

func (s *summary) close() int {
	fmt.Fprintf(s.out, "\n%d tests passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	for _, l := range s.skips {
		fmt.Fprintln(s.out, "  skipped", l)
	}
	for _, p := range s.badPackages {
		fmt.Fprintln(s.out, "  FAILED", p)
	}
	if s.passed == 0 {
		fmt.Fprintln(s.out, "  FAILED: no test ran")
	}
	if s.failed > 0 || len(s.badPackages) > 0 || s.passed == 0 {
		return 1
	}
	return 0
}
