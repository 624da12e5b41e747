package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	t.Parallel()
	const ok = `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n" + `{"Action":"pass","Package":"p","Elapsed":1}` + "\n"
	for name, c := range map[string]struct {
		in, want string
		code     int
	}{
		"passed": {ok, "1 tests passed, 0 failed, 0 skipped", 0},
		"a failure with its output": {ok +
			`{"Action":"output","Package":"q","Test":"TestB","Output":"b.go:1: not equal\n"}` + "\n" +
			`{"Action":"fail","Package":"q","Test":"TestB"}` + "\n" + `{"Action":"fail","Package":"q"}` + "\n", "b.go:1: not equal", 1},
		"a skip with its reason": {ok +
			`{"Action":"output","Package":"q","Test":"TestB","Output":"=== RUN TestB\n"}` + "\n" +
			`{"Action":"output","Package":"q","Test":"TestB","Output":"    b.go:1: NOT TESTED: no server\n"}` + "\n" +
			`{"Action":"skip","Package":"q","Test":"TestB"}` + "\n", "skipped q TestB: b.go:1: NOT TESTED: no server", 0},
		"a package that does not build": {ok + `{"Action":"build-fail","ImportPath":"q"}` + "\n", "FAILED q (build)", 1},
		"no test ran":                   {`{"Action":"pass","Package":"p"}` + "\n", "no test ran", 1},
	} {
		var out strings.Builder
		s := &summary{out: &out, output: make(map[string][]string)}
		if err := s.read(strings.NewReader(c.in)); err != nil {
			t.Fatal(err)
		}
		if code := s.close(); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: code %d, output %q, want %d and %q", name, code, out.String(), c.code, c.want)
		}
	}
}
