// Command orders adds up the revenue of each region in windows of five
// minutes: JSON orders from one Kafka topic, results to another exactly once,
// late orders and records that are no orders to topics of their own. Without
// brokers it makes orders up and prints what comes out.
//
//	go run ./examples/orders --local
//	go run ./examples/orders --local --brokers localhost:9092
package main

import (
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// flags are the program's arguments.
type flags struct {
	brokers []string
	topics  string
	bounded bool
	end     map[kafka.TopicPartition]int64
	// checkpoints is the time between them, 0: the default.
	checkpoints time.Duration
}

func parse(args []string) (flags, error) {
	var f flags
	var brokers string
	set := flag.NewFlagSet("orders", flag.ContinueOnError)
	set.StringVar(&brokers, "brokers", "", "Kafka brokers, host:port, separated by commas; none: made-up orders to the console")
	set.StringVar(&f.topics, "topics", "", "prefix of the names of all topics")
	set.BoolVar(&f.bounded, "bounded", false, "end at the offsets that are the latest when the job starts")
	set.Func("end", "end before these offsets of the orders: partition:offset,…", func(text string) (err error) {
		f.end, err = endOf(f.topics+"orders", text)
		return err
	})
	set.DurationVar(&f.checkpoints, "checkpoint-interval", 0, "time between checkpoints; 0: the default, a second")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("argument %q is not understood: all arguments are flags", set.Arg(0))
	}
	if brokers != "" {
		f.brokers = strings.Split(brokers, ",")
	}
	return f, nil
}

// endOf reads "0:1200,1:900": the offset before which each partition ends.
func endOf(topic, text string) (map[kafka.TopicPartition]int64, error) {
	end := make(map[kafka.TopicPartition]int64)
	for _, one := range strings.Split(text, ",") {
		var partition int32
		var offset int64
		if _, err := fmt.Sscanf(one, "%d:%d", &partition, &offset); err != nil {
			return nil, fmt.Errorf("%q is not partition:offset", one)
		}
		end[kafka.TopicPartition{Topic: topic, Partition: partition}] = offset
	}
	return end, nil
}

func build(env *stream.Env) error {
	f, err := parse(env.Args())
	if err != nil {
		return err
	}
	env.Set(stream.JobName("orders"))
	if f.checkpoints != 0 {
		env.Set(stream.CheckpointInterval(f.checkpoints))
	}
	if f.brokers == nil {
		Build(env, generated(f.bounded), Sinks{
			Revenue:  console.New(jsonfmt.EncoderOf(Revenue{})),
			Late:     console.New(jsonfmt.EncoderOf(Order{})).Prefix("late: "),
			Rejected: console.New(jsonfmt.EncoderOf(Rejected{})).Prefix("rejected: "),
		})
		return nil
	}
	return buildKafka(env, f)
}

func buildKafka(env *stream.Env, f flags) error {
	at := kafka.Connection{Brokers: f.brokers}
	read := kafka.SourceConfig{Connection: at, Topics: []string{f.topics + "orders"}, Group: f.topics + "orders-job"}
	switch {
	case f.end != nil:
		read.Stop = kafka.StopOffsets(f.end)
	case f.bounded:
		read.Stop = kafka.StopLatest()
	}
	orders, err := kafka.NewSource(read, jsonfmt.DecoderOf(Order{}))
	if err != nil {
		return err
	}
	var to Sinks
	if to.Revenue, err = sink(at, f.topics+"revenue", revenueEncoder); err != nil {
		return err
	}
	if to.Late, err = sink(at, f.topics+"orders.late", jsonfmt.EncoderOf(Order{})); err != nil {
		return err
	}
	if to.Rejected, err = sink(at, f.topics+"orders.dlq", jsonfmt.EncoderOf(Rejected{})); err != nil {
		return err
	}
	Build(env, orders, to)
	return nil
}

func sink[T any](at kafka.Connection, topic string, enc func() (formats.Encoder[T], error)) (connectors.SinkOf[T], error) {
	return kafka.NewSink(kafka.SinkConfig{Connection: at, Topic: topic}, enc)
}
