// Package kadmin does what people and checks ask of a Kafka cluster: topics,
// offsets, settings and transactions. It reads and writes no records.
package kadmin

import (
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

// Admin is a client's administrative side.
type Admin struct {
	*kwire.Client
}

// New makes an Admin of a client, which it borrows.
func New(cl *kwire.Client) *Admin { return &Admin{cl} }

// Denied reports whether err is a missing right.
func Denied(err error) bool {
	switch kwire.CodeOf(err) {
	case kwire.ClusterAuthorization, kwire.TopicAuthorizationFailed, kwire.TxnIDAuthorization, kwire.GroupAuthorizationFailed:
		return true
	}
	return false
}
