//go:build e2e

package examples_test

import (
	"flag"
	"os"
	"slices"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the inputs; 0: another for each run")

// programs are all that is run; each file of this package adds its own.
func programs() []program {
	return slices.Concat(
		textPrograms(),
		paymentPrograms(),
		tablePrograms(),
		windowPrograms(),
		asyncPrograms(),
		archivePrograms(),
		hybridPrograms(),
	)
}

// elsewhere are examples that another suite runs in the same way.
var elsewhere = []string{
	"internal",  // no program
	"connector", // playConnector
	"orders",    // test/e2e
}

// TestPrograms plays each program on one cluster, with a SIGKILL in the middle.
func TestPrograms(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	t.Logf("seed %d: repeat with -seed %d", seed, seed)
	c := startCluster(t)
	t.Run("connector", func(t *testing.T) {
		t.Parallel()
		c.playConnector(t, seed)
	})
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			c.play(t, p, seed)
		})
	}
}

// TestEveryExampleIsRun compares the folders with the programs.
func TestEveryExampleIsRun(t *testing.T) {
	folders, err := os.ReadDir("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, p := range programs() {
		have = append(have, p.name)
	}
	for _, f := range folders {
		if f.IsDir() && !slices.Contains(have, f.Name()) && !slices.Contains(elsewhere, f.Name()) {
			t.Errorf("examples/%s is not among the programs of this package", f.Name())
		}
	}
}
