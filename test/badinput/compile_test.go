package badinput_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestCompiler wants the compiler to find what types can say: tables that are
// keyed differently, functions of other rows, keys that cannot be compared. Each
// message names the line and the types.
func TestCompiler(t *testing.T) {
	t.Parallel()
	const program = "testdata/wrong/main.go"
	f, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-e", "-o", os.DevNull, "./testdata/wrong").CombinedOutput()
	if err == nil {
		t.Fatal("the program compiles")
	}
	said := make(map[int]string)
	for line := range strings.Lines(string(out)) {
		var n, column int
		_, at, ok := strings.Cut(line, program+":")
		if !ok {
			continue
		}
		if _, err := fmt.Sscanf(at, "%d:%d", &n, &column); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		said[n] = line
	}
	want := regexp.MustCompile(`// want "(.*)"$`)
	lines := bufio.NewScanner(f)
	wanted := 0
	for n := 1; lines.Scan(); n++ {
		if m := want.FindStringSubmatch(lines.Text()); m != nil {
			wanted++
			if !strings.Contains(said[n], m[1]) {
				t.Errorf("line %d: the compiler says %q, want %q", n, said[n], m[1])
			}
			delete(said, n)
		}
	}
	if lines.Err() != nil || wanted < 5 {
		t.Errorf("%d mistakes: %v", wanted, lines.Err())
	}
	for n, line := range said {
		t.Errorf("line %d: %s", n, line)
	}
}
