package kwire

import (
	"bytes"
	"encoding/hex"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func joined(b net.Buffers) []byte { return bytes.Join(b, nil) }

// TestRequestsAreWhatAnotherEncoderMakes compares with kmsg, and with bytes
// written down, so that neither can drift.
func TestRequestsAreWhatAnotherEncoderMakes(t *testing.T) {
	t.Parallel()
	r := &FetchRequest{MaxWait: 250 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20, Isolation: ReadCommitted, Topics: []FetchTopic{
		{Topic: "orders", Partitions: []FetchPartition{{Partition: 3, LeaderEpoch: 7, Offset: 42, MaxBytes: 4096}}},
	}}
	k := kmsg.NewPtrFetchRequest()
	k.ReplicaID, k.MaxWaitMillis, k.MinBytes, k.MaxBytes, k.IsolationLevel, k.SessionEpoch = -1, 250, 1, 1<<20, 1, -1
	kt := kmsg.NewFetchRequestTopic()
	kt.Topic = "orders"
	kp := kmsg.NewFetchRequestTopicPartition()
	kp.Partition, kp.CurrentLeaderEpoch, kp.FetchOffset, kp.LogStartOffset, kp.PartitionMaxBytes = 3, 7, 42, -1, 4096
	kt.Partitions = append(kt.Partitions, kp)
	k.Topics = append(k.Topics, kt)
	for v := int16(fetchVersionMin); v <= fetchVersionMax; v++ {
		k.SetVersion(v)
		if got, want := appendFetchRequest(nil, v, r), k.AppendTo(nil); !bytes.Equal(got, want) {
			t.Errorf("fetch version %d:\n%x\n%x", v, got, want)
		}
	}
	const golden = "ffffffff000000fa00000001001000000100000000ffffffff0000000100066f72646572730000000100000003000000070000" +
		"00000000002affffffffffffffff00001000000000000000"
	if got := hex.EncodeToString(appendFetchRequest(nil, 11, r)); got != golden {
		t.Errorf("fetch version 11: %s", got)
	}
	for v := int16(metadataVersionMin); v <= metadataVersionMax; v++ {
		for _, topics := range [][]string{nil, {}, {"a", "bc"}} {
			m := kmsg.NewPtrMetadataRequest()
			m.SetVersion(v)
			m.AllowAutoTopicCreation = false
			if topics != nil {
				m.Topics = []kmsg.MetadataRequestTopic{}
			}
			for _, n := range topics {
				mt := kmsg.NewMetadataRequestTopic()
				mt.Topic = kmsg.StringPtr(n)
				m.Topics = append(m.Topics, mt)
			}
			if got, want := appendMetadataRequest(nil, v, topics), m.AppendTo(nil); !bytes.Equal(got, want) {
				t.Errorf("metadata version %d of %q:\n%x\n%x", v, topics, got, want)
			}
		}
	}
}

func TestProduceRequestIsWhatAnotherEncoderMakes(t *testing.T) {
	t.Parallel()
	for _, txn := range []string{"", "inc/out/3"} {
		r := &ProduceRequest{TxnID: txn, Acks: -1, Timeout: time.Second, Topics: []ProduceTopic{
			{Topic: "a", Partitions: []ProducePartition{{1, []byte("batch one")}, {2, []byte("two")}}},
			{Topic: "b", Partitions: []ProducePartition{{0, []byte("three")}}},
		}}
		k := kmsg.NewPtrProduceRequest()
		k.Acks, k.TimeoutMillis = -1, 1000
		if txn != "" {
			k.TransactionID = &txn
		}
		for _, rt := range r.Topics {
			kt := kmsg.NewProduceRequestTopic()
			kt.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				kp := kmsg.NewProduceRequestTopicPartition()
				kp.Partition, kp.Records = rp.Partition, rp.Batch
				kt.Partitions = append(kt.Partitions, kp)
			}
			k.Topics = append(k.Topics, kt)
		}
		for v := int16(produceVersionMin); v <= produceVersionMax; v++ {
			k.SetVersion(v)
			head := appendHeader(nil, produceKey, v, 9, "leat", false)
			if got, want := joined(buildProduce(v, 9, "leat", r)), append(head, k.AppendTo(nil)...); !bytes.Equal(got, want) {
				t.Errorf("version %d:\n%x\n%x", v, got, want)
			}
		}
	}
}

