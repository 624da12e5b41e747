// Command s3server serves the sub-directories of a directory as S3 buckets
// until its standard input ends. It is a module of its own so that the S3
// server's many dependencies stay out of the product's.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: s3server ADDRESS DIRECTORY (keys in ROOT_ACCESS_KEY_ID and ROOT_SECRET_ACCESS_KEY)")
	}
	// A copy threshold of 0 would refuse every copy.
	be, err := posix.New(os.Args[2], meta.XattrMeta{}, posix.PosixOpts{CopyObjectThreshold: 5 << 30})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	go func() {
		// The end of the input is the end of the parent, however it died.
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	return embedgw.RunVersityGW(ctx, be, &embedgw.Config{
		RootUserAccess: os.Getenv("ROOT_ACCESS_KEY_ID"), RootUserSecret: os.Getenv("ROOT_SECRET_ACCESS_KEY"),
		Region: "us-east-1", Ports: []string{os.Args[1]}, Quiet: true, KeepAlive: true,
		MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10000,
	})
}
