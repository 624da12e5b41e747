package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/clock"
)

// Connection says how to reach a cluster.
type Connection struct {
	// Brokers are the addresses to start from, host:port.
	Brokers []string
	// ClientID is shown in the brokers' logs and quotas; default "leat".
	ClientID string
	// TLS turns TLS on; &tls.Config{} verifies with the system's roots.
	TLS *tls.Config
	// SASL authenticates. Its password is better given by PasswordEnv or
	// PasswordFile, which are read in the worker only.
	SASL kwire.SASL
	// PasswordEnv names the environment variable that holds the password.
	PasswordEnv string
	// PasswordFile names the file that holds the password (a mounted secret).
	PasswordFile string
}

// detail describes the connection without its secrets.
func (c *Connection) detail() string {
	var b strings.Builder
	fmt.Fprintf(&b, "brokers=%s", strings.Join(c.Brokers, ","))
	if c.TLS != nil {
		b.WriteString(" tls")
	}
	if c.SASL.Mechanism != "" {
		fmt.Fprintf(&b, " sasl=%v", c.SASL)
	}
	return b.String()
}

func (c *Connection) validate() error {
	cfg := kwire.Config{Brokers: c.Brokers, SASL: c.SASL}
	err := cfg.Validate()
	given := 0
	for _, s := range []string{c.SASL.Password, c.PasswordEnv, c.PasswordFile} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		err = errors.Join(err, errors.New("the password is given more than once: want one of Password, PasswordEnv, PasswordFile"))
	}
	return err
}

func (c *Connection) client(clk clock.Clock, log *slog.Logger, trouble func(error)) (*kwire.Client, error) {
	sasl := c.SASL
	switch {
	case c.PasswordEnv != "":
		v, ok := os.LookupEnv(c.PasswordEnv)
		if !ok {
			return nil, fmt.Errorf("environment variable %s, which holds the Kafka password, is not set in the worker", c.PasswordEnv)
		}
		sasl.Password = v
	case c.PasswordFile != "":
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("file with the Kafka password: %w", err)
		}
		sasl.Password = strings.TrimRight(string(b), "\r\n")
	}
	cfg := kwire.Config{Brokers: slices.Clone(c.Brokers), ClientID: c.ClientID, TLS: c.TLS, SASL: sasl, Clock: clk, Log: log}
	if trouble != nil {
		cfg.Trying = func(err error) { trouble(unreachable(c, err)) }
	}
	return kwire.NewClient(cfg)
}
