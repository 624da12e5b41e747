// Command machinebench says on what a benchmark runs, for result files whose
// figures `go test` writes: the commit, the date, the machine and its load. It
// measures nothing.
package main

import (
	"os"

	"github.com/leatstream/leat/bench/cmd/internal/machine"
)

func main() { machine.Describe(os.Stdout) }
