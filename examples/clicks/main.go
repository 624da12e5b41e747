// Command clicks counts the clicks of each user in windows of a minute: each
// click once, though it may be delivered several times, and those that come too
// late apart. It is the program of docs/guides/first-job.md.
//
//	go run ./examples/clicks --files clicks.jsonl
package main

import (
	"flag"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/state"
	"github.com/leatstream/leat/stream"
)

// Click is what is read.
type Click struct {
	ID   string    `json:"id"`
	User string    `json:"user"`
	At   time.Time `json:"at"`
}

// Count is a result.
type Count struct {
	User   string    `json:"user"`
	Minute time.Time `json:"minute"`
	Clicks int64     `json:"clicks"`
}

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	set := flag.NewFlagSet("clicks", flag.ContinueOnError)
	pattern := set.String("files", "clicks.jsonl", "files to read")
	brokers := set.String("brokers", "", "host:port of a Kafka broker to read from and write to, instead of files")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	env.Set(stream.JobName("clicks"))
	if *brokers != "" {
		return onKafka(env, kafka.Connection{Brokers: []string{*brokers}})
	}
	count(env,
		files.NewSource(files.SourceConfig{Pattern: *pattern}, jsonfmt.DecoderOf(Click{})),
		console.New(jsonfmt.EncoderOf(Count{})),
		console.New(jsonfmt.EncoderOf(Click{})).Prefix("late: "))
	return nil
}

func onKafka(env *stream.Env, at kafka.Connection) error {
	clicks, err := kafka.NewSource(kafka.SourceConfig{Connection: at, Topics: []string{"clicks"}, Group: "clicks-job"}, jsonfmt.DecoderOf(Click{}))
	if err != nil {
		return err
	}
	byUser := formats.WithKey(jsonfmt.EncoderOf(Count{}), func(dst []byte, c *Count) []byte { return append(dst, c.User...) })
	counts, err := kafka.NewSink(kafka.SinkConfig{Connection: at, Topic: "counts"}, byUser)
	if err != nil {
		return err
	}
	late, err := kafka.NewSink(kafka.SinkConfig{Connection: at, Topic: "late"}, jsonfmt.EncoderOf(Click{}))
	if err != nil {
		return err
	}
	count(env, clicks, counts, late)
	return nil
}

// count adds the job to env. It knows nothing of Kafka, so that a test can
// give it other sources and sinks.
func count(env *stream.Env, from connectors.SourceOf[Click], to connectors.SinkOf[Count], late connectors.SinkOf[Click]) {
	clicks := stream.From(env, from, stream.UID("clicks"),
		stream.Timestamps(func(c Click) time.Time { return c.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(5*time.Second)))
	byID := stream.KeyBy(clicks, func(c Click) string { return c.ID })
	once := stream.Process(byID, &dedup{}, stream.UID("once"))

	perMinute := stream.KeyBy(once, func(c Click) string { return c.User }).Window(stream.Tumbling(time.Minute))
	counts := stream.AggregateWindow(perMinute, counter{}, func(user string, w stream.Window, n int64) Count {
		return Count{User: user, Minute: w.Start(), Clicks: n}
	}, stream.UID("counts"))

	counts.To(to, stream.UID("counts-out"))
	perMinute.Late().To(late, stream.UID("late-out"))
}

// counter counts the clicks of a window.
type counter struct{}

// Add implements stream.Aggregator.
func (counter) Add(n *int64, _ Click) { *n++ }

// Result implements stream.Aggregator.
func (counter) Result(n *int64) int64 { return *n }

// dedup passes the first click of each id on and forgets the id after ten
// minutes of event time.
type dedup struct {
	seen state.Value[bool]
}

// Open implements stream.KeyedProcessor.
func (d *dedup) Open(ctx *stream.ProcessContext[string, Click]) error {
	return d.seen.Open(ctx.State(), "seen")
}

// Process implements stream.KeyedProcessor.
func (d *dedup) Process(ctx *stream.ProcessContext[string, Click], c Click) error {
	if seen, _ := d.seen.Get(); seen {
		return nil
	}
	d.seen.Set(true)
	ctx.SetTimer(c.At.Add(10 * time.Minute))
	ctx.Emit(c)
	return nil
}

// OnTimer implements stream.TimerProcessor.
func (d *dedup) OnTimer(*stream.ProcessContext[string, Click], stream.Timer) error {
	d.seen.Clear()
	return nil
}
