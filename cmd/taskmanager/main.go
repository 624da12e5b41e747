// Command taskmanager runs a taskmanager: it offers slots to the leading
// jobmanager and runs workers. See docs/operating/configuration.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/leatstream/leat/cmd/taskmanager/internal/taskmanagercmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it as it is
	code := taskmanagercmd.Execute(ctx, os.Args[1:], os.Stdout, os.Stderr, os.LookupEnv)
	stop()
	os.Exit(code)
}
