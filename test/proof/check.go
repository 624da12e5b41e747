package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Row is one line of the revenue table.
type Row struct {
	Region string
	Start  time.Time
	Orders int64
	Cents  int64
}

type rowKey struct {
	region string
	start  int64
}

// Result is what a run committed and what it should have.
type Result struct {
	Rows                              []Row // committed, last of each key, in order
	Counted, Late, DeadLetters, Rules int
	RevenueRecords                    int
	// Faults name everything that is not as it must be; empty: proved.
	Faults []string
}

// faultsMax bounds what is listed.
const faultsMax = 20

func (r *Result) fault(format string, args ...any) {
	if len(r.Faults) < faultsMax {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// Check reads the committed output and proves: each record of the input is in
// exactly one of {counted, late, dead letter, dropped by rule}; the table
// recomputed from the input minus the committed late records is the committed
// one; nothing that must not be late is, and counts never repeat or fall.
func Check(ctx context.Context, brokers string, t Topics, in *Input) (*Result, error) {
	res := &Result{}
	late, err := ReadCommitted(ctx, brokers, t.Late)
	if err != nil {
		return nil, err
	}
	dlq, err := ReadCommitted(ctx, brokers, t.DLQ)
	if err != nil {
		return nil, err
	}
	revenue, err := ReadCommitted(ctx, brokers, t.Revenue)
	if err != nil {
		return nil, err
	}
	isLate := res.lateIDs(in, late)
	res.checkDeadLetters(in, dlq)
	want := res.recompute(in, isLate)
	got := res.readRevenue(revenue)
	res.compare(want, got)
	return res, nil
}

// lateIDs returns the ids of the late orders, each of which must be a record
// of the input, once, and of a kind that may be late.
func (r *Result) lateIDs(in *Input, late []Committed) map[int]bool {
	kinds := make(map[int]Kind)
	values := make(map[int][]byte)
	for _, p := range in.Partitions {
		for i := range p {
			kinds[p[i].ID], values[p[i].ID] = p[i].Kind, p[i].Value
		}
	}
	out := make(map[int]bool, len(late))
	for _, c := range late {
		id, err := orderID(c.Value)
		kind, known := kinds[id]
		switch {
		case err != nil || !known:
			r.fault("late order %q is not of the input", c.Value)
		case out[id]:
			r.fault("late order %d was committed twice", id)
		case kind == Plain || kind == Lagging:
			r.fault("order %d is late, though it is behind by less than the allowed lateness under every interleaving", id)
		case !sameJSON(values[id], c.Value):
			r.fault("late order %d was changed: %s, was %s", id, c.Value, values[id])
		}
		out[id] = true
	}
	r.Late = len(out)
	if n := in.Count(Ancient); n > 0 && r.Late == 0 {
		r.fault("none of the %d orders that lie half an hour behind was late", n)
	}
	return out
}

func orderID(value []byte) (int, error) {
	var o struct {
		OrderID string `json:"order_id"`
	}
	if err := json.Unmarshal(value, &o); err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimPrefix(o.OrderID, "ORD-"))
}

// sameJSON compares field by field, numbers by their text with trailing
// zeros dropped.
func sameJSON(a, b []byte) bool {
	x, errX := fields(a)
	y, errY := fields(b)
	if errX != nil || errY != nil || len(x) != len(y) {
		return false
	}
	for k, v := range x {
		if y[k] != v {
			return false
		}
	}
	return true
}

func fields(b []byte) (map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		s := fmt.Sprint(v)
		if n, ok := v.(json.Number); ok && strings.Contains(n.String(), ".") {
			s = strings.TrimRight(strings.TrimRight(n.String(), "0"), ".")
		}
		out[k] = s
	}
	return out, nil
}

