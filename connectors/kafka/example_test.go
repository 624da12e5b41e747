package kafka_test

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/csvfmt"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
)

type invoice struct {
	ID    string `json:"id"`
	Cents int64  `json:"amount" leat:"decimal=2"`
}

// A job from one topic to another; the record's key is the invoice's id.
func Example() {
	build := func(env *stream.Env) error {
		at := kafka.Connection{Brokers: []string{"kafka-1:9092", "kafka-2:9092"}}
		src, err := kafka.NewSource(kafka.SourceConfig{
			Connection: at,
			Topics:     []string{"orders"},
			Start:      kafka.Earliest(),
			Group:      "billing",
		}, jsonfmt.DecoderOf(invoice{}))
		if err != nil {
			return err
		}
		withID := formats.WithKey(jsonfmt.EncoderOf(invoice{}), func(dst []byte, v *invoice) []byte {
			return append(dst, v.ID...)
		})
		sink, err := kafka.NewSink(kafka.SinkConfig{
			Connection:         at,
			Topic:              "invoices",
			TransactionTimeout: 15 * time.Minute,
		}, withID)
		if err != nil {
			return err
		}
		stream.From(env, src, stream.UID("orders")).To(sink, stream.UID("invoices"))
		return nil
	}
	env := stream.NewEnv(stream.JobName("billing"))
	if err := build(env); err != nil {
		fmt.Println(err)
		return
	}
	g, err := env.Graph()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range g.Nodes {
		fmt.Println(n.UID)
	}
	// Output:
	// orders
	// invoices
}

// A type that the format refuses is a fault of the program: From and To ask
// for it.
func ExampleSink_Fault() {
	type order struct {
		ID    string
		Lines []string
	}
	at := kafka.Connection{Brokers: []string{"kafka-1:9092"}}
	src, err := kafka.NewSource(kafka.SourceConfig{Connection: at, Topics: []string{"orders"}}, jsonfmt.DecoderOf(order{}))
	if err != nil {
		panic(err)
	}
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: at, Topic: "copies"}, csvfmt.EncoderOf(order{}))
	if err != nil {
		panic(err)
	}
	fmt.Println(src.Fault())
	fmt.Println(sink.Fault())
	// Output:
	// <nil>
	// encoder: csvfmt: kafka_test.order.Lines: []string does not fit one column: use a field for each value, a type with MarshalText and UnmarshalText, or the JSON format
}
