package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatstream/leat/runtime/bundle"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

func (a *app) bundleCommands() *cobra.Command {
	c := &cobra.Command{Use: "bundle", Short: "Build, inspect and verify job bundles"}
	c.AddCommand(a.bundleBuild(), a.bundleInspect(), a.bundleVerify())
	return c
}

// own turns the engine's coded error into the one that is printed.
func own(err error) error {
	var e *jobview.Error
	if errors.As(err, &e) {
		return &restapi.Error{Code: e.Code, What: e.What, Where: e.Where, Why: e.Why, Fix: e.Fix}
	}
	return err
}

func (a *app) bundleBuild() *cobra.Command {
	var o bundle.BuildOptions
	var out string
	c := &cobra.Command{
		Use: "build [PACKAGE]", Short: "Compile a job and pack it", Args: cobra.MaximumNArgs(1),
		Example: "  flinkctl bundle build ./examples/orders -o orders.bundle\n  flinkctl bundle build . --platform linux/amd64,linux/arm64",
		RunE: func(c *cobra.Command, args []string) error {
			o.Package = "."
			if len(args) == 1 {
				o.Package = args[0]
			}
			// -o is the file here, as with go build; the name of a format means
			// the format, as with every other verb.
			if slices.Contains(outputs(), out) {
				a.output = out
			} else {
				o.Output = out
			}
			if o.Output == "" {
				abs, err := filepath.Abs(o.Package)
				if err != nil {
					return err
				}
				o.Output = filepath.Base(abs) + ".bundle"
			}
			built, err := bundle.Build(c.Context(), o)
			if err != nil {
				return own(err)
			}
			return a.print(map[string]any{"file": o.Output, "sha256": built.SHA256, "size": built.Size}, func() table {
				return table{header: []string{"SIZE", "SHA256", "FILE"}, rows: [][]string{{size(built.Size), built.SHA256, o.Output}}, names: []string{o.Output}}
			})
		},
	}
	f := c.Flags()
	f.StringVarP(&out, "output", "o", "", "the file to write; default: the package's name with .bundle (or a format: json, …)")
	f.StringSliceVar(&o.Platforms, "platform", nil, "os/arch,…; default: linux/amd64")
	f.StringVar(&o.Name, "name", "", "name of the job; default: the package's")
	return c
}

func (a *app) bundleInspect() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE", Short: "Show what is in a bundle", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			sum, err := bundle.Identity(args[0])
			if errors.Is(err, os.ErrNotExist) {
				return noFile(args[0])
			}
			if err != nil {
				return own(err)
			}
			b, err := bundle.Open(args[0])
			if err != nil {
				return own(err)
			}
			defer b.Close()
			return a.print(map[string]any{"sha256": sum, "size": b.Size, "manifest": b.Manifest}, func() table { return manifestTable(b, sum) })
		},
	}
}

func manifestTable(b *bundle.Bundle, sum string) table {
	m := b.Manifest
	t := table{header: []string{"FIELD", "VALUE"}, names: []string{sum}, rows: [][]string{
		{"name", m.Name}, {"main", m.Main}, {"sha256", sum}, {"size", size(b.Size)}, {"engine", m.Engine},
		{"protocol", fmt.Sprint(m.Protocol)}, {"go", m.Go},
	}}
	for _, p := range m.Programs {
		t.rows = append(t.rows, []string{"program " + p.OS + "/" + p.Arch, size(p.Size)})
	}
	return t
}

func (a *app) bundleVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Check every byte of a bundle", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, sum, err := bundle.Verify(args[0])
			if err == nil {
				err = m.CheckProtocol()
			}
			if errors.Is(err, os.ErrNotExist) {
				return noFile(args[0])
			}
			if err != nil {
				return exitWith(exitProblems, own(err))
			}
			return a.print(map[string]string{"file": args[0], "sha256": sum, "result": "ok"}, func() table {
				return table{header: []string{"RESULT", "SHA256", "FILE"}, rows: [][]string{{"ok", sum, args[0]}}, names: []string{args[0]}}
			})
		},
	}
}

func noFile(path string) error {
	return exitWith(exitNotFound, coded("LEAT1225", "there is no file "+path, "flinkctl bundle build -o "+path+" PACKAGE"))
}

// upload stores a bundle file (or finds one stored by its SHA-256). It is
// checked here first, so that a broken file is refused before it travels.
func (a *app) upload(ctx context.Context, path string) (restapi.UploadResponse, error) {
	if bundle.ValidSHA256(path) {
		return restapi.UploadResponse{ID: path, Filename: path}, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, ".go") {
		return restapi.UploadResponse{}, exitWith(exitUsage, coded("LEAT1201", fmt.Sprintf("%s is source code, not a bundle", path),
			fmt.Sprintf("flinkctl bundle build %s -o job.bundle && flinkctl run job.bundle", path)))
	}
	b, err := bundle.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return restapi.UploadResponse{}, noFile(path)
	}
	if err != nil {
		return restapi.UploadResponse{}, own(err)
	}
	defer b.Close()
	sum, err := bundle.Identity(path)
	if err != nil {
		return restapi.UploadResponse{}, own(err)
	}
	stored, err := a.client().Bundles(ctx)
	if err != nil {
		return restapi.UploadResponse{}, err
	}
	for _, s := range stored {
		if s.ID == sum {
			return restapi.UploadResponse{ID: sum, Filename: s.Name}, nil
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return restapi.UploadResponse{}, err
	}
	defer f.Close()
	return a.client().Upload(ctx, filepath.Base(path), f)
}
