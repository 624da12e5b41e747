//go:build e2e

// Package chaos runs a stateful job on a cluster of separate processes, each
// group of them in a network namespace of its own, and breaks everything there
// is, one seeded fault after another. Whatever happened, the committed output
// must be the answer computed without the engine. It runs by make chaos.
package chaos

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/leatstream/leat/test/chaos/cage"
)

// The flags of the run.
var (
	seed   = flag.Uint64("seed", 0, "seed of orders, faults, victims and times; 0: a new one, which is printed")
	length = flag.Duration("for", 3*time.Minute, "how long faults go on")
	rate   = flag.Int("rate", 500, "orders in a second")
	only   = flag.String("faults", "", "only these faults, separated by commas; a name stands for all that begin with it")
	keep   = flag.Bool("keep", false, "keep logs and data also of a run that passes")
	list   = flag.Bool("list", false, "print the names of all faults and end")
)

const (
	envSeed     = "LEAT_CHAOS_SEED"
	envPrograms = "LEAT_CHAOS_PROGRAMS"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *list {
		for _, f := range faults() {
			fmt.Println(f.name)
		}
		return
	}
	if err := settleSeed(); err != nil {
		panic(err)
	}
	code := cage.Run(cage.Config{Name: "leat-chaos", Keep: *keep, Prepare: prepare, Inside: func(dir string) int {
		data = dir
		return m.Run()
	}})
	if cage.Outside() && code != 0 {
		fmt.Printf("repeat with: %s\n", again())
	}
	os.Exit(code)
}

// settleSeed chooses a seed outside of the cage, and hands it in.
func settleSeed() error {
	if !cage.Outside() {
		_, err := fmt.Sscan(os.Getenv(envSeed), seed)
		return err
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	return os.Setenv(envSeed, fmt.Sprint(*seed))
}

// data is the folder of the run.
var data string

// again is the command that repeats the run.
func again() string {
	command := fmt.Sprintf("make chaos SEED=%d FOR=%s", *seed, *length)
	args := ""
	if *only != "" {
		args += " -faults " + *only
	}
	if *rate != 500 {
		args += fmt.Sprintf(" -rate %d", *rate)
	}
	if args != "" {
		command += fmt.Sprintf(" ARGS=%q", args[1:])
	}
	return command
}

// module is the folder of the project.
func module() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}

func programs() string { return filepath.Join(module(), "build", "chaos") }

// prepare builds programs, bundle and servers, outside of the cage.
func prepare() error {
	fmt.Printf("seed %d: repeat with: %s\n", *seed, again())
	if os.Getenv(envPrograms) != "" { // they are there, from a run before
		return nil
	}
	dir := programs()
	tags := "GOFLAGS=" + os.Getenv("GOFLAGS") + " -tags=failpoints"
	for _, c := range []struct {
		env  string
		argv []string
	}{
		{tags, []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir + "/", "./cmd/jobmanager", "./cmd/taskmanager", "./cmd/flinkctl"}},
		{tags, []string{filepath.Join(dir, "flinkctl"), "bundle", "build", "./test/chaos/job", "-o", filepath.Join(dir, "job.bundle")}},
		{"", []string{filepath.Join(module(), "test/servers/build")}},
		{"", []string{filepath.Join(module(), "test/servers/kafka"), "fetch"}},
	} {
		cmd := exec.Command(c.argv[0], c.argv[1:]...)
		cmd.Dir, cmd.Stderr = module(), os.Stderr
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if c.env != "" {
			cmd.Env = append(cmd.Env, c.env)
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%v: %w", c.argv, err)
		}
	}
	return nil
}
