// Package settings is the configuration of the programs jobmanager and
// taskmanager: their options as structs for internal/config, the rules
// between them, and the parts that they name (object store, coordination,
// log). It starts nothing.
package settings

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leatstream/leat/checkpoint/store"
	"github.com/leatstream/leat/checkpoint/store/filestore"
	"github.com/leatstream/leat/checkpoint/store/s3store"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/config"
	"github.com/leatstream/leat/internal/telemetry"
	"github.com/leatstream/leat/runtime/ha"
	"github.com/leatstream/leat/runtime/ha/etcdha"
	"github.com/leatstream/leat/runtime/ha/memha"
)

// Log is how a program logs.
type Log struct {
	Level  string `config:"level" default:"info" enum:"debug,info,warn,error" help:"least important messages that are logged"`
	Format string `config:"format" default:"text" enum:"text,json" help:"form of the log"`
}

// Logger returns the logger; w usually is stderr.
func (l Log) Logger(w io.Writer) (*slog.Logger, error) {
	return telemetry.NewLogger(w, l.Format, l.Level)
}

// Store is where bundles, checkpoints and savepoints are.
type Store struct {
	URI          string        `config:"uri" help:"object store: file:///path (a folder that all machines share) or s3://bucket/prefix"`
	Endpoint     string        `config:"endpoint" help:"S3: URL of the server; empty for AWS"`
	Region       string        `config:"region" help:"S3: region"`
	PathStyle    bool          `config:"path-style" default:"true" help:"S3: the bucket goes into the path, as most servers but AWS want it"`
	AccessKey    string        `config:"access-key" help:"S3: access key; empty: from the environment, the credentials file or the machine's role"`
	SecretKey    config.Secret `config:"secret-key" help:"S3: secret key"`
	SessionToken config.Secret `config:"session-token" help:"S3: token of temporary credentials"`
}

// Validate implements config.Validator.
func (s *Store) Validate() []error {
	if s.URI == "" {
		return []error{errors.New("store.uri: it must be set, as file:///var/lib/leat/store or s3://bucket/prefix")}
	}
	scheme, rest, ok := strings.Cut(s.URI, "://")
	switch {
	case !ok || scheme != "file" && scheme != "s3":
		return []error{fmt.Errorf("store.uri: %q is neither file:///path nor s3://bucket/prefix", scheme)}
	case strings.Contains(strings.SplitN(rest, "/", 2)[0], "@"):
		return []error{errors.New("store.uri: it holds credentials: use store.access-key and store.secret-key")}
	case scheme == "file" && !filepath.IsAbs(rest):
		return []error{fmt.Errorf("store.uri: the path %q is not absolute: write file:///path", rest)}
	case scheme == "s3" && strings.SplitN(rest, "/", 2)[0] == "":
		return []error{errors.New("store.uri: it names no bucket: write s3://bucket/prefix")}
	case (s.AccessKey == "") != (s.SecretKey == ""):
		return []error{errors.New("store.access-key: it and store.secret-key go together: set both or none")}
	}
	return nil
}

// Open returns the store.
func (s Store) Open(c clock.Clock) (store.Store, error) {
	scheme, rest, _ := strings.Cut(s.URI, "://")
	if scheme == "file" {
		return filestore.New(filestore.Config{Dir: rest})
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	return s3store.New(s3store.Config{
		Endpoint: s.Endpoint, Bucket: bucket, Prefix: prefix, Region: s.Region, PathStyle: s.PathStyle,
		AccessKey: s.AccessKey, SecretKey: string(s.SecretKey), SessionToken: string(s.SessionToken),
	}, c)
}

// HA is how jobmanagers elect a leader.
type HA struct {
	Kind      string        `config:"kind" default:"etcd" enum:"etcd,memory" help:"etcd; or memory, for one jobmanager that forgets its jobs when it ends (development only)"`
	Endpoints []string      `config:"endpoints" help:"etcd: URLs of its members"`
	Prefix    string        `config:"prefix" default:"leat/default" help:"etcd: prefix of the cluster's keys; clusters that share an etcd differ in it"`
	Username  string        `config:"username" help:"etcd: user"`
	Password  config.Secret `config:"password" help:"etcd: password"`
	Lease     time.Duration `config:"lease" default:"2s" min:"1s" help:"etcd: how long a dead leader stands in the way, in whole seconds"`
}

// Validate implements config.Validator.
func (h *HA) Validate() []error {
	if h.Kind == "etcd" && len(h.Endpoints) == 0 {
		return []error{errors.New("ha.endpoints: it must name etcd's members, or set ha.kind to memory for development")}
	}
	if h.Lease%time.Second != 0 {
		return []error{fmt.Errorf("ha.lease: %s is not a whole number of seconds", h.Lease)}
	}
	return nil
}

// Open returns the way into the coordination service.
func (h HA) Open(c clock.Clock, log *slog.Logger) (ha.Coordination, error) {
	if h.Kind == "memory" {
		return memha.NewService().Contender(), nil
	}
	cfg := etcdha.Config{
		Endpoints: h.Endpoints, Prefix: h.Prefix, Username: h.Username, Password: string(h.Password), LeaseTTL: h.Lease, Log: log,
	}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return etcdha.New(cfg, c)
}

// Loopback reports whether only this machine reaches a host or host:port.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// exposed is the fault of an address that others reach while nothing guards it.
func exposed(option, address string, insecure bool) error {
	if insecure || Loopback(address) {
		return nil
	}
	return fmt.Errorf("%s: %s is reachable from other machines, and whoever reaches it can run programs here: "+
		"listen on 127.0.0.1, or set insecure to true if the network keeps others out", option, address)
}

func checkListen(option, address string, insecure bool) []error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return []error{fmt.Errorf("%s: %q is not host:port", option, address)}
	}
	if err := exposed(option, address, insecure); err != nil {
		return []error{err}
	}
	return nil
}

// hostname is the machine's name, for names that nobody gave.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return name
}