// checkDeadLetters wants each poison record once, with error and place.
func (r *Result) checkDeadLetters(in *Input, dlq []Committed) {
	type place struct {
		partition int32
		offset    int64
	}
	seen := make(map[place]bool)
	for _, c := range dlq {
		var d struct {
			Error     string `json:"error"`
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Offset    int64  `json:"offset"`
			Value     string `json:"value"`
		}
		if err := json.Unmarshal(c.Value, &d); err != nil {
			r.fault("dead letter %q is not JSON: %v", c.Value, err)
			continue
		}
		at := place{d.Partition, d.Offset}
		if int(d.Partition) >= Partitions || d.Offset >= int64(len(in.Partitions[d.Partition])) {
			r.fault("dead letter names %s-%d@%d, which is not of the input", d.Topic, d.Partition, d.Offset)
			continue
		}
		rec := in.Partitions[d.Partition][d.Offset]
		switch {
		case seen[at]:
			r.fault("dead letter %d@%d was committed twice", d.Partition, d.Offset)
		case rec.Kind != Poison:
			r.fault("record %d@%d is a dead letter, though it can be parsed: %s", d.Partition, d.Offset, d.Error)
		case d.Error == "":
			r.fault("dead letter %d@%d has no error", d.Partition, d.Offset)
		}
		seen[at] = true
	}
	r.DeadLetters = len(seen)
	if want := in.Count(Poison); want != r.DeadLetters {
		r.fault("%d dead letters were committed, the input has %d records that cannot be parsed", r.DeadLetters, want)
	}
}

// recompute is the dumb reference: one pass over the input.
func (r *Result) recompute(in *Input, late map[int]bool) map[rowKey]Row {
	out := make(map[rowKey]Row)
	for _, p := range in.Partitions {
		for i := range p {
			rec := &p[i]
			switch {
			case rec.Kind == Poison:
				continue
			case rec.Kind == Invalid:
				r.Rules++
				continue
			case late[rec.ID]:
				continue
			}
			r.Counted++
			size := Window.Milliseconds()
			start := rec.Millis - ((rec.Millis%size)+size)%size
			k := rowKey{rec.Region, start}
			row := out[k]
			row.Region, row.Start = rec.Region, time.UnixMilli(start).UTC()
			row.Orders++
			row.Cents += rec.Cents
			out[k] = row
		}
	}
	return out
}

// readRevenue keeps the last record of each key and checks that a window's
// count only grows from one result to the next: an equal one was doubled.
func (r *Result) readRevenue(records []Committed) map[rowKey]Row {
	r.RevenueRecords = len(records)
	slices.SortStableFunc(records, func(a, b Committed) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	out := make(map[rowKey]Row)
	at := make(map[rowKey]int32)
	for _, c := range records {
		row, err := parseRow(c.Value)
		if err != nil {
			r.fault("revenue record %q: %v", c.Value, err)
			continue
		}
		k := rowKey{row.Region, row.Start.UnixMilli()}
		if old, again := out[k]; again {
			if at[k] != c.Partition {
				r.fault("results of %s %s are in partitions %d and %d", k.region, row.Start, at[k], c.Partition)
			}
			if row.Orders <= old.Orders {
				r.fault("count of %s %s goes from %d to %d", k.region, row.Start.Format(time.TimeOnly), old.Orders, row.Orders)
			}
		}
		out[k], at[k] = row, c.Partition
	}
	return out
}

func parseRow(value []byte) (Row, error) {
	var v struct {
		Region  string          `json:"region"`
		Start   json.RawMessage `json:"window_start"`
		Orders  int64           `json:"orders"`
		Revenue json.Number     `json:"revenue"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return Row{}, err
	}
	start, err := parseTime(strings.Trim(string(v.Start), `"`))
	if err != nil {
		return Row{}, err
	}
	cents, err := parseCents(v.Revenue.String())
	return Row{Region: v.Region, Start: start, Orders: v.Orders, Cents: cents}, err
}

func parseTime(s string) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.UnixMilli(ms).UTC(), nil
	}
	return time.Parse(time.RFC3339Nano, s)
}

func parseCents(s string) (int64, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > 2 {
		return 0, fmt.Errorf("revenue %s has more than two decimals", s)
	}
	return strconv.ParseInt(whole+frac+strings.Repeat("0", 2-len(frac)), 10, 64)
}

func (r *Result) compare(want, got map[rowKey]Row) {
	for k, w := range want {
		g, ok := got[k]
		switch {
		case !ok:
			r.fault("%s %s is missing: want %d orders", k.region, w.Start.Format(time.DateTime), w.Orders)
		case g != w:
			r.fault("%s %s: committed %d orders %s, want %d orders %s", k.region, w.Start.Format(time.DateTime), g.Orders, Money(g.Cents), w.Orders, Money(w.Cents))
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			r.fault("%s %s was committed with %d orders, but has none", k.region, g.Start.Format(time.DateTime), g.Orders)
		}
		r.Rows = append(r.Rows, g)
	}
	slices.SortFunc(r.Rows, func(a, b Row) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return strings.Compare(a.Region, b.Region)
	})
}

// Money prints cents as a decimal.
func Money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
