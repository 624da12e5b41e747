package kafka

import (
	"errors"

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
