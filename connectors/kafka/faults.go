package kafka

import (
	"errors"
	"strings"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

// The codes of the errors that people see; docs/guides/kafka.md explains them.
const (
	codeUnreachable    = "LEAT5101"
	codeUnknownTopic   = "LEAT5113"
	codeAuth           = "LEAT5102"
	codeOutOfRange     = "LEAT5103"
	codeTxnTimeout     = "LEAT5104"
	codeTopicRecreated = "LEAT5105"
	codeTruncated      = "LEAT5106"
	codeBadRecord      = "LEAT5107"
	codeTxnLost        = "LEAT5108"
	codeNoCheckpoints  = "LEAT5109"
	codeRecordTooLarge = "LEAT5110"
	codeTxnUnproven    = "LEAT5111"
	codeTxnIDs         = "LEAT5112"
)

// unreachable gives an error of the network, which is tried again, its code;
// what the brokers said themselves stays as it is.
func unreachable(c *Connection, err error) error {
	var fatal *connectors.FatalError
	if err == nil || errors.As(err, &fatal) || kwire.CodeOf(err) != kwire.None {
		return err
	}
	return &connectors.Trouble{
		Code: codeUnreachable, What: "cannot reach Kafka at " + strings.Join(c.Brokers, ", "), Err: err,
		Fix: "correct the address, or bring the brokers back; likely also: they expect TLS or SASL",
	}
}

// fatalAuth makes an error that no retry mends a FatalError.
func fatalAuth(err error) error {
	var auth *kwire.AuthError
	code := kwire.CodeOf(err)
	switch {
	case errors.As(err, &auth):
		return &connectors.FatalError{
			Code: codeAuth, What: "the Kafka brokers refuse the job's user", Why: err.Error(),
			Fix: "correct the user, its password or the SASL mechanism",
		}
	case code == kwire.TxnIDAuthorization || code == kwire.TopicAuthorizationFailed || code == kwire.ClusterAuthorization:
		return &connectors.FatalError{
			Code: codeAuth, What: "the job's user lacks a right in Kafka", Why: err.Error(),
			Fix: "grant the right (write to the topic, idempotent write to the cluster, or the use of the transactional ids, prefix: the job's incarnation)",
		}
	}
	return err
}
