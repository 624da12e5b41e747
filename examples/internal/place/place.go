// Package place says where the example programs read and write: JSON in
// topics of Kafka, or made-up records and the console when no broker is named.
// It is no part of the library: a program of one's own says it directly, as
// examples/orders does.
package place

import (
	"flag"
	"fmt"
	"strings"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/stream"
)

// Place is where a program reads and writes. Its faults are kept for Err.
type Place struct {
	brokers []string
	prefix  string
	bounded bool
	err     error
}

// Flags reads a program's arguments: --brokers, --topics and --bounded, and
// those that were added to set, which may be nil. It names the job.
func Flags(env *stream.Env, name string, set *flag.FlagSet) *Place {
	if set == nil {
		set = flag.NewFlagSet(name, flag.ContinueOnError)
	}
	p := &Place{}
	brokers := set.String("brokers", "", "Kafka brokers, host:port, separated by commas; none: made-up records to the console")
	set.StringVar(&p.prefix, "topics", "", "prefix of the names of all topics")
	set.BoolVar(&p.bounded, "bounded", false, "end at the offsets that are the latest when the job starts")
	env.Set(stream.JobName(name))
	if p.err = set.Parse(env.Args()); *brokers != "" {
		p.brokers = strings.Split(*brokers, ",")
	}
	if p.err == nil && set.NArg() > 0 {
		p.err = fmt.Errorf("argument %q is not understood: all arguments are flags", set.Arg(0))
	}
	return p
}

// Err returns the first fault of the arguments, sources and sinks.
func (p *Place) Err() error { return p.err }

// Kafka reports whether brokers are named.
func (p *Place) Kafka() bool { return p.brokers != nil }

// Bounded reports whether the job is to end by itself.
func (p *Place) Bounded() bool { return p.bounded }

// Made is how records are made up: as c says, but a thousand at once for a job
// that is to end by itself.
func (p *Place) Made(c datagen.Config) datagen.Config {
	if p.bounded {
		c.Count, c.PerSecond = 1000, 0
	}
	return c
}

// Connection is the brokers' address.
func (p *Place) Connection() kafka.Connection { return kafka.Connection{Brokers: p.brokers} }

// Topic returns the name of a topic, with the prefix.
func (p *Place) Topic(name string) string { return p.prefix + name }

// Group is the consumer group that is told the offsets of checkpoints.
func (p *Place) Group() string { return p.prefix + "job" }

// read configures a source of a topic.
func (p *Place) read(topic string) kafka.SourceConfig {
	c := kafka.SourceConfig{Connection: p.Connection(), Topics: []string{p.Topic(topic)}, Group: p.Group()}
	if p.bounded {
		c.Stop = kafka.StopLatest()
	}
	return c
}

// From reads JSON records from a topic, or takes those made up.
func From[T any, S connectors.SourceOf[T]](p *Place, topic string, made S) connectors.SourceOf[T] {
	if !p.Kafka() {
		return made
	}
	var like T
	src, err := kafka.NewSource(p.read(topic), jsonfmt.DecoderOf(like))
	p.keep(err)
	return src
}

// Entries reads a compacted topic: keys with JSON values, and deletions.
func Entries[T any, S connectors.SourceOf[formats.Entry[T]]](p *Place, topic string, made S) connectors.SourceOf[formats.Entry[T]] {
	if !p.Kafka() {
		return made
	}
	var like T
	src, err := kafka.NewSource(p.read(topic), formats.EntryOf(jsonfmt.DecoderOf(like)))
	p.keep(err)
	return src
}

// Values writes JSON records like like, which have no key, to a topic exactly
// once, or to the console.
func Values[T any](p *Place, topic string, like T) connectors.SinkOf[T] {
	return write(p, topic, jsonfmt.EncoderOf(like))
}

// To is Values of records with a key, which key appends to dst.
func To[T any](p *Place, topic string, key func(dst []byte, v *T) []byte) connectors.SinkOf[T] {
	var like T
	return write(p, topic, formats.WithKey(jsonfmt.EncoderOf(like), key))
}

// EntriesTo writes keys with JSON values like like, and deletions, to a
// compacted topic exactly once, or to the console.
func EntriesTo[T any](p *Place, topic string, like T) connectors.SinkOf[formats.Entry[T]] {
	if !p.Kafka() {
		return write(p, topic, jsonfmt.EncoderOf(formats.Entry[T]{}))
	}
	return write(p, topic, formats.EntryTo(jsonfmt.EncoderOf(like)))
}

func write[T any](p *Place, topic string, enc func() (formats.Encoder[T], error)) connectors.SinkOf[T] {
	if !p.Kafka() {
		return console.New(enc).Prefix(topic + ": ")
	}
	sink, err := kafka.NewSink(kafka.SinkConfig{Connection: p.Connection(), Topic: p.Topic(topic)}, enc)
	p.keep(err)
	return sink
}

func (p *Place) keep(err error) {
	if p.err == nil {
		p.err = err
	}
}
