package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A script is a list of steps:
//
//	> ARGS       run flinkctl; what follows are checks of it
//	>* ARGS      the same, and with each form of -o and --no-headers
//	>~ ARGS      repeat it until all checks hold
//	exit N       its exit code, 0 if not said
//	out RE       stdout matches; !out: does not. err, !err: stderr
//	json         stdout is one JSON value
//	errjson CODE the last line of stderr is an error in JSON, with this code
//	let NAME RE  keeps the first group of RE in stdout as $NAME
//	damage FILE HOW   truncate, flip or format a file
//
// Arguments are split at spaces; 'quotes' hold them together.
type step struct {
	line   int
	verb   string // >, >*, >~ or damage
	args   []string
	checks []check
}

type check struct{ verb, arg string }

func parse(t *testing.T, file string) []step {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case verb == ">" || verb == ">*" || verb == ">~" || verb == "damage":
			steps = append(steps, step{line: i + 1, verb: verb, args: fields(rest)})
		case len(steps) == 0:
			t.Fatalf("%s:%d: a check before the first step", file, i+1)
		default:
			s := &steps[len(steps)-1]
			s.checks = append(s.checks, check{verb, strings.TrimSpace(rest)})
		}
	}
	return steps
}

func fields(s string) []string {
	var out []string
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// player plays scripts.
type player struct {
	t    *testing.T
	bin  string
	vars map[string]string
	env  []string
}

// untilMax bounds a step that is repeated.
const untilMax = 60 * time.Second

type result struct {
	code     int
	out, err string
}

func (p *player) play(file string) {
	for _, s := range parse(p.t, file) {
		where := fmt.Sprintf("%s:%d", filepath.Base(file), s.line)
		args := make([]string, len(s.args))
		for i, a := range s.args {
			args[i] = p.expand(a)
		}
		if s.verb == "damage" {
			damage(p.t, args[0], args[1])
			continue
		}
		faults, res := p.once(s, args)
		for began := time.Now(); s.verb == ">~" && len(faults) > 0 && time.Since(began) < untilMax; {
			p.pause(100 * time.Millisecond)
			faults, res = p.once(s, args)
		}
		if len(faults) > 0 {
			p.t.Fatalf("%s: flinkctl %s\n%s\nexit code %d\nstdout:\n%s\nstderr:\n%s", where, strings.Join(args, " "), strings.Join(faults, "\n"), res.code, res.out, res.err)
		}
		if s.verb == ">*" {
			p.forms(where, args, res)
		}
	}
}

func (p *player) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.t.Context().Done():
	}
}

func (p *player) once(s step, args []string) ([]string, result) {
	res := run(p.t, p.bin, p.env, args...)
	var faults []string
	wantCode := 0
	for _, c := range s.checks {
		if c.verb == "exit" {
			wantCode, _ = strconv.Atoi(c.arg)
			continue
		}
		if f := p.check(c, res); f != "" {
			faults = append(faults, f)
		}
	}
	if res.code != wantCode {
		faults = append(faults, fmt.Sprintf("exit code %d, want %d", res.code, wantCode))
	}
	return faults, res
}

func (p *player) check(c check, res result) string {
	arg := p.expand(c.arg)
	text := res.out
	if strings.HasSuffix(c.verb, "err") {
		text = res.err
	}
	switch c.verb {
	case "out", "err":
		if !regexp.MustCompile("(?m)" + arg).MatchString(text) {
			return fmt.Sprintf("%s does not match %q", c.verb, arg)
		}
	case "!out", "!err":
		if regexp.MustCompile("(?m)" + arg).MatchString(text) {
			return fmt.Sprintf("%s matches %q", c.verb[1:], arg)
		}
	case "json":
		if !json.Valid([]byte(res.out)) {
			return "stdout is not JSON"
		}
	case "errjson":
		return errorJSON(res.err, arg)
	case "let":
		name, pattern, _ := strings.Cut(arg, " ")
		m := regexp.MustCompile("(?m)" + pattern).FindStringSubmatch(res.out)
		if len(m) != 2 {
			return fmt.Sprintf("stdout has no %q", pattern)
		}
		p.vars[name] = m[1]
	default:
		return "unknown check " + c.verb
	}
	return ""
}

func errorJSON(stderr, code string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	var body struct {
		Errors []string
		Error  struct{ Code, What string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &body); err != nil {
		return "stderr is no JSON error: " + err.Error()
	}
	if body.Error.Code != code || body.Error.What == "" || len(body.Errors) == 0 {
		return fmt.Sprintf("error is %+v, want code %s", body, code)
	}
	return ""
}

// forms runs a verb that changes nothing in every form of output.
func (p *player) forms(where string, args []string, plain result) {
	for _, form := range []string{"json", "yaml", "name", "jsonl", "wide"} {
		res := run(p.t, p.bin, p.env, withFlags(args, "-o", form)...)
		if res.code != plain.code {
			p.t.Errorf("%s: -o %s ends with %d: %s", where, form, res.code, res.err)
		}
		if form == "json" && !json.Valid([]byte(res.out)) {
			p.t.Errorf("%s: -o json prints %q", where, res.out)
		}
		if form == "name" && strings.Contains(strings.TrimSpace(res.out), "  ") {
			p.t.Errorf("%s: -o name prints more than names: %q", where, res.out)
		}
	}
	first, _, _ := strings.Cut(plain.out, "\n")
	res := run(p.t, p.bin, p.env, withFlags(args, "--no-headers")...)
	if isHeader(first) && strings.Contains(res.out, first) {
		p.t.Errorf("%s: --no-headers prints the header %q", where, first)
	}
}

// withFlags puts flags before the job's own arguments.
func withFlags(args []string, flags ...string) []string {
	for i, a := range args {
		if a == "--" {
			return append(append(append([]string{}, args[:i]...), flags...), args[i:]...)
		}
	}
	return append(append([]string{}, args...), flags...)
}

func isHeader(line string) bool {
	return line != "" && line == strings.ToUpper(line) && strings.ContainsAny(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
}

func (p *player) expand(s string) string {
	return os.Expand(s, func(name string) string {
		if v, ok := p.vars[name]; ok {
			return v
		}
		return "$" + name // the end of a regular expression
	})
}

// run runs flinkctl without a terminal.
func run(t *testing.T, bin string, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("flinkctl %v: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// damage makes a file bad, in a copy beside it named file.HOW.
func damage(t *testing.T, file, how string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case "truncated":
		b = b[:len(b)/2]
	case "flipped":
		b[len(b)/2] ^= 1
	case "garbage":
		b = []byte("this is no bundle")
	default:
		t.Fatalf("damage %q is not known", how)
	}
	if err := os.WriteFile(file+"."+how, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
