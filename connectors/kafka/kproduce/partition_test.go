package kproduce

import "testing"

// TestOneInFlightUntilTheLeaderKnowsTheProducer: a leader without state of a
// producer takes a batch with any sequence number as the first.
func TestOneInFlightUntilTheLeaderKnowsTheProducer(t *testing.T) {
	t.Parallel()
	pt := &partition{topic: "x"}
	p := &Producer{pending: 3, cfg: Config{}}
	p.cfg.EnsureDefaults()
	var batches []*batch
	for range 3 {
		b := &batch{part: pt, records: 1}
		batches, pt.queue = append(batches, b), append(pt.queue, b)
	}
	first := pt.next()
	if first != batches[0] {
		t.Fatal("not the first")
	}
	first.sent, pt.inFlight = true, 1
	if pt.next() != nil {
		t.Fatal("a second batch may go before the first is answered")
	}
	first.sent, pt.inFlight = false, 0
	p.ackLocked(first, 0, 0)
	second := pt.next()
	if second != batches[1] {
		t.Fatal("not the second")
	}
	second.sent, pt.inFlight = true, 1
	if pt.next() != batches[2] {
		t.Fatal("no pipelining after the first answer")
	}
}
