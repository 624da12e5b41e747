package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/internal/retry"
)

// fate is what became of a transaction.
type fate uint8

const (
	fateUnknown fate = iota
	fateOpen         // no marker yet
	fateCommitted
	fateAborted
)

const (
	// evidenceBytes is what one fetch of a search for a marker brings.
	evidenceBytes = 4 << 20
	// evidenceFetchesMax bounds the search: the marker follows the last record
	// within the transaction time-out, so 4 GiB of one partition is ample.
	evidenceFetchesMax = 1024
	// markerTriesMax bounds the wait for a marker, about 25 s.
	markerTriesMax = 20
)

// commit commits a sealed transaction and returns when that is certain. The
// coordinator's refusal alone proves nothing: the same codes come for a
// transaction that was committed and whose id went on, and for one that the
// broker aborted. The log itself decides.
func (s *sealedTxn) commit(ctx context.Context, cl *kwire.Client, clk clock.Clock) error {
	err := s.endTxn(ctx, cl)
	if err == nil || ctx.Err() != nil {
		return err
	}
	switch kwire.CodeOf(err) {
	case kwire.InvalidTxnState, kwire.InvalidProducerIDMapping, kwire.ProducerFenced, kwire.InvalidProducerEpoch, kwire.TxnAbortable:
	default:
		return fatalAuth(err)
	}
	f, ferr := s.awaitMarker(ctx, cl, clk)
	switch {
	case f == fateCommitted:
		return nil
	case f == fateAborted:
		return &connectors.FatalError{
			Code: codeTxnLost,
			What: fmt.Sprintf("%v was aborted by the brokers before it was committed", s),
			Why: fmt.Sprintf("the checkpoint holds its records as written, but its abort marker follows offset %d of partition %s-%d: "+
				"its time-out passed, or someone aborted it (%v)", s.offset, s.topic, s.partition, err),
			Fix: "going on would lose these records: start the job from an older savepoint, or accept the loss by starting without the state of this sink; " +
				"raise the sink's transaction time-out above the longest time that the job may be down",
		}
	case ferr != nil && ctx.Err() != nil:
		return ferr
	}
	return &connectors.FatalError{
		Code: codeTxnUnproven,
		What: fmt.Sprintf("nobody can tell whether %v was committed", s),
		Why:  fmt.Sprintf("the coordinator says %v, and partition %s-%d shows no marker of it after offset %d (%v)", err, s.topic, s.partition, s.offset, ferr),
		Fix:  "look at the topic: if the records are there, start the job without the state of this sink; if not, start from an older savepoint",
	}
}

// endTxn repeats EndTxn for as long as the brokers cannot be reached.
func (s *sealedTxn) endTxn(ctx context.Context, cl *kwire.Client) error {
	for {
		err := cl.EndTxn(ctx, s.txnID, s.producer, kwire.Commit)
		if err == nil || ctx.Err() != nil || !kwire.Retriable(err) {
			return err
		}
	}
}

// awaitMarker is findMarker until there is one: the coordinator writes markers
// after it has decided.
func (s *sealedTxn) awaitMarker(ctx context.Context, cl *kwire.Client, clk clock.Clock) (fate, error) {
	f, err := s.findMarker(ctx, cl)
	for n := 0; f == fateOpen && n < markerTriesMax; n++ {
		if err := retry.Wait(ctx, clk, kwire.Pause(n)); err != nil {
			return fateUnknown, err
		}
		f, err = s.findMarker(ctx, cl)
	}
	return f, err
}

// findMarker looks in the log for the marker that ended the transaction: the
// first of its producer after its last record. Every transaction of a sink has
// an epoch of its own: a commit marker has that epoch, an abort marker that or
// the next one.
func (s *sealedTxn) findMarker(ctx context.Context, cl *kwire.Client) (fate, error) {
	if _, err := cl.Metadata(ctx, []string{s.topic}); err != nil {
		return fateUnknown, err
	}
	at := s.offset + 1
	var last error
	for range evidenceFetchesMax {
		got, err := s.fetch(ctx, cl, at)
		switch {
		case ctx.Err() != nil:
			return fateUnknown, ctx.Err()
		case kwire.CodeOf(err) == kwire.OffsetOutOfRange:
			m, lerr := cl.ListOffset(ctx, s.topic, []int32{s.partition}, kwire.EarliestOffset, kwire.ReadUncommitted)
			if lerr != nil || m[s.partition] <= at {
				return fateUnknown, errors.Join(err, lerr)
			}
			at = m[s.partition]
			continue
		case err != nil && kwire.Retriable(err):
			last = err
			if _, err := cl.Metadata(ctx, []string{s.topic}); err != nil {
				return fateUnknown, err
			}
			continue
		case err != nil:
			return fateUnknown, err
		}
		f, next, err := s.judge(got.Records, at)
		if f != fateUnknown || err != nil {
			return f, err
		}
		if next >= got.HighWatermark {
			return fateOpen, last
		}
		at = max(next, at)
	}
	return fateUnknown, errors.Join(last, fmt.Errorf(
		"no marker of transaction %q between offsets %d and %d of %s-%d, after %d fetches: look at it with flinkctl kafka txn list",
		s.txnID, s.offset+1, at, s.topic, s.partition, evidenceFetchesMax))
}

func (s *sealedTxn) fetch(ctx context.Context, cl *kwire.Client, at int64) (*kwire.Fetched, error) {
	id, _, err := cl.Leader(s.topic, s.partition)
	if err != nil {
		return nil, err
	}
	conn, err := cl.Broker(ctx, id, kwire.LaneFetch)
	if err != nil {
		return nil, err
	}
	got, err := conn.Fetch(ctx, &kwire.FetchRequest{
		MaxWait: 100 * time.Millisecond, MaxBytes: 10 * evidenceBytes, Isolation: kwire.ReadUncommitted,
		Topics: []kwire.FetchTopic{{Topic: s.topic, Partitions: []kwire.FetchPartition{
			{Partition: s.partition, LeaderEpoch: -1, Offset: at, MaxBytes: evidenceBytes},
		}}},
	}, nil)
	if err != nil {
		return nil, err
	}
	if len(got) != 1 {
		return nil, fmt.Errorf("broker %d answered for %d partitions, asked for one", id, len(got))
	}
	return &got[0], got[0].Code.Err()
}

// judge looks through batches and returns the offset after them.
func (s *sealedTxn) judge(records []byte, at int64) (fate, int64, error) {
	for len(records) > 0 {
		h, batch, rest, err := krecord.ReadHeader(records)
		if errors.Is(err, krecord.ErrCut) {
			break
		}
		if err != nil {
			return fateUnknown, at, err
		}
		records, at = rest, h.LastOffset+1
		if !h.Control || h.ProducerID != s.producer.ID || h.ProducerEpoch < s.producer.Epoch || h.LastOffset <= s.offset {
			continue
		}
		m, err := krecord.ReadMarker(batch)
		switch {
		case err != nil:
			return fateUnknown, at, err
		case m == krecord.MarkerCommit && h.ProducerEpoch == s.producer.Epoch:
			return fateCommitted, at, nil
		case m == krecord.MarkerAbort && h.ProducerEpoch-s.producer.Epoch <= 1:
			return fateAborted, at, nil
		default:
			return fateUnknown, at, fmt.Errorf("the next marker of the producer has epoch %d", h.ProducerEpoch)
		}
	}
	return fateUnknown, at, nil
}
