package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/krecord"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/dataflow/codec"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/internal/clock"
)

// order, revenue and rejected are as in examples/orders.
type order struct {
	ID       string `json:"order_id"`
	Customer string `json:"customer_id"`
	Amount   int64  `json:"amount" leat:"decimal=2"`
	Region   string `json:"region"`
	Time     int64  `json:"ts" leat:"time=millis"`
}

type revenue struct {
	Region  string `json:"region"`
	Start   int64  `json:"window_start" leat:"time=millis"`
	End     int64  `json:"window_end" leat:"time=millis"`
	Orders  int64  `json:"orders"`
	Revenue int64  `json:"revenue" leat:"decimal=2"`
}

type rejected struct {
	Error     string `json:"error"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Value     string `json:"value"`
}

// Times of the job, in milliseconds.
const (
	windowMillis   = 5 * 60 * 1000
	delayMillis    = 5 * 1000
	latenessMillis = 60 * 1000
)

// loop is the job as somebody would write it who needs neither restarts nor
// rescaling: one goroutine fetches, decodes, filters, adds up and writes. It
// uses the engine's protocol code and decoder, and a Go map.
type loop struct {
	client  *kwire.Client
	dec     *jsonfmt.Decoder[order]
	iter    krecord.Iter
	frame   []byte
	windows map[int64]map[string]*takings
	next    []int64
	end     []int64
	latest  []int64 // highest event time of each partition
	wm      int64

	results, late, dead         connectors.Writer
	resultRows                  []revenue
	lateRows                    []order
	deadRows                    []rejected
	Records, Counted, Late, Bad int
	Results                     int
}

type takings struct{ orders, cents int64 }

// loopChild runs the loop over a topic and prints its counts.
func loopChild(args []string) error {
	if len(args) < 2 {
		return errors.New("want brokers and ends")
	}
	l := &loop{windows: map[int64]map[string]*takings{}, wm: math.MinInt64}
	for _, one := range strings.Split(args[1], ",") {
		_, offset, _ := strings.Cut(one, ":")
		n, err := strconv.ParseInt(offset, 10, 64)
		if err != nil {
			return err
		}
		l.end, l.next, l.latest = append(l.end, n), append(l.next, 0), append(l.latest, math.MinInt64)
	}
	if err := l.open(args[0]); err != nil {
		return err
	}
	defer l.client.Close()
	if err := l.run(context.Background()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(l)
}

func (l *loop) open(brokers string) (err error) {
	if l.client, err = kwire.NewClient(kwire.Config{Brokers: []string{brokers}, Clock: clock.Real{}}); err != nil {
		return err
	}
	if l.dec, err = jsonfmt.NewDecoder(order{}); err != nil {
		return err
	}
	if l.results, err = writer[revenue](brokers, "loop.revenue"); err != nil {
		return err
	}
	if l.late, err = writer[order](brokers, "loop.late"); err != nil {
		return err
	}
	l.dead, err = writer[rejected](brokers, "loop.dlq")
	return err
}

// writer writes at least once: a loop has nothing to make it exactly once.
func writer[T any](brokers, topic string) (connectors.Writer, error) {
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: kafka.Connection{Brokers: []string{brokers}}, Topic: topic, Delivery: kafka.AtLeastOnce},
		func() (formats.Encoder[T], error) { return jsonfmt.NewEncoder(*new(T)) })
	if err != nil {
		return nil, err
	}
	w, err := sink.NewWriter(&connectors.WriterContext{Info: dataflow.TaskInfo{Parallelism: 1}, Clock: clock.Real{}})
	if err != nil {
		return nil, err
	}
	return w, w.Recover(context.Background(), nil)
}

const fetchBytes = 1 << 20

func (l *loop) run(ctx context.Context) error {
	if _, err := l.client.Metadata(ctx, []string{"orders"}); err != nil {
		return err
	}
	leader, _, err := l.client.Leader("orders", 0)
	if err != nil {
		return err
	}
	conn, err := l.client.Broker(ctx, leader, kwire.LaneFetch)
	if err != nil {
		return err
	}
	for {
		req := &kwire.FetchRequest{MaxWait: time.Second, MinBytes: 1, MaxBytes: 64 << 20, Isolation: kwire.ReadCommitted,
			Topics: []kwire.FetchTopic{{Topic: "orders"}}}
		for p := range l.next {
			if l.next[p] < l.end[p] {
				req.Topics[0].Partitions = append(req.Topics[0].Partitions,
					kwire.FetchPartition{Partition: int32(p), LeaderEpoch: -1, Offset: l.next[p], MaxBytes: fetchBytes})
			}
		}
		if len(req.Topics[0].Partitions) == 0 {
			break
		}
		got, err := conn.Fetch(ctx, req, l.memory)
		if err != nil {
			return err
		}
		for i := range got {
			if got[i].Code != kwire.None {
				return got[i].Code
			}
			if err := l.partition(&got[i]); err != nil {
				return err
			}
		}
		l.advance()
		if err := l.write(); err != nil {
			return err
		}
	}
	l.wm = math.MaxInt64
	l.fire()
	if err := l.write(); err != nil {
		return err
	}
	for _, w := range []connectors.Writer{l.results, l.late, l.dead} {
		if err := errors.Join(w.Flush(ctx), w.Close()); err != nil {
			return err
		}
	}
	return nil
}

// memory is used again for each answer.
func (l *loop) memory(n int) []byte {
	if cap(l.frame) < n {
		l.frame = make([]byte, n, n+n/8)
	}
	return l.frame[:n]
}

func (l *loop) partition(f *kwire.Fetched) error {
	p := f.Partition
	l.iter.Reset(f.Records, l.next[p], true, f.Aborted)
	var r krecord.Record
	var in formats.Record
	var arena codec.Arena
	latest := l.latest[p]
	for l.iter.Next(&r) && r.Offset < l.end[p] {
		l.Records++
		in.Key, in.Value, in.Offset, in.Timestamp = r.Key, r.Value, r.Offset, r.Timestamp
		var o order
		if err := l.dec.Decode(&in, &o, &arena); err != nil {
			l.Bad++
			l.deadRows = append(l.deadRows, rejected{err.Error(), p, r.Offset, string(r.Value)})
			continue
		}
		latest = max(latest, o.Time)
		if o.Amount <= 0 {
			continue
		}
		l.add(&o)
	}
	l.latest[p], l.next[p] = latest, l.iter.Position()
	return l.iter.Err()
}

func (l *loop) add(o *order) {
	start := o.Time - o.Time%windowMillis
	if start+windowMillis-1+latenessMillis <= l.wm {
		l.Late++
		l.lateRows = append(l.lateRows, *o)
		return
	}
	l.Counted++
	w := l.windows[start]
	if w == nil {
		w = map[string]*takings{}
		l.windows[start] = w
	}
	t := w[o.Region]
	if t == nil {
		t = &takings{}
		w[strings.Clone(o.Region)] = t
	}
	t.orders++
	t.cents += o.Amount
}

// advance moves the watermark and emits the windows that it completes.
func (l *loop) advance() {
	wm := int64(math.MaxInt64)
	for p, t := range l.latest {
		if l.next[p] < l.end[p] {
			wm = min(wm, t-delayMillis-1)
		}
	}
	if wm > l.wm && wm != math.MaxInt64 {
		l.wm = wm
		l.fire()
	}
}

func (l *loop) fire() {
	for start, w := range l.windows {
		if start+windowMillis-1+latenessMillis > l.wm {
			continue
		}
		for region, t := range w {
			l.Results++
			l.resultRows = append(l.resultRows, revenue{region, start, start + windowMillis, t.orders, t.cents})
		}
		delete(l.windows, start)
	}
}

func (l *loop) write() error {
	err := errors.Join(writeRows(l.results, l.resultRows), writeRows(l.late, l.lateRows), writeRows(l.dead, l.deadRows))
	l.resultRows, l.lateRows, l.deadRows = l.resultRows[:0], l.lateRows[:0], l.deadRows[:0]
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func writeRows[T any](w connectors.Writer, rows []T) error {
	if len(rows) == 0 {
		return nil
	}
	return w.Write(columnar.NewBatch(rows, nil))
}
