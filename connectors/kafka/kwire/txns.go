package kwire

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	describeTxnsKey = 65
	listTxnsKey     = 66
)

// Txn is a transactional id as its coordinator knows it.
type Txn struct {
	ID       string
	Producer Producer // the epoch is known after DescribeTxn only
	State    string   // Empty, Ongoing, PrepareCommit, PrepareAbort, CompleteCommit, CompleteAbort, ...
	// The rest is known after DescribeTxn only.
	Timeout    time.Duration
	Started    time.Time // zero: no transaction is open
	Partitions []TopicPartitions
}

// ListTxns asks every broker for the transactional ids that it coordinates, in
// the given states (none: all), in the order of the ids.
func (c *Client) ListTxns(ctx context.Context, states ...string) ([]Txn, error) {
	if _, err := c.Metadata(ctx, []string{}); err != nil {
		return nil, err
	}
	c.mu.Lock()
	ids := make([]int32, 0, len(c.meta.brokers))
	for id := range c.meta.brokers {
		ids = append(ids, id)
	}
	c.mu.Unlock()
	var out []Txn
	for _, id := range ids {
		err := c.retry(ctx, fmt.Sprintf("transactions of broker %d", id), func() error {
			conn, err := c.Broker(ctx, id, LaneControl)
			if err != nil {
				return err
			}
			got, err := conn.listTxns(ctx, states)
			out = append(out, got...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b Txn) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (c *Conn) listTxns(ctx context.Context, states []string) ([]Txn, error) {
	v, err := c.version(listTxnsKey, 0, 0)
	if err != nil {
		return nil, err
	}
	b := putCompactCount(nil, len(states))
	for _, s := range states {
		b = putCompactString(b, s)
	}
	b = append(b, 1, 0) // no producer ids, no tags
	cur, err := c.callRaw(ctx, listTxnsKey, v, true, b)
	if err != nil {
		return nil, err
	}
	return readListTxns(cur)
}

func readListTxns(cur *cursor) ([]Txn, error) {
	cur.i32() // throttle
	if code := Code(cur.i16()); code != None {
		return nil, code
	}
	for range cur.count(1) {
		_ = cur.string() // unknown states
	}
	var out []Txn
	for range cur.count(10) {
		t := Txn{ID: cur.string(), Producer: Producer{ID: cur.i64(), Epoch: -1}, State: cur.string()}
		cur.tags()
		out = append(out, t)
	}
	return out, cur.end("list of transactions")
}

// DescribeTxn asks the coordinator about a transactional id.
func (c *Client) DescribeTxn(ctx context.Context, txnID string) (Txn, error) {
	var out Txn
	err := c.retry(ctx, fmt.Sprintf("transactional id %q", txnID), func() (err error) {
		out, err = c.describeTxn(ctx, txnID)
		return err
	})
	return out, err
}

// describeTxn is one try of DescribeTxn.
func (c *Client) describeTxn(ctx context.Context, txnID string) (Txn, error) {
	k := coordKey{coordTxn, txnID}
	conn, err := c.coordinator(ctx, k)
	if err != nil {
		return Txn{}, err
	}
	v, err := conn.version(describeTxnsKey, 0, 0)
	if err != nil {
		return Txn{}, err
	}
	b := putCompactString(putCompactCount(nil, 1), txnID)
	cur, err := conn.callRaw(ctx, describeTxnsKey, v, true, append(b, 0))
	if err != nil {
		c.forget(k)
		return Txn{}, err
	}
	t, code, err := readDescribeTxn(cur)
	if err != nil {
		return Txn{}, err
	}
	if code.StaleCoordinator() {
		c.forget(k)
	}
	return t, code.Err()
}

func readDescribeTxn(cur *cursor) (t Txn, code Code, err error) {
	cur.i32() // throttle
	for range cur.count(30) {
		code = Code(cur.i16())
		t = Txn{ID: cur.string(), State: cur.string(), Timeout: time.Duration(cur.i32()) * time.Millisecond}
		if started := cur.i64(); started > 0 {
			t.Started = time.UnixMilli(started)
		}
		t.Producer = Producer{ID: cur.i64(), Epoch: cur.i16()}
		for range cur.count(3) {
			tp := TopicPartitions{Topic: cur.string(), Partitions: cur.i32s()}
			cur.tags()
			t.Partitions = append(t.Partitions, tp)
		}
		cur.tags()
	}
	return t, code, cur.end("transaction")
}

// DeleteRecords deletes the records of a partition before an offset.
func (c *Client) DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	const key = 21
	return c.retry(ctx, fmt.Sprintf("delete records of %q %d", topic, partition), func() error {
		if _, err := c.Metadata(ctx, []string{topic}); err != nil {
			return err
		}
		id, _, err := c.Leader(topic, partition)
		if err != nil {
			return err
		}
		conn, err := c.Broker(ctx, id, LaneControl)
		if err != nil {
			return err
		}
		v, err := conn.version(key, 0, 1)
		if err != nil {
			return err
		}
		b := putString(putI32(nil, 1), topic)
		b = putI32(putI32(b, 1), partition)
		b = putI32(putI64(b, before), int32(adminTimeout.Milliseconds()))
		cur, err := conn.callRaw(ctx, key, v, false, b)
		if err != nil {
			return err
		}
		cur.i32() // throttle
		code := UnknownServerError
		for range cur.count(6) {
			_ = cur.string()
			for range cur.count(14) {
				cur.i32()
				cur.i64() // new first offset
				code = Code(cur.i16())
			}
		}
		if err := cur.end("delete records"); err != nil {
			return err
		}
		return code.Err()
	})
}
