// Command job is the job that test/chaos runs while it breaks the cluster:
// windows, an interval join, timers of both kinds and four exactly-once sinks,
// over two topics of Kafka.
package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// The job's delays between attempts: a run of many faults does not wait longer
// and longer.
const (
	restartFirst = 200 * time.Millisecond
	restartMost  = 3 * time.Second
)

func build(env *stream.Env) error {
	var brokers, prefix, orders, payments string
	set := flag.NewFlagSet("job", flag.ContinueOnError)
	set.StringVar(&brokers, "brokers", "", "Kafka brokers")
	set.StringVar(&prefix, "topics", "", "prefix of the topics")
	set.StringVar(&orders, "orders-end", "", "partition:offset,… before which the orders end")
	set.StringVar(&payments, "payments-end", "", "the same of the payments")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	env.Set(stream.JobName("chaos"))
	env.Set(stream.RestartExponential(restartFirst, restartMost))
	t := topics{at: kafka.Connection{Brokers: strings.Split(brokers, ",")}, prefix: prefix}
	ordersIn := from(&t, "orders", orders, jsonfmt.DecoderOf(Order{}))
	paymentsIn := from(&t, "payments", payments, jsonfmt.DecoderOf(Payment{}))
	out := sinks{
		revenue:  to(&t, "revenue", revenueEncoder),
		late:     to(&t, "orders.late", jsonfmt.EncoderOf(Order{})),
		rejected: to(&t, "orders.dlq", jsonfmt.EncoderOf(Rejected{})),
		ledger:   to(&t, "ledger", jsonfmt.EncoderOf(Entry{})),
	}
	if t.err != nil {
		return t.err
	}
	pipeline(env, ordersIn, paymentsIn, out)
	return nil
}

// topics makes sources and sinks; the first error is kept.
type topics struct {
	at     kafka.Connection
	prefix string
	err    error
}

func from[T any](t *topics, name, end string, dec func() (formats.Decoder[T], error)) connectors.SourceOf[T] {
	stop := make(map[kafka.TopicPartition]int64)
	for _, one := range strings.Split(end, ",") {
		at := kafka.TopicPartition{Topic: t.prefix + name}
		var offset int64
		if _, err := fmt.Sscanf(one, "%d:%d", &at.Partition, &offset); err != nil && t.err == nil {
			t.err = fmt.Errorf("end of %s: %q is not partition:offset", name, one)
		}
		stop[at] = offset
	}
	src, err := kafka.NewSource(kafka.SourceConfig{
		Connection: t.at, Topics: []string{t.prefix + name}, Group: t.prefix + name + "-job", Stop: kafka.StopOffsets(stop),
	}, dec)
	if err != nil && t.err == nil {
		t.err = err
	}
	return src
}

func to[T any](t *topics, name string, enc func() (formats.Encoder[T], error)) connectors.SinkOf[T] {
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: t.at, Topic: t.prefix + name}, enc)
	if err != nil && t.err == nil {
		t.err = err
	}
	return sink
}

// keyed writes a result under the key region|start, so that the results of a
// window lie in one partition, in order.
type keyed struct{ json *jsonfmt.Encoder[Revenue] }

func revenueEncoder() (formats.Encoder[Revenue], error) {
	e, err := jsonfmt.NewEncoder(Revenue{})
	return keyed{e}, err
}

// Encode implements formats.Encoder.
func (k keyed) Encode(v *Revenue, out *formats.Out) error {
	out.Key = fmt.Appendf(out.Key, "%s|%d", v.Region, v.Start)
	return k.json.Encode(v, out)
}
