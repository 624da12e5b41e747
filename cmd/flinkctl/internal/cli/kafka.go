package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transaction is one transactional id as the brokers know it.
type transaction struct {
	ID            string   `json:"id"`
	State         string   `json:"state"`
	ProducerID    int64    `json:"producerId"`
	ProducerEpoch int16    `json:"producerEpoch"`
	Started       int64    `json:"started,omitempty"` // milliseconds since the epoch
	TimeoutMillis int32    `json:"timeoutMillis"`
	Partitions    []string `json:"partitions,omitempty"`
}

func (a *app) kafkaCommands() *cobra.Command {
	c := &cobra.Command{Use: "kafka", Short: "Create topics, write and read them, end transactions that jobs left"}
	txn := &cobra.Command{Use: "txn", Short: "List, commit and abort transactions"}
	txn.Args = noSuchCommand
	txn.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	txn.AddCommand(a.txnList(), a.txnEnd("commit", true), a.txnEnd("abort", false))
	c.AddCommand(txn, a.kafkaCreate(), a.kafkaProduce(), a.kafkaConsume())
	return c
}

func brokersFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "brokers", envOr("LEAT_KAFKA", "127.0.0.1:9092"), "bootstrap brokers, host:port,… (LEAT_KAFKA)")
}

func kafkaClient(brokers string) (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.RetryTimeout(10*time.Second), kgo.DialTimeout(5*time.Second), kgo.RecordDeliveryTimeout(produceTimeout))
}

// kafkaError names the brokers that did not answer.
func kafkaError(brokers string, err error) error {
	var k *kerr.Error
	if errors.As(err, &k) {
		return coded("LEAT5100", "the broker refuses: "+k.Description, "see what the brokers log about it, and the rights of the user")
	}
	e := coded("LEAT5101", "cannot reach Kafka at "+brokers, "check --brokers")
	e.Why = err.Error()
	return exitWith(exitUnreachable, e)
}

func (a *app) txnList() *cobra.Command {
	var brokers string
	var all bool
	c := &cobra.Command{
		Use: "list [PREFIX]", Aliases: []string{"ls"}, Short: "List transactions whose id begins with PREFIX; without --all only open ones", Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := kafkaClient(brokers)
			if err != nil {
				return usagef("%v", err)
			}
			defer cl.Close()
			list, err := transactions(c.Context(), cl)
			if err != nil {
				return kafkaError(brokers, err)
			}
			list = slices.DeleteFunc(list, func(t transaction) bool {
				return len(args) == 1 && !strings.HasPrefix(t.ID, args[0]) || !all && (t.State == "Empty" || strings.HasPrefix(t.State, "Complete"))
			})
			return a.print(list, func() table {
				t := table{header: []string{"STATE", "AGE", "PRODUCER", "EPOCH", "PARTITIONS", "ID"}, empty: "No open transactions."}
				for _, x := range list {
					t.rows = append(t.rows, []string{x.State, ago(x.Started), fmt.Sprint(x.ProducerID), fmt.Sprint(x.ProducerEpoch), dash(strings.Join(x.Partitions, ",")), x.ID})
					t.names = append(t.names, x.ID)
				}
				return t
			})
		},
	}
	brokersFlag(c, &brokers)
	c.Flags().BoolVar(&all, "all", false, "also those that are complete or empty")
	return c
}

// transactions asks every broker for its transactional ids, then for each.
func transactions(ctx context.Context, cl *kgo.Client) ([]transaction, error) {
	ids := make(map[string]bool)
	for _, shard := range cl.RequestSharded(ctx, kmsg.NewPtrListTransactionsRequest()) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		resp := shard.Resp.(*kmsg.ListTransactionsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, err
		}
		for _, s := range resp.TransactionStates {
			ids[s.TransactionalID] = true
		}
	}
	out := []transaction{}
	if len(ids) == 0 {
		return out, nil
	}
	req := kmsg.NewPtrDescribeTransactionsRequest()
	for id := range ids {
		req.TransactionalIDs = append(req.TransactionalIDs, id)
	}
	slices.Sort(req.TransactionalIDs)
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, s := range shard.Resp.(*kmsg.DescribeTransactionsResponse).TransactionStates {
			if err := kerr.ErrorForCode(s.ErrorCode); err != nil {
				if errors.Is(err, kerr.TransactionalIDNotFound) {
					continue // it expired between the two requests
				}
				return nil, err
			}
			out = append(out, describe(s))
		}
	}
	slices.SortFunc(out, func(x, y transaction) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}

func describe(s kmsg.DescribeTransactionsResponseTransactionState) transaction {
	t := transaction{
		ID: s.TransactionalID, State: s.State, ProducerID: s.ProducerID, ProducerEpoch: s.ProducerEpoch,
		Started: max(0, s.StartTimestamp), TimeoutMillis: s.TimeoutMillis,
	}
	for _, topic := range s.Topics {
		for _, p := range topic.Partitions {
			t.Partitions = append(t.Partitions, fmt.Sprintf("%s-%d", topic.Topic, p))
		}
	}
	return t
}

// txnEnd makes the verb that commits or aborts one transaction by hand.
func (a *app) txnEnd(verb string, commit bool) *cobra.Command {
	var brokers string
	c := &cobra.Command{
		Use: verb + " ID", Short: "End one open transaction: " + verb + " it", Args: cobra.ExactArgs(1),
		Long: "End one open transaction by hand. Only for a job that will not come back: a running or restarting job\nends its own transactions by what its checkpoint holds.",
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := kafkaClient(brokers)
			if err != nil {
				return usagef("%v", err)
			}
			defer cl.Close()
			t, err := openTransaction(c.Context(), cl, brokers, args[0])
			if err != nil {
				return err
			}
			if err := a.askName(fmt.Sprintf("%s the transaction %s (%s, %s)? A job that still needs it would lose or double records.", verb, t.ID, t.State, strings.Join(t.Partitions, ", ")), t.ID); err != nil {
				return err
			}
			if err := endTransaction(c.Context(), cl, t, commit); err != nil {
				return kafkaError(brokers, err)
			}
			return a.print(map[string]string{"id": t.ID, "result": verb}, func() table {
				return table{header: []string{"RESULT", "ID"}, rows: [][]string{{verb, t.ID}}}
			})
		},
	}
	brokersFlag(c, &brokers)
	return c
}

func openTransaction(ctx context.Context, cl *kgo.Client, brokers, id string) (transaction, error) {
	list, err := transactions(ctx, cl)
	if err != nil {
		return transaction{}, kafkaError(brokers, err)
	}
	for _, t := range list {
		if t.ID == id {
			return t, nil
		}
	}
	return transaction{}, exitWith(exitNotFound, coded("LEAT0404", fmt.Sprintf("no transaction has the id %q", id), "flinkctl kafka txn list --all"))
}

// endTransaction retries while the coordinator is loading or still writes
// the markers of the transaction before.
func endTransaction(ctx context.Context, cl *kgo.Client, t transaction, commit bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = t.ID, t.ProducerID, t.ProducerEpoch, commit
	const attemptsMax = 50
	for i := 0; ; i++ {
		resp, err := req.RequestWith(ctx, cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) && !errors.Is(err, kerr.CoordinatorLoadInProgress) || i == attemptsMax {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}
