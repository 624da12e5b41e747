package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leatstream/leat/test/proof"
)

// startup measures how long people wait.
func (b *bench) startup(ctx context.Context) error {
	if err := b.buildBundle(ctx); err != nil {
		return err
	}
	var up, first, committed []float64
	for i := range b.runs {
		dir := filepath.Join(b.dir, fmt.Sprintf("local-%d", i+1))
		t, err := b.localUp(ctx, dir)
		if err != nil {
			return err
		}
		up, first, committed = append(up, t.up.Seconds()), append(first, t.first.Seconds()), append(committed, t.committed.Seconds())
	}
	b.rep.row("local up, to the first REST answer", "s", up)
	b.rep.row("run, to the first record written", "s", first)
	b.rep.row("run, to the first record committed", "s", committed)
	return nil
}

type startTimes struct{ up, first, committed time.Duration }

// startupOrders are enough for some windows to be complete.
const startupOrders = 20_000

// localUp starts a local cluster with a broker in an empty folder, then the
// job, and waits for its first result.
func (b *bench) localUp(ctx context.Context, dir string) (t startTimes, err error) {
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return t, err
	}
	free, err := freeAddress()
	if err != nil {
		return t, err
	}
	rest := "http://" + free
	began := time.Now()
	p, err := startProgram(dir, "local", filepath.Join(b.bin, "flinkctl"), nil, "local", "up", "--dir", filepath.Join(dir, "data"),
		"--rest-port", free[len("127.0.0.1:"):], "--kafka", "--kafka-port", "0")
	if err != nil {
		return t, err
	}
	defer p.stop()
	if err := p.await(ctx, startMax, func() bool { return get(ctx, rest+"/v1/overview", &struct{}{}) == nil }); err != nil {
		return t, err
	}
	t.up = time.Since(began)
	brokers, err := b.localBroker(ctx, p, filepath.Join(dir, "data"))
	if err != nil {
		return t, err
	}
	topics := proof.TopicsWith("")
	if err := proof.CreateTopics(ctx, brokers, topics); err != nil {
		return t, err
	}
	if err := proof.Produce(ctx, brokers, topics.Orders, proof.Generate(b.seed, startupOrders, span), 0, nil); err != nil {
		return t, err
	}
	type seen struct {
		at  time.Duration
		err error
	}
	written, visible := make(chan seen, 1), make(chan seen, 1)
	began = time.Now()
	watch := func(level kgo.IsolationLevel, to chan seen) {
		err := awaitRecord(ctx, brokers, topics.Revenue, level)
		to <- seen{time.Since(began), err}
	}
	go watch(kgo.ReadUncommitted(), written)
	go watch(kgo.ReadCommitted(), visible)
	if _, err := b.flinkctl(ctx, rest, "run", b.bundle, "--wait", "detach", "--", "--brokers", brokers); err != nil {
		return t, err
	}
	w, v := <-written, <-visible
	if w.err != nil {
		return t, w.err
	}
	t.first, t.committed = w.at, v.at
	return t, v.err
}

func (b *bench) localBroker(ctx context.Context, p *program, data string) (string, error) {
	var s struct{ Kafka string }
	err := p.await(ctx, startMax, func() bool {
		out, err := b.flinkctl(ctx, "", "local", "status", "--dir", data, "-o", "json")
		return err == nil && json.Unmarshal(out, &s) == nil && s.Kafka != ""
	})
	return s.Kafka, err
}

func awaitRecord(ctx context.Context, brokers, topic string, level kgo.IsolationLevel) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(20*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		f := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("no record in %s: %w", topic, err)
		}
		if f.NumRecords() > 0 {
			return nil
		}
	}
}

// restTime is how long processes are left alone before their memory is read.
const restTime = 10 * time.Second

// memory measures a cluster that has nothing to do.
func (b *bench) memory(ctx context.Context) error {
	var jm, tm []float64
	for i := range min(b.runs, 3) {
		c, err := b.startCluster(ctx, filepath.Join(b.dir, fmt.Sprintf("rest-%d", i+1)))
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(restTime):
		}
		j, errJ := residentMiB(c.jm.pid())
		t, errT := residentMiB(c.tm.pid())
		c.stop()
		if errJ != nil || errT != nil {
			return fmt.Errorf("memory: %w", errors.Join(errJ, errT))
		}
		jm, tm = append(jm, j), append(tm, t)
	}
	b.rep.row("jobmanager at rest", "MiB", jm)
	b.rep.row("taskmanager at rest", "MiB", tm)
	return nil
}
