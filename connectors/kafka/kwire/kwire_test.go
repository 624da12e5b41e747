package kwire_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leatstream/leat/connectors/kafka/kafkatest"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/devbroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, cfg kwire.Config) *kwire.Client {
	t.Helper()
	cl, err := kwire.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := clock.Real{}.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLSAndSASL(t *testing.T) {
	t.Parallel()
	cert, pool := certificate(t)
	const name, password = "juergen", "pass-word"
	for _, m := range []kwire.Mechanism{kwire.Plain, kwire.ScramSHA256, kwire.ScramSHA512} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			b := kafkatest.Embedded(t, devbroker.Config{
				TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Topics: map[string]int{"orders": 2},
				Users: []devbroker.User{{Mechanism: string(m), Name: name, Password: password}},
			})
			cfg := kwire.Config{Brokers: b.Addrs(), TLS: &tls.Config{RootCAs: pool}, SASL: kwire.SASL{Mechanism: m, User: name, Password: password}}
			got, err := client(t, cfg).Metadata(t.Context(), []string{"orders"})
			if err != nil || len(got) != 1 || len(got[0].Partitions) != 2 {
				t.Fatalf("%+v %v", got, err)
			}
			cfg.SASL.Password = "hunter2"
			if _, err := client(t, cfg).Any(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "SASL") {
				t.Fatalf("a wrong password: %v", err)
			}
		})
	}
}

func TestMissingTLSAndSASLAreExplained(t *testing.T) {
	t.Parallel()
	cert, _ := certificate(t)
	secure := kafkatest.Embedded(t, devbroker.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	plain := kafkatest.Embedded(t, devbroker.Config{})
	for name, c := range map[string]struct {
		cfg  kwire.Config
		want string
	}{
		"plaintext to a TLS port": {kwire.Config{Brokers: secure.Addrs()}, "TLS"},
		"TLS to a plaintext port": {kwire.Config{Brokers: plain.Addrs(), TLS: &tls.Config{InsecureSkipVerify: true}}, "plaintext port"},
		"nobody listens":          {kwire.Config{Brokers: []string{"127.0.0.1:1"}}, "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.cfg.DialTimeout = 3 * time.Second
			_, err := client(t, c.cfg).Any(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	_, err := kwire.NewClient(kwire.Config{Brokers: []string{"nohost"}, SASL: kwire.SASL{Mechanism: "GSSAPI"}})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"nohost", "GSSAPI", "without a user"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// TestSilentBrokerTimesOut: a peer that takes requests and never answers must
// not hold a call for ever.
func TestSilentBrokerTimesOut(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() })
		}
	})
	defer wg.Wait()
	defer func() { _ = ln.Close() }()
	cl := client(t, kwire.Config{Brokers: []string{ln.Addr().String()}, RequestTimeout: 100 * time.Millisecond, DialTimeout: 200 * time.Millisecond})
	defer cl.Close()
	if _, err := cl.Any(t.Context()); err == nil || !strings.Contains(err.Error(), "in time") && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestCallsEndWhenTheClientIsClosed(t *testing.T) {
	t.Parallel()
	b := kafkatest.Embedded(t, devbroker.Config{Topics: map[string]int{"x": 1}})
	cl := client(t, kwire.Config{Brokers: b.Addrs()})
	if _, err := cl.Metadata(t.Context(), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	id, _, err := cl.Leader("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := cl.Broker(t.Context(), id, kwire.LaneFetch)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := conn.Fetch(context.Background(), &kwire.FetchRequest{MaxWait: time.Minute, MinBytes: 1, MaxBytes: 1 << 20, Topics: []kwire.FetchTopic{
			{Topic: "x", Partitions: []kwire.FetchPartition{{LeaderEpoch: -1, MaxBytes: 1 << 20}}},
		}}, nil)
		done <- err
	}()
	cl.Close()
	if err := <-done; !errors.Is(err, kwire.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if _, err := cl.Any(t.Context()); !errors.Is(err, kwire.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}
