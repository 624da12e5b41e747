package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cluster is a local cluster run by flinkctl as a child process.
type cluster struct {
	bin         string
	rest, kafka string
	cmd         *exec.Cmd
	exited      chan error
}

// startCluster runs `flinkctl local up` and waits until it answers.
func startCluster(ctx context.Context, o options) (*cluster, error) {
	c := &cluster{bin: filepath.Join(o.bin, "flinkctl"), exited: make(chan error, 1)}
	logFile, err := os.Create(filepath.Join(o.dir, "local-up.log"))
	if err != nil {
		return nil, err
	}
	defer logFile.Close() // the child keeps its own
	data := filepath.Join(o.dir, "cluster")
	c.cmd = exec.Command(c.bin, "local", "up", "--dir", data, "--rest-port", "0", "--kafka", "--kafka-port", "0", "--taskmanagers", "2", "--slots", "2")
	c.cmd.Stdout, c.cmd.Stderr = logFile, logFile
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { c.exited <- c.cmd.Wait() }()
	for {
		var s struct{ REST, Kafka, State string }
		if err := c.query(ctx, &s, "local", "status", "--dir", data); err == nil && s.State == "up" {
			c.rest, c.kafka = s.REST, s.Kafka
			say("flinkctl local up answered after %s", time.Since(began).Round(10*time.Millisecond))
			return c, nil
		}
		select {
		case err := <-c.exited:
			text, _ := os.ReadFile(logFile.Name())
			return nil, fmt.Errorf("flinkctl local up ended: %w\n%s", err, text)
		case <-ctx.Done():
			_ = c.stop()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > 30*time.Second {
			_ = c.stop()
			text, _ := os.ReadFile(logFile.Name())
			return nil, fmt.Errorf("flinkctl local up does not answer:\n%s", text)
		}
	}
}

// stop ends the cluster and waits for it.
func (c *cluster) stop() error {
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		return nil // it has ended
	}
	select {
	case err := <-c.exited:
		if err != nil && !strings.Contains(err.Error(), "exit status 130") {
			return fmt.Errorf("flinkctl local up: %w", err)
		}
		return nil
	case <-time.After(15 * time.Second):
		_ = c.cmd.Process.Kill() // it may have ended
		return errors.Join(errors.New("flinkctl local up did not end within 15 s of an interrupt"), <-c.exited)
	}
}

// flinkctl runs a verb, showing what it says; out receives its stdout.
func (c *cluster) flinkctl(ctx context.Context, out io.Writer, args ...string) error {
	fmt.Println("$ flinkctl", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, c.bin, args...)
	cmd.Env = append(os.Environ(), "LEAT_JOBMANAGER="+c.rest)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if out != nil {
		cmd.Stdout = out
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("flinkctl %s: %w", args[0], err)
	}
	return nil
}

// query runs a verb with -o json and decodes what it prints.
func (c *cluster) query(ctx context.Context, v any, args ...string) error {
	cmd := exec.CommandContext(ctx, c.bin, append(args, "-o", "json")...)
	cmd.Env = append(os.Environ(), "LEAT_JOBMANAGER="+c.rest)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("flinkctl %s: %w: %s", strings.Join(args, " "), err, errOut.String())
	}
	return json.Unmarshal(out, v)
}
