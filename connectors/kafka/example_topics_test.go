package kafka_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats/jsonfmt"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// reads says where a source begins and ends.
func reads(c kafka.SourceConfig) string {
	c.Brokers, c.Topics = []string{"kafka-1:9092"}, []string{"bills"}
	src, err := kafka.NewSource(c, jsonfmt.DecoderOf(invoice{}))
	if err != nil {
		return err.Error()
	}
	_, text, _ := strings.Cut(src.Detail(), " start=")
	text, _, _ = strings.Cut(text, " group=")
	return fmt.Sprintf("start=%s bounded=%v", text, src.Bounded())
}

// Where a job begins to read when it has no state of the topic yet.
func ExampleStart() {
	for _, start := range []kafka.Start{
		kafka.Earliest(), kafka.Latest(), kafka.FromTime(noon),
		kafka.FromOffsets(map[kafka.TopicPartition]int64{{Topic: "bills", Partition: 0}: 100}),
		kafka.FromGroup(), kafka.FromGroupElseLatest(),
	} {
		fmt.Println(reads(kafka.SourceConfig{Group: "billing", Start: start}))
	}
	// Output:
	// start=earliest stop=never bounded=false
	// start=latest stop=never bounded=false
	// start=time 1767268800000 stop=never bounded=false
	// start=offsets bills-0@100 stop=never bounded=false
	// start=group else earliest stop=never bounded=false
	// start=group else latest stop=never bounded=false
}

// With a Stop the source is bounded, and the job ends by itself.
func ExampleStop() {
	for _, stop := range []kafka.Stop{
		kafka.StopLatest(), kafka.StopTime(noon), kafka.StopOffsets(map[kafka.TopicPartition]int64{{Topic: "bills", Partition: 0}: 200}),
	} {
		fmt.Println(reads(kafka.SourceConfig{Stop: stop}))
	}
	// Output:
	// start=earliest stop=latest bounded=true
	// start=earliest stop=time 1767268800000 bounded=true
	// start=earliest stop=offsets bills-0@200 bounded=true
}

// Faults are told all at once, before anything is connected to. OutOfRange
// says what happens when records were deleted that the job has not read: by
// default it fails.
func ExampleSourceConfig() {
	for _, policy := range []kafka.OutOfRange{kafka.Fail, kafka.ToEarliest, kafka.ToLatest} {
		c := kafka.SourceConfig{Connection: kafka.Connection{Brokers: []string{"kafka-1:9092"}}, Topics: []string{"bills"}, OutOfRange: policy}
		c.EnsureDefaults()
		fmt.Println(c.Validate())
	}
	fmt.Println(new(kafka.SourceConfig).Validate())
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// no broker address is given
	// want either topics or a topic pattern
	// prefetch of 0 bytes and 0 bytes a partition: want at least 64 KiB and 16 KiB
}

// Deliveries of a sink, from the dearest to the cheapest.
func ExampleDelivery() {
	for _, delivery := range []kafka.Delivery{kafka.ExactlyOnce, kafka.AtLeastOnce, kafka.NoGuarantee} {
		c := kafka.SinkConfig{Connection: kafka.Connection{Brokers: []string{"kafka-1:9092"}}, Topic: "bills", Delivery: delivery}
		c.EnsureDefaults()
		sink, err := kafka.NewSink(c, jsonfmt.EncoderOf(invoice{}))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(delivery, c.Validate(), sink.Transactional())
	}
	// Output:
	// exactly-once <nil> true
	// at-least-once <nil> false
	// none <nil> false
}
