package rig

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Keys of the S3 server.
const (
	accessKey = "leat-e2e"
	secretKey = "leat-e2e-secret"
	bucket    = "leat"
)

// haPrefix is that of the cluster's keys in etcd.
const haPrefix = "leat/e2e"

// upMax is how long a server may take to serve.
const upMax = 2 * time.Minute

// freePort returns a port that nobody listens on, and for which neither
// does on the port that is higher by each of the offsets.
func freePort(offsets ...int) (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		ok := port+200 < 1<<16
		for _, o := range offsets {
			other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+o))
			if err != nil {
				ok = false
				continue
			}
			_ = other.Close() // it only tried
		}
		_ = l.Close()
		if ok {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port is found")
}

// startServers starts etcd and S3, then Kafka.
func (r *Rig) startServers(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, filepath.Join(r.cfg.Module, "test/servers/build")).Output()
	if err != nil {
		return fmt.Errorf("test/servers/build: %w", err)
	}
	programs := strings.TrimSpace(string(out))
	client, err := freePort()
	if err != nil {
		return err
	}
	peer, err := freePort()
	if err != nil {
		return err
	}
	etcdHost, err := r.cfg.Network.Host("etcd")
	if err != nil {
		return err
	}
	r.etcdURL = fmt.Sprintf("http://%s:%d", etcdHost, client)
	peerURL := fmt.Sprintf("http://%s:%d", etcdHost, peer)
	r.etcd = r.process("etcd", filepath.Join(programs, "etcd"), "--name", "e", "--data-dir", filepath.Join(r.dir, "etcd"),
		"--listen-client-urls", r.etcdURL, "--advertise-client-urls", r.etcdURL,
		"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "e="+peerURL,
		"--unsafe-no-fsync", "--log-level", "warn")
	objects := filepath.Join(r.dir, "s3")
	if err := os.MkdirAll(filepath.Join(objects, bucket), 0o755); err != nil {
		return err
	}
	s3Host, err := r.cfg.Network.Host("s3")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	r.s3Direct = fmt.Sprintf("http://%s:%d", s3Host, port)
	r.s3 = r.process("s3", filepath.Join(programs, "versitygw"), "--port", fmt.Sprintf("%s:%d", s3Host, port), "--quiet", "--keep-alive", "posix", objects)
	r.s3.env = append(r.s3.env, "ROOT_ACCESS_KEY_ID="+accessKey, "ROOT_SECRET_ACCESS_KEY="+secretKey)
	for _, p := range []*process{r.etcd, r.s3} {
		if err := p.start(); err != nil {
			return err
		}
	}
	r.s3URL = r.s3Direct
	if r.cfg.Front != nil {
		if r.s3URL, err = r.cfg.Front(ctx, r.s3Direct); err != nil {
			return err
		}
	}
	if r.kafkaPort, err = freePort(100); err != nil {
		return err
	}
	if err := r.startKafka(ctx); err != nil {
		return err
	}
	return r.awaitServers(ctx)
}

func (r *Rig) awaitServers(ctx context.Context) error {
	for _, url := range []string{r.etcdURL + "/health", r.s3Direct + "/"} {
		if err := await(ctx, upMax, func() error { return answers(ctx, url) }); err != nil {
			return err
		}
	}
	return nil
}

// answers reports whether an HTTP server says anything but a fault of its own.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // nothing of it is used
	if resp.StatusCode >= 500 {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// kafka runs the script of the broker.
func (r *Rig) kafka(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(r.cfg.Module, "test/servers/kafka"), args...)
	cmd.Env = append(os.Environ(), marker+"="+r.dir, "KAFKA_JVM=-Xmx400m -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := r.cfg.Network.Start(kafkaGroup, cmd); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return out.Bytes(), fmt.Errorf("kafka %s: %w: %s", args[0], err, errOut.String())
	}
	return out.Bytes(), nil
}

const kafkaGroup = "kafka"

func (r *Rig) startKafka(ctx context.Context) error {
	host, err := r.cfg.Network.Host(kafkaGroup)
	if err != nil {
		return err
	}
	out, err := r.kafka(ctx, "start", "--dir", filepath.Join(r.dir, "kafka"), "--host", host, "--port", fmt.Sprint(r.kafkaPort))
	r.brokers = strings.TrimSpace(string(out))
	return err
}

func (r *Rig) killKafka(ctx context.Context) error {
	_, err := r.kafka(ctx, "kill", "1", "--dir", filepath.Join(r.dir, "kafka"))
	return err
}

// await calls f until it returns nil.
func await(ctx context.Context, limit time.Duration, f func() error) error {
	began := time.Now()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if time.Since(began) > limit {
			return fmt.Errorf("not after %s: %w", limit, err)
		}
		if err := Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// Pause waits, or returns why ctx has ended.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
