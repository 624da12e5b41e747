//go:build e2e

package netlab_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/leatstream/leat/test/chaos/cage"
	"github.com/leatstream/leat/test/chaos/netlab"
)

// envEcho makes the program be a server that says what it hears.
const envEcho = "LEAT_NETLAB_ECHO"

func TestMain(m *testing.M) {
	if at := os.Getenv(envEcho); at != "" {
		echo(at)
	}
	os.Exit(cage.Run(cage.Config{Name: "leat-netlab-test", Inside: func(string) int { return m.Run() }}))
}

func echo(at string) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listens")
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
	}
}

// say sends a line and returns how long the answer took.
func say(c net.Conn, text string, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	if err := c.SetDeadline(began.Add(limit)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintln(c, text); err != nil {
		return 0, err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && got != text+"\n" {
		err = fmt.Errorf("%q is answered by %q", text, got)
	}
	return time.Since(began), err
}

const (
	soon = 2 * time.Second
	// short is for what must not be answered.
	short = 400 * time.Millisecond
)

// start makes a lab with an echo server in a group of its own.
func start(t *testing.T) (lab *netlab.Lab, host string) {
	t.Helper()
	lab, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	if host, err = lab.Host("server"); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), envEcho+"="+host+":7000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Start("server", cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the server says %q: %v", line, err)
	}
	return lab, host
}

func dial(t *testing.T, host string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", host+":7000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestLinks talks to a server in a group of its own while the link changes.
func TestLinks(t *testing.T) {
	lab, host := start(t)
	c := dial(t, host)
	if took, err := say(c, "plain", soon); err != nil || took > 100*time.Millisecond {
		t.Errorf("plain: %s, %v", took, err)
	}
	for _, way := range [][2]string{{netlab.Home, host}, {host, netlab.Home}} {
		lab.Set(way[0], way[1], netlab.Rule{Drop: true})
		if took, err := say(c, "dropped", short); err == nil {
			t.Errorf("%v is cut, but an answer comes after %s", way, took)
		}
		lab.Heal()
		c = dial(t, host) // the answer may still come on the old one
	}
	lab.Set(host, netlab.Home, netlab.Rule{Delay: 150 * time.Millisecond})
	if took, err := say(c, "slow", soon); err != nil || took < 150*time.Millisecond {
		t.Errorf("delayed by 150 ms: %s, %v", took, err)
	}
	// Reordered, doubled and lost packets are TCP's to mend: the text is whole.
	lab.Set(host, netlab.Home, netlab.Rule{Jitter: 10 * time.Millisecond, Double: 0.3, Lose: 0.1})
	for i := range 20 {
		if _, err := say(c, fmt.Sprint("line ", i), 10*soon); err != nil {
			t.Fatal(err)
		}
	}
	lab.Heal()
	if n := lab.KillFlows(host, netlab.Home); n == 0 {
		t.Error("no connection is known")
	}
	if took, err := say(c, "half-open", short); err == nil {
		t.Errorf("the connection is dead, but answers after %s", took)
	}
	if _, err := say(dial(t, host), "anew", soon); err != nil {
		t.Error(err)
	}
}
