// Package command is the frame that the programs of a cluster share: one
// configuration file, flags and environment; --print-config, --version; all
// faults of the configuration at once; exit codes. What a program does is
// passed in.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/internal/config"
	"github.com/leatstream/leat/internal/release"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Program is one program of a cluster.
type Program struct {
	Name, Short, Long string
	// Settings is the struct for internal/config.
	Settings any
	// Run works until ctx ends; Settings are loaded and valid.
	Run func(ctx context.Context, stderr io.Writer) error
}

// usageError tells faults of the command line and the configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// Execute runs a program and returns its exit code.
func Execute(ctx context.Context, p Program, args []string, stdout, stderr io.Writer, env func(string) (string, bool)) int {
	cmd := build(p, stdout, stderr, env)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		printFaults(stderr, p.Name, err)
		return exitUsage
	default:
		_, _ = fmt.Fprintf(stderr, "error: %v\n", err) // stderr may be closed
		return exitFailed
	}
}

func printFaults(w io.Writer, name string, err error) {
	lines := strings.Split(err.Error(), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "error LEAT0101: %s cannot start with this configuration\n", name)
	for _, l := range lines {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	fmt.Fprintf(&b, " fix: %s --help lists all options; --print-config shows what is in force\n", name)
	_, _ = io.WriteString(w, b.String()) // stderr may be closed
}

func build(p Program, stdout, stderr io.Writer, env func(string) (string, bool)) *cobra.Command {
	set := config.New(p.Settings)
	var file string
	var show bool
	cmd := &cobra.Command{
		Use: p.Name, Short: p.Short, Long: p.Long, Version: version(), Args: cobra.NoArgs,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				file, _ = env("LEAT_CONFIG")
			}
			err := set.Load(file, env)
			if show {
				return errors.Join(set.Print(stdout), asUsage(err))
			}
			if err != nil {
				return asUsage(err)
			}
			return p.Run(cmd.Context(), stderr)
		},
	}
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML) [LEAT_CONFIG]")
	cmd.Flags().BoolVar(&show, "print-config", false, "print the configuration in force, secrets hidden, and end")
	cmd.Flags().SortFlags = false
	set.Flags(cmd.Flags())
	return cmd
}

func asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

func version() string {
	out := release.Version
	if info, ok := debug.ReadBuildInfo(); ok {
		out += " (" + info.GoVersion + ")"
	}
	return out
}

// Listen opens an address; the error names the option that set it.
func Listen(option, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: is another process using it?", option, err)
	}
	return l, nil
}

// headerTimeout bounds how long an HTTP client may take to say what it wants.
const headerTimeout = 10 * time.Second

// ServeHTTP serves a handler until stop is called, which waits.
func ServeHTTP(l net.Listener, h http.Handler, log *slog.Logger) (stop func()) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("HTTP server ended", "address", l.Addr().String(), "error", err)
		}
	}()
	return func() {
		_ = server.Close() // requests for figures are cut off
		<-done
	}
}
