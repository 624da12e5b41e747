// Package kadmin does what people and checks ask of a Kafka cluster: topics,
// offsets, settings and transactions. It reads and writes no records.
package kadmin

import (
	"context"
	"fmt"
	"strings"

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

// OpenTxns returns the transactions that are open or about to end, described.
// prefix, unless empty, is that of the transactional ids to look at: the
// sinks' ids are "incarnation/sink UID/number".
func (a *Admin) OpenTxns(ctx context.Context, prefix string) ([]kwire.Txn, error) {
	list, err := a.ListTxns(ctx, "Ongoing", "PrepareCommit", "PrepareAbort")
	if err != nil {
		return nil, err
	}
	var out []kwire.Txn
	for _, t := range list {
		if !strings.HasPrefix(t.ID, prefix) {
			continue
		}
		d, err := a.DescribeTxn(ctx, t.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Resolve ends the open transaction of an id, as a person decides. It fails
// when none is open, so that a second commit is never mistaken for a first.
func (a *Admin) Resolve(ctx context.Context, txnID string, o kwire.Outcome) (kwire.Txn, error) {
	t, err := a.DescribeTxn(ctx, txnID)
	if err != nil {
		return t, err
	}
	if t.State != "Ongoing" {
		return t, fmt.Errorf("transactional id %q has no open transaction, its state is %s", txnID, t.State)
	}
	return t, a.EndTxn(ctx, txnID, t.Producer, o)
}
