// Command flinkctl builds bundles, submits jobs and looks after a Leat cluster.
package main

import (
	"os"

	"github.com/leatstream/leat/cmd/flinkctl/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
