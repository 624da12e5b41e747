package rig

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Reader is a client that shares no code with the engine or with test/proof.
type Reader struct {
	Name string
	// Read returns the values of a topic's committed records.
	Read func(ctx context.Context, topic string) ([]string, error)
}

// Readers returns Java's client and librdkafka's.
func (r *Rig) Readers() []Reader {
	return []Reader{{"Java's console consumer", r.readJava}, {"librdkafka", r.readLibrdkafka}}
}

func (r *Rig) readJava(ctx context.Context, topic string) ([]string, error) {
	out, err := r.kafka(ctx, "class", "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", r.brokers,
		"--topic", topic, "--from-beginning", "--isolation-level", "read_committed", "--timeout-ms", "15000")
	return lines(out), err
}

func (r *Rig) readLibrdkafka(ctx context.Context, topic string) ([]string, error) {
	python, err := exec.CommandContext(ctx, filepath.Join(r.cfg.Module, "test/servers/librdkafka")).Output()
	if err != nil {
		return nil, fmt.Errorf("test/servers/librdkafka: %w", err)
	}
	cmd := exec.CommandContext(ctx, strings.TrimSpace(string(python)), filepath.Join(r.cfg.Module, "test/readers/librdkafka.py"), r.brokers, topic)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("librdkafka.py: %w: %s", err, errOut.String())
	}
	return lines(out), nil
}

func lines(b []byte) []string {
	text := strings.TrimSuffix(string(b), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}
