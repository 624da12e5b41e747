// Package devbroker is a Kafka-protocol broker inside this process, for
// `flinkctl local` and for tests. It is one process without replicas: not for
// production, and no part of a bundle.
package devbroker

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Config says what broker to start. The zero value: one broker on a free port
// that keeps its records in memory.
type Config struct {
	// Ports to listen on at 127.0.0.1, one for each broker; empty: one broker
	// on a free port.
	Ports []int
	// Brokers is the number of brokers when Ports is empty; default 1.
	Brokers int
	// DataDir keeps the records on disk, and those of an earlier life.
	// Without it memory grows with what is written.
	DataDir string
	// SyncWrites makes each write durable before it is answered.
	SyncWrites bool
	// Topics are created at the start, with their number of partitions,
	// unless they exist.
	Topics map[string]int
	// AutoCreate creates topics that clients ask for.
	AutoCreate bool
	// Settings are dynamic broker settings ("transaction.max.timeout.ms").
	Settings map[string]string
	TLS      *tls.Config
	// Users makes the broker want SASL.
	Users []User
	Log   *slog.Logger // default none
}

// User is a SASL user. Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
type User struct{ Mechanism, Name, Password string }

// Broker is a running broker. It is safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	once    sync.Once
}

// Start starts a broker; it serves when Start returns.
func Start(cfg Config) (*Broker, error) {
	opts := []kfake.Opt{kfake.DefaultNumPartitions(1)}
	switch {
	case len(cfg.Ports) > 0:
		opts = append(opts, kfake.NumBrokers(len(cfg.Ports)), kfake.Ports(cfg.Ports...))
	default:
		opts = append(opts, kfake.NumBrokers(max(1, cfg.Brokers)))
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	if cfg.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	if cfg.AutoCreate {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if len(cfg.Settings) > 0 {
		opts = append(opts, kfake.BrokerConfigs(cfg.Settings))
	}
	if cfg.TLS != nil {
		opts = append(opts, kfake.TLS(cfg.TLS))
	}
	if len(cfg.Users) > 0 {
		opts = append(opts, kfake.EnableSASL())
	}
	for _, u := range cfg.Users {
		opts = append(opts, kfake.Superuser(u.Mechanism, u.Name, u.Password))
	}
	if cfg.Log != nil {
		opts = append(opts, kfake.WithLogger(logger{cfg.Log}))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	b := &Broker{cluster: c}
	for _, topic := range slices.Sorted(maps.Keys(cfg.Topics)) {
		if err := b.CreateTopic(topic, cfg.Topics[topic]); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// Addrs returns the addresses of the brokers.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// Bootstrap returns the addresses as clients take them: host:port,host:port.
func (b *Broker) Bootstrap() string { return strings.Join(b.Addrs(), ",") }

// CreateTopic creates a topic unless it exists.
func (b *Broker) CreateTopic(topic string, partitions int) error {
	if topic == "" || partitions < 1 {
		return fmt.Errorf("topic %q with %d partitions: want a name and at least one partition", topic, partitions)
	}
	if b.cluster.TopicInfo(topic) != nil {
		return nil
	}
	if err := b.cluster.CreateTopic(topic, int32(partitions), nil); err != nil && b.cluster.TopicInfo(topic) == nil {
		return fmt.Errorf("create topic %q: %w", topic, err)
	}
	return nil
}

// Cluster returns the broker's own type, for faults in tests.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close stops the broker; with DataDir all is on disk when it returns.
func (b *Broker) Close() { b.once.Do(b.cluster.Close) }

type logger struct{ l *slog.Logger }

// Logf implements kfake.Logger.
func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.l.Error(fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.l.Warn(fmt.Sprintf(format, args...))
	case kfake.LogLevelNone:
	default:
		l.l.Debug(fmt.Sprintf(format, args...))
	}
}
