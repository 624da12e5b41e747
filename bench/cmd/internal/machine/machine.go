// Package machine says for a benchmark's report what was measured, and where.
package machine

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Describe writes the commit, the date, the machine and its load, a line each.
func Describe(w io.Writer) {
	fmt.Fprintf(w, "commit    %s\n", commit())
	fmt.Fprintf(w, "date      %s\n", time.Now().UTC().Format(time.DateTime))
	fmt.Fprintf(w, "machine   %s, %d processors, %s/%s, %s\n", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintf(w, "load      %s\n", FirstLine("/proc/loadavg"))
}

// FirstLine returns the first line of a file, "unknown" when it cannot be read.
func FirstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// commit names the commit, and says when the programs' code differs from it.
func commit() string {
	id, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no", "--", "*.go", ":!*_test.go").Output()
	if err != nil || len(changed) > 0 {
		return strings.TrimSpace(string(id)) + " with changes"
	}
	return strings.TrimSpace(string(id))
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(b), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
