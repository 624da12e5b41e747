//go:build e2e

package cage_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leatstream/leat/test/chaos/cage"
)

// envPrey makes the program be what is killed.
const envPrey = "LEAT_CAGE_PREY"

func TestMain(m *testing.M) {
	if os.Getenv(envPrey) == "" {
		os.Exit(m.Run())
	}
	os.Exit(cage.Run(cage.Config{Name: "leat-cage-test", Inside: prey}))
}

// prey mounts, starts a process that starts another, and waits for its end.
func prey(dir string) int {
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); err != nil {
		fmt.Println("mount:", err)
		return 1
	}
	cmd := exec.Command("sh", "-c", "sleep 987654 & sleep 987654")
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return 1
	}
	links, err := net.Interfaces()
	fmt.Println("ready", dir, os.Getppid(), len(links), err)
	_ = cmd.Wait()
	return 0
}

// TestKilled kills a program outside its cage: nothing of it is left.
func TestKilled(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), envPrey+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	f := strings.Fields(line)
	if err != nil || len(f) != 5 || f[0] != "ready" {
		t.Fatalf("it says %q, %v", line, err)
	}
	dir := f[1]
	if f[2] != "1" || f[3] != "1" {
		t.Errorf("its parent is process %s, not 1, or it sees %s links, not one", f[2], f[3])
	}
	awaitSleepers(t, 2)
	if mounts, err := os.ReadFile("/proc/mounts"); err != nil || strings.Contains(string(mounts), dir) {
		t.Errorf("its mount is seen outside: %v", err)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	awaitSleepers(t, 0)
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(dir)) })
}

// awaitSleepers returns when so many processes of prey run.
func awaitSleepers(t *testing.T, want int) {
	t.Helper()
	for began := time.Now(); sleepers() != want; {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%d processes run, not %d", sleepers(), want)
		}
	}
}

// sleepers counts the processes that prey starts.
func sleepers() int {
	n := 0
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range list {
		if b, err := os.ReadFile(f); err == nil && string(b) == "sleep\x00987654\x00" {
			n++
		}
	}
	return n
}
