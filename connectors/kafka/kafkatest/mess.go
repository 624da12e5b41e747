package kafkatest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"

	"github.com/leatstream/leat/connectors/kafka/kproduce"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
)

// messer is one of the producers of Mess.
type messer struct {
	txnID string
	p     *kproduce.Producer
	who   kwire.Producer
	open  bool
}

// Mess writes to a topic with several transactional producers at once, in
// random small steps of which each writes, commits or aborts, and a plain
// producer between them. All transactions are ended when it returns.
func Mess(t testing.TB, brokers []string, topic string, producers, steps int, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, seed))
	cl, err := kwire.NewClient(kwire.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	all := make([]*messer, producers)
	for i := range all {
		all[i] = newMesser(t, cl, fmt.Sprintf("%s-%d", topic, i), krecord.Codec(i%5))
		defer all[i].p.Close()
	}
	plain := newMesser(t, cl, "", krecord.NoCompression)
	defer plain.p.Close()
	for step := range steps {
		m := all[r.IntN(len(all))]
		switch n := r.IntN(12); {
		case n < 7:
			m.write(t, topic, fmt.Sprintf("%d-%s", step, m.txnID), r)
		case n < 8:
			plain.write(t, topic, fmt.Sprintf("%d-plain", step), r)
		case m.open:
			m.end(t, cl, n%2 == 0)
		}
	}
	for _, m := range all {
		if m.open {
			m.end(t, cl, true)
		}
	}
	Settle(t, brokers, topic)
}

func newMesser(t testing.TB, cl *kwire.Client, txnID string, codec krecord.Codec) *messer {
	t.Helper()
	m := &messer{txnID: txnID, p: kproduce.New(kproduce.Config{Client: cl, Codec: codec})}
	m.begin(t, cl, kwire.NoProducer())
	return m
}

func (m *messer) begin(t testing.TB, cl *kwire.Client, own kwire.Producer) {
	t.Helper()
	who, err := cl.InitProducerID(t.Context(), m.txnID, own, 60_000)
	if err != nil {
		t.Fatal(err)
	}
	m.who, m.open = who, false
	if err := m.p.Begin(kproduce.Identity{TxnID: m.txnID, Producer: who}); err != nil {
		t.Fatal(err)
	}
}

func (m *messer) write(t testing.TB, topic, value string, r *rand.Rand) {
	t.Helper()
	top, err := m.p.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	m.open = true
	part := r.IntN(top.Partitions())
	err = m.p.Write(func(a kproduce.Appender) error {
		for i := range 1 + r.IntN(3) {
			if err := a.Append(top, part, int64(1000+i), []byte("k"), fmt.Appendf(nil, "%s-%d", value, i), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (m *messer) end(t testing.TB, cl *kwire.Client, commit bool) {
	t.Helper()
	if err := cl.EndTxn(t.Context(), m.txnID, m.who, kwire.Outcome(commit)); err != nil {
		t.Fatal(err)
	}
	m.begin(t, cl, m.who)
}

// Txn writes n records to partition 0 in one transaction.
func Txn(t testing.TB, brokers []string, topic string, n int, commit bool) {
	t.Helper()
	cl, err := kwire.NewClient(kwire.Config{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	m := newMesser(t, cl, Name(), krecord.NoCompression)
	defer m.p.Close()
	top, err := m.p.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	err = m.p.Write(func(a kproduce.Appender) error {
		for i := range n {
			if err := a.Append(top, 0, int64(i), nil, fmt.Appendf(nil, "txn%d", i), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.end(t, cl, commit)
}

// Port returns the port of an address.
func Port(t testing.TB, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
