// Package proof makes seeded input for the orders job, reads what the job
// committed, and compares it with an answer computed here. It shares no
// package with the engine: it has its own generator, parser, arithmetic and
// Kafka client, so that a fault of the engine cannot hide in it.
package proof

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Settled figures of the orders job.
const (
	Window          = 5 * time.Minute
	OutOfOrderness  = 5 * time.Second
	AllowedLateness = time.Minute
	Partitions      = 3
)

// Kind says what a record of the input is.
type Kind uint8

// Kinds of records.
const (
	Plain   Kind = iota // within the out-of-orderness: never late
	Lagging             // behind by less than the allowed lateness: never lost
	Ancient             // far behind: late once every partition has moved on
	Invalid             // amount of zero or less: dropped by rule
	Poison              // cannot be parsed
)

// Record is one record of the input.
type Record struct {
	Kind   Kind
	ID     int
	Region string
	Cents  int64
	Millis int64 // event time
	Value  []byte
}

// Input is a seeded set of orders, by partition, in order.
type Input struct {
	Seed       uint64
	Start      time.Time
	Partitions [Partitions][]Record
}

// Regions are the keys of the job.
func Regions() []string {
	return []string{"US-EAST", "US-WEST", "EU-WEST", "EU-NORTH", "AP-SOUTH", "SA-EAST"}
}

// Generate makes n orders over span of event time: one in 500 lags, one in
// 2,000 is ancient, one in 1,000 is invalid and one in 1,000 is poison.
func Generate(seed uint64, n int, span time.Duration) *Input {
	rng := rand.New(rand.NewPCG(seed, 0x0eadce11))
	in := &Input{Seed: seed, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	regions := Regions()
	// newest is the highest event time of each partition so far: the
	// watermark of the partition is behind it by the out-of-orderness.
	var newest [Partitions]int64
	for p := range newest {
		newest[p] = in.Start.UnixMilli()
	}
	for i := range n {
		p := rng.IntN(Partitions)
		r := Record{ID: i, Region: regions[rng.IntN(len(regions))], Cents: int64(100 + rng.IntN(99_900))}
		base := in.Start.UnixMilli() + int64(i)*span.Milliseconds()/int64(n)
		r.Kind = kindOf(rng, i, n)
		r.Millis = base - int64(rng.IntN(4000))
		switch r.Kind {
		case Plain, Invalid, Poison:
			// Never below the partition's own watermark, whatever the others do.
			r.Millis = max(r.Millis, newest[p]-OutOfOrderness.Milliseconds()+1)
		case Lagging:
			r.Millis = newest[p] - OutOfOrderness.Milliseconds() - int64(rng.IntN(int(AllowedLateness.Milliseconds()-1000)))
		case Ancient:
			r.Millis = in.Start.Add(-30*time.Minute).UnixMilli() - int64(rng.IntN(60_000))
		}
		if r.Kind == Invalid {
			r.Cents = -int64(rng.IntN(1000))
		}
		newest[p] = max(newest[p], r.Millis)
		r.Value = encode(rng, r)
		in.Partitions[p] = append(in.Partitions[p], r)
	}
	return in
}

func kindOf(rng *rand.Rand, i, n int) Kind {
	switch x := rng.IntN(10_000); {
	case x < 20:
		return Lagging
	case x < 25 && i > n/10:
		return Ancient
	case x < 35:
		return Invalid
	case x < 45:
		return Poison
	}
	return Plain
}

func encode(rng *rand.Rand, r Record) []byte {
	cents := r.Cents
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	at := time.UnixMilli(r.Millis).UTC().Format("2006-01-02T15:04:05.000Z")
	v := fmt.Appendf(nil, `{"order_id":"ORD-%08d","customer_id":"CUST-%05d","amount":%s%d.%02d,"region":"%s","ts":"%s"}`,
		r.ID, rng.IntN(100_000), sign, cents/100, cents%100, r.Region, at)
	if r.Kind != Poison {
		return v
	}
	switch rng.IntN(4) {
	case 0:
		return v[:len(v)/2] // cut off
	case 1:
		return fmt.Appendf(nil, `{"order_id":"ORD-%08d","amount":"many","region":"%s","ts":"%s"}`, r.ID, r.Region, at)
	case 2:
		return fmt.Appendf(nil, "order %d, by post", r.ID)
	}
	return fmt.Appendf(nil, `{"order_id":"ORD-%08d","customer_id":"C","amount":1.00,"region":"%s","ts":"yesterday"}`, r.ID, r.Region)
}

// Len returns the number of records.
func (in *Input) Len() int {
	n := 0
	for _, p := range in.Partitions {
		n += len(p)
	}
	return n
}

// Count returns the number of records of a kind.
func (in *Input) Count(k Kind) int {
	n := 0
	for _, p := range in.Partitions {
		for i := range p {
			if p[i].Kind == k {
				n++
			}
		}
	}
	return n
}
