package proof

import (
	"fmt"
	"testing"
	"time"
)

// ideal runs the job's rules in one pass, per partition watermarks and all,
// and returns what it would commit.
func ideal(in *Input) (late, dlq, revenue []Committed) {
	r := &Result{}
	ids := make(map[int]bool)
	for p, recs := range in.Partitions {
		for i := range recs {
			switch recs[i].Kind {
			case Ancient:
				ids[recs[i].ID] = true
				late = append(late, Committed{Value: recs[i].Value})
			case Poison:
				dlq = append(dlq, Committed{Value: fmt.Appendf(nil, `{"error":"bad","topic":"orders","partition":%d,"offset":%d,"value":""}`, p, i)})
			}
		}
	}
	for _, row := range r.recompute(in, ids) {
		revenue = append(revenue, Committed{Value: fmt.Appendf(nil, `{"region":%q,"window_start":%q,"orders":%d,"revenue":%s}`,
			row.Region, row.Start.Format(time.RFC3339), row.Orders, Money(row.Cents))})
	}
	return late, dlq, revenue
}

func judge(in *Input, late, dlq, revenue []Committed) *Result {
	r := &Result{}
	ids := r.lateIDs(in, late)
	r.checkDeadLetters(in, dlq)
	r.compare(r.recompute(in, ids), r.readRevenue(revenue))
	return r
}

func TestCheckAcceptsTheIdealRun(t *testing.T) {
	t.Parallel()
	in := Generate(7, 20_000, 2*time.Hour)
	r := judge(in, first(ideal(in)), second(ideal(in)), third(ideal(in)))
	if len(r.Faults) != 0 {
		t.Fatalf("faults in an ideal run: %v", r.Faults)
	}
	if sum := r.Counted + r.Late + r.DeadLetters + r.Rules; sum != in.Len() {
		t.Fatalf("%d records are accounted for, the input has %d", sum, in.Len())
	}
}

// Each way of losing or doubling must be seen.
func TestCheckSeesFaults(t *testing.T) {
	t.Parallel()
	in := Generate(8, 20_000, 2*time.Hour)
	late, dlq, revenue := ideal(in)
	grown := append([]Committed{}, revenue...)
	grown[3].Value = []byte(`{"region":"EU-WEST","window_start":"2026-01-01T00:00:00Z","orders":1,"revenue":1.00}`)
	plain := in.Partitions[0][0].Value
	for name, r := range map[string]*Result{
		"lost window":         judge(in, late, dlq, revenue[1:]),
		"doubled result":      judge(in, late, dlq, append(append([]Committed{}, revenue...), revenue[0])),
		"wrong row":           judge(in, late, dlq, grown),
		"lost late record":    judge(in, late[1:], dlq, revenue),
		"doubled late record": judge(in, append(append([]Committed{}, late...), late[0]), dlq, revenue),
		"plain record late":   judge(in, append(append([]Committed{}, late...), Committed{Value: plain}), dlq, revenue),
		"lost dead letter":    judge(in, late, dlq[1:], revenue),
		"doubled dead letter": judge(in, late, append(append([]Committed{}, dlq...), dlq[0]), revenue),
	} {
		if len(r.Faults) == 0 {
			t.Errorf("%s was not seen", name)
		}
	}
}

func first(a, _, _ []Committed) []Committed  { return a }
func second(_, b, _ []Committed) []Committed { return b }
func third(_, _, c []Committed) []Committed  { return c }
