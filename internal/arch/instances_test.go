package arch_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestProgramsCompileWhatTheyUse looks for operators in the compiled form of
// programs that do not use them. Every method of a generic type is compiled
// for each of the type's instances in a program, with all that it leads to: a
// method of a stream that leads to a stateful operator makes each program
// compile that operator once for each stream that it has. Such steps are
// functions.
func TestProgramsCompileWhatTheyUse(t *testing.T) {
	t.Parallel()
	for program, without := range map[string][]string{
		"vip":    {"operators/window.(", "operators/rowop.(*keyed", "operators/join.(", "operators/cepop.(", "operators/changelog.("},
		"dedup":  {"operators/window.(", "operators/join.(", "operators/cepop.(", "operators/changelog.("},
		"tables": {"operators/window.(", "operators/rowop.(*keyed", "operators/cepop.("},
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-f", "{{.Export}}", "./examples/"+program)
			cmd.Dir = root(t)
			object, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			symbols := run(t, "go", "tool", "nm", strings.TrimSpace(string(object)))
			if !strings.Contains(symbols, "stream.(*DataStream[") {
				t.Fatal("no stream is in the program: the symbols are not what this test takes them for")
			}
			for _, op := range without {
				if n := strings.Count(symbols, op); n > 0 {
					t.Errorf("%d symbols have %q, which the program does not use: which method leads there?", n, op)
				}
			}
		})
	}
}
