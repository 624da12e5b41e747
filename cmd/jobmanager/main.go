// Command jobmanager runs a jobmanager: it stands by, leads when it is
// elected, and serves REST. See docs/operating/configuration.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/leatstream/leat/cmd/jobmanager/internal/jobmanagercmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := jobmanagercmd.Execute(ctx, os.Args[1:], os.Stdout, os.Stderr, os.LookupEnv)
	stop()
	os.Exit(code)
}
