// Command fraudcep finds cards that are tried out: small payments, and then a
// large one, within a minute. It reads JSON payments from the Kafka topic
// transactions and writes alerts to fraud-alerts exactly once. Without brokers
// it makes payments up and prints the alerts.
//
//	go run ./examples/fraudcep --local
//	go run ./examples/fraudcep --local --brokers localhost:9092
package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	set := flag.NewFlagSet("fraudcep", flag.ContinueOnError)
	brokers := set.String("brokers", "", "Kafka brokers, host:port, separated by commas; none: made-up payments to the console")
	prefix := set.String("topics", "", "prefix of the names of all topics")
	bounded := set.Bool("bounded", false, "end at the offsets that are the latest when the job starts")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("argument %q is not understood: all arguments are flags", set.Arg(0))
	}
	env.Set(stream.JobName("fraudcep"))
	if *brokers == "" {
		Build(env, generated(*bounded), Sinks{
			Alerts: console.New(jsonfmt.EncoderOf[Alert]()),
			Late:   console.New(jsonfmt.EncoderOf[Payment]()).Prefix("late: "),
		})
		return nil
	}
	return buildKafka(env, strings.Split(*brokers, ","), *prefix, *bounded)
}

func buildKafka(env *stream.Env, brokers []string, prefix string, bounded bool) error {
	at := kafka.Connection{Brokers: brokers}
	read := kafka.SourceConfig{Connection: at, Topics: []string{prefix + "transactions"}, Group: prefix + "fraudcep-job"}
	if bounded {
		read.Stop = kafka.StopLatest()
	}
	payments, err := kafka.NewSource(read, jsonfmt.DecoderOf[Payment]())
	if err != nil {
		return err
	}
	var to Sinks
	if to.Alerts, err = sink(at, prefix+"fraud-alerts", jsonfmt.EncoderOf[Alert]()); err != nil {
		return err
	}
	if to.Late, err = sink(at, prefix+"transactions.late", jsonfmt.EncoderOf[Payment]()); err != nil {
		return err
	}
	Build(env, payments, to)
	return nil
}

func sink[T any](at kafka.Connection, topic string, enc func() (formats.Encoder[T], error)) (connectors.SinkOf[T], error) {
	return kafka.NewSink(kafka.SinkConfig{Connection: at, Topic: topic}, enc)
}