func TestAnswersOfAnotherEncoderAreRead(t *testing.T) {
	t.Parallel()
	k := kmsg.NewPtrFetchResponse()
	kt := kmsg.NewFetchResponseTopic()
	kt.Topic = "orders"
	kp := kmsg.NewFetchResponseTopicPartition()
	kp.Partition, kp.HighWatermark, kp.LastStableOffset, kp.LogStartOffset, kp.RecordBatches = 2, 100, 90, 5, []byte("records")
	ka := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
	ka.ProducerID, ka.FirstOffset = 77, 33
	kp.AbortedTransactions = append(kp.AbortedTransactions, ka)
	kt.Partitions = append(kt.Partitions, kp)
	k.Topics = append(k.Topics, kt)
	for v := int16(fetchVersionMin); v <= fetchVersionMax; v++ {
		k.SetVersion(v)
		got, err := readFetch(&cursor{b: k.AppendTo(nil)}, v)
		want := []Fetched{{Topic: "orders", Partition: 2, HighWatermark: 100, LastStableOffset: 90, LogStartOffset: 5, Aborted: []AbortedTxn{{77, 33}}, Records: []byte("records")}}
		if v < 5 {
			want[0].LogStartOffset = -1
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: %+v %v", v, got, err)
		}
	}
	m := kmsg.NewPtrMetadataResponse()
	m.ControllerID = 1
	mb := kmsg.NewMetadataResponseBroker()
	mb.NodeID, mb.Host, mb.Port = 1, "host", 9092
	m.Brokers = append(m.Brokers, mb)
	mt := kmsg.NewMetadataResponseTopic()
	mt.Topic, mt.TopicID = kmsg.StringPtr("orders"), [16]byte{1, 2, 3}
	for i := range int32(2) {
		mp := kmsg.NewMetadataResponseTopicPartition()
		mp.Partition, mp.Leader, mp.LeaderEpoch, mp.Replicas = 1-i, 1, 6, []int32{1, 2}
		mt.Partitions = append(mt.Partitions, mp)
	}
	m.Topics = append(m.Topics, mt)
	for v := int16(metadataVersionMin); v <= metadataVersionMax; v++ {
		m.SetVersion(v)
		got, err := readMetadata(&cursor{b: m.AppendTo(nil), flexible: v >= 9}, v)
		if err != nil || got.brokers[1] != "host:9092" || got.controller != 1 || len(got.topics["orders"].Partitions) != 2 {
			t.Fatalf("version %d: %+v %v", v, got, err)
		}
		top := got.topics["orders"]
		if (v >= 10) != (top.ID == [16]byte{1, 2, 3}) || top.Partitions[0].Index != 0 || (v >= 7) != (top.Partitions[0].LeaderEpoch == 6) {
			t.Fatalf("version %d: %+v", v, top)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	fr := kmsg.NewPtrFetchResponse()
	fr.SetVersion(11)
	fr.Topics = append(fr.Topics, kmsg.FetchResponseTopic{Topic: "x", Partitions: []kmsg.FetchResponseTopicPartition{kmsg.NewFetchResponseTopicPartition()}})
	f.Add(fr.AppendTo(nil))
	pr := kmsg.NewPtrProduceResponse()
	pr.SetVersion(8)
	pr.Topics = append(pr.Topics, kmsg.ProduceResponseTopic{Topic: "x", Partitions: []kmsg.ProduceResponseTopicPartition{kmsg.NewProduceResponseTopicPartition()}})
	f.Add(pr.AppendTo(nil))
	mr := kmsg.NewPtrMetadataResponse()
	mr.SetVersion(12)
	mt := kmsg.NewMetadataResponseTopic()
	mt.Partitions = append(mt.Partitions, kmsg.NewMetadataResponseTopicPartition())
	mr.Topics = append(mr.Topics, mt)
	f.Add(mr.AppendTo(nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for v := int16(4); v <= 12; v++ {
			_, _ = readFetch(&cursor{b: b}, v)
			_, _ = readProduce(&cursor{b: b}, v)
			_, _ = readMetadata(&cursor{b: b, flexible: v >= 9}, v)
		}
		_, _ = readListTxns(&cursor{b: b, flexible: true})
		_, _, _ = readDescribeTxn(&cursor{b: b, flexible: true})
		_, _, _ = readVersions(&cursor{b: b})
	})
}

// TestScramVector is the exchange of RFC 7677 section 3.
func TestScramVector(t *testing.T) {
	t.Parallel()
	c := newScramClient(SASL{Mechanism: ScramSHA256, User: "user", Password: "pencil"}, "rOprNGfwEbeRWgbNEkqO")
	if c.firstBare != "n=user,r=rOprNGfwEbeRWgbNEkqO" {
		t.Fatal(c.firstBare)
	}
	final, err := c.answer("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
	want := "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	if err != nil || final != want {
		t.Fatalf("%q %v", final, err)
	}
	if err := c.verify("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="); err != nil {
		t.Fatal(err)
	}
	if err := c.verify("v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="); err == nil {
		t.Fatal("a wrong signature was taken")
	}
	for _, bad := range []string{"", "r=other,s=W22Z,i=4096", "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999", "r=rOprNGfwEbeRWgbNEkqOx,s=!,i=1"} {
		if _, err := c.answer(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	if s := ProducerFenced.Error(); !strings.Contains(s, "PRODUCER_FENCED") || !strings.Contains(s, "90") {
		t.Error(s)
	}
	for _, c := range []Code{CoordinatorLoading, CoordinatorNotAvailable, NotCoordinator, ConcurrentTransactions} {
		if !c.Retriable() {
			t.Errorf("%v is not retried", c)
		}
	}
	for _, c := range []Code{InvalidTxnState, ProducerFenced, OutOfOrderSequence, None, 999} {
		if c.Retriable() {
			t.Errorf("%v is retried", c)
		}
	}
}
