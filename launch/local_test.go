package launch

import (
	"bytes"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/leatstream/leat/stream"
)

func TestLocalArguments(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"", "0  [] map[]"},
		{"--local --brokers h:1 -v in out", "0  [--brokers h:1 -v in out] map[]"},
		{"--local-parallelism 4 x", "4  [x] map[]"},
		{"--local-parallelism=4 --local-checkpoints=/d x=y", "4 /d [x=y] map[]"},
		{"-D a=b -Dc=d=e x", "0  [x] map[a:b c:d=e]"},
		{"-- --local -D a=b", "0  [--local -D a=b] map[]"},
		{"--localish --local-parallel 3", "0  [--localish --local-parallel 3] map[]"},
		{"--local-parallelism 0", "error: --local-parallelism 0: it must be between 1 and 32768"},
		{"--local-parallelism", "error: --local-parallelism wants a value"},
		{"-D a", "error: -D a: write it as -D key=value"},
	} {
		o, err := parseLocal(strings.Fields(test.args))
		got := fmt.Sprintf("%d %s %v %v", o.parallelism, o.dir, o.args, o.properties)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != test.want {
			t.Errorf("%q: got %s, want %s", test.args, got, test.want)
		}
	}
}

// TestHelpIsNoFailure asks a program for its flags.
func TestHelpIsNoFailure(t *testing.T) {
	t.Parallel()
	build := func(env *stream.Env) error {
		set := flag.NewFlagSet("job", flag.ContinueOnError)
		set.SetOutput(&bytes.Buffer{})
		return set.Parse(env.Args())
	}
	for args, want := range map[string]int{"-h": exitDone, "--no-such-flag": exitFailed} {
		var out bytes.Buffer
		if got := runLocal(t.Context(), build, localOptions{args: []string{args}}, &out); got != want {
			t.Errorf("%s ends with %d, want %d: %s", args, got, want, &out)
		}
	}
}
