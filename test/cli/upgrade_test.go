package cli_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// interruptedUpgrade ends flinkctl in the probation of a program that it has
// just started: what it says then takes that back, and what it has said before
// goes on from the stop.
func (c *cluster) interruptedUpgrade(t *testing.T) {
	t.Helper()
	c.must(t, "run", c.ticker, "--name", "broken-off", "--", "--rate", "2000")
	c.must(t, "job", "wait", "broken-off", "--for", "checkpoint", "--timeout", "60s")
	said := c.interrupt(t, "watching it", "job", "upgrade", "broken-off", c.ticker, "--", "--rate", "2000", "--shape", "wide")

	// To take it back, as it says.
	back := regexp.MustCompile(`to take it back: flinkctl (job cancel [0-9a-f]+ --yes), then flinkctl (run .*)`).FindStringSubmatch(said)
	if back == nil {
		t.Fatalf("nothing is said of how to take it back:\n%s", said)
	}
	c.must(t, strings.Fields(back[1])...)
	c.must(t, strings.Fields(back[2])...)
	if out := c.must(t, "job", "get", "broken-off", "-o", "json"); strings.Contains(out, "--shape") || !strings.Contains(out, `"RUNNING"`) {
		t.Errorf("the old program is not back:\n%s", out)
	}
	c.must(t, "job", "cancel", "broken-off", "--yes")

	// To go on after the stop, as it had said.
	onward := regexp.MustCompile(`if this ends here go on with: flinkctl (job upgrade .*)`).FindStringSubmatch(said)
	if onward == nil {
		t.Fatalf("nothing is said of how to go on:\n%s", said)
	}
	verb, args, _ := strings.Cut(onward[1], " -- ")
	c.must(t, append(append(strings.Fields(verb), "--probation", "1s", "--"), strings.Fields(args)...)...)
	if out := c.must(t, "job", "get", "broken-off", "-o", "json"); !strings.Contains(out, "--shape") {
		t.Errorf("the new program does not run:\n%s", out)
	}
	c.must(t, "job", "cancel", "broken-off", "--yes")
}

// interrupt runs flinkctl, sends it SIGINT once it has said something, and
// returns all that it has said.
func (c *cluster) interrupt(t *testing.T, when string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.bin, args...)
	cmd.Env = append(os.Environ(), c.env()...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	giveUp := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer giveUp.Stop()
	var said strings.Builder
	lines := bufio.NewReader(pipe)
	for sent := false; ; {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if !sent && strings.Contains(line, when) {
			sent = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // its code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Fatalf("exit code %d\n%s", code, said.String())
	}
	return said.String()
}
