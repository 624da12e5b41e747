// Command jobs holds the jobs of the tests of bad input: small ones that work,
// and one for each way in which a program can be wrong.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/connectors/files"
	"github.com/leatstream/leat/connectors/kafka"
	"github.com/leatstream/leat/connectors/kafka/kwire"
	"github.com/leatstream/leat/formats"
	"github.com/leatstream/leat/formats/jsonfmt"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// Row is a numbered row; Sum is what a key has added up to so far.
type Row struct{ N, Key, Sum int64 }

type options struct {
	what                            string
	rows, at, keys                  int64
	rate                            float64
	out, uid, brokers, user, secret string
	end                             int64
	retry                           bool
}

func build(env *stream.Env) error {
	var o options
	set := flag.NewFlagSet("jobs", flag.ContinueOnError)
	set.StringVar(&o.what, "what", "", "which job")
	set.Int64Var(&o.rows, "rows", 0, "rows; 0: without end")
	set.Int64Var(&o.at, "at", -1, "the row at which it goes wrong")
	set.Int64Var(&o.keys, "keys", 5, "keys of the sums")
	set.Float64Var(&o.rate, "rate", 0, "rows a second")
	set.StringVar(&o.out, "out", "", "folder of the result")
	set.StringVar(&o.uid, "uid", "sums", "UID of the operator with state; -: none")
	set.StringVar(&o.brokers, "brokers", "", "")
	set.StringVar(&o.user, "user", "", "")
	set.StringVar(&o.secret, "secret", "", "")
	set.Int64Var(&o.end, "end", 0, "end before this offset")
	set.BoolVar(&o.retry, "retry", false, "restart after failures")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	env.Set(stream.JobName(o.what), stream.CheckpointInterval(100*time.Millisecond), stream.DefaultParallelism(1))
	if !o.retry {
		env.Set(stream.RestartNever())
	} else {
		env.Set(stream.RestartFixed(1000, 100*time.Millisecond))
	}
	return jobs(env, o)
}

func jobs(env *stream.Env, o options) error {
	switch o.what {
	case "sums":
		sums(env, o)
	case "text-state":
		textState(env, o)
	case "copy":
		return copyTopic(env, o)
	case "hang":
		select {}
	case "restless":
		return restless(env, o)
	case "channel":
		type bad struct {
			N      int64
			Notify chan int
		}
		stream.From(env, datagen.New(datagen.Config{Count: 1}, func(int64, *rand.Rand) bad { return bad{} }), stream.UID("rows"))
	case "twice":
		rows := source(env, o)
		a := rows.Filter(func(Row) bool { return true }, stream.UID("same"))
		a.Filter(func(Row) bool { return true }, stream.UID("same")).To(files.NewSink(o.out, encoder), stream.UID("out"))
	case "panic":
		source(env, o).Filter(func(r Row) bool { return explode(r, o.at) }, stream.UID("explode")).To(files.NewSink(o.out, encoder), stream.UID("out"))
	case "greedy":
		var kept [][]byte
		source(env, o).Filter(func(r Row) bool {
			b := make([]byte, 8<<20)
			for i := range b {
				b[i] = byte(i + len(kept))
			}
			kept = append(kept, b)
			return true
		}, stream.UID("greedy")).To(files.NewSink(o.out, encoder), stream.UID("out"))
	case "hoard":
		hoard(env, o)
	default:
		return fmt.Errorf("no job %q", o.what)
	}
	return nil
}

// hoard keeps every row of a window that does not end, most of them under one
// key.
func hoard(env *stream.Env, o options) {
	keyed := stream.KeyBy(source(env, o), func(r Row) int64 { return min(r.N%o.keys, 1) })
	stream.ProcessWindow(keyed.Window(stream.GlobalWindows(), stream.Trigger(stream.OnCount(1<<40))),
		func(_ int64, _ stream.Window, rows []Row, emit func(Row)) { emit(rows[0]) }, stream.UID("hoard")).
		To(files.NewSink(o.out, encoder), stream.UID("out"))
}

func explode(r Row, at int64) bool {
	if r.N == at {
		panic(fmt.Sprintf("row %d is not what I expected", r.N))
	}
	return true
}

func source(env *stream.Env, o options) *stream.DataStream[Row] {
	return stream.From(env, datagen.New(datagen.Config{Count: o.rows, PerSecond: o.rate, Splits: 2}, func(i int64, _ *rand.Rand) Row {
		return Row{N: i, Key: i % o.keys, Sum: i}
	}), stream.UID("rows"))
}

func sums(env *stream.Env, o options) {
	keyed := stream.KeyBy(source(env, o), func(r Row) int64 { return r.Key })
	var opts []stream.Option
	if o.uid != "-" {
		opts = append(opts, stream.UID(o.uid))
	}
	stream.Reduce(keyed, func(a, b Row) Row { return Row{N: b.N, Key: a.Key, Sum: a.Sum + b.Sum} }, opts...).
		To(files.NewSink(o.out, encoder), stream.UID("out"))
}

// textState keeps, under the same UID, a text where sums keeps numbers.
func textState(env *stream.Env, o options) {
	type named struct{ Text string }
	texts := stream.Map(source(env, o), func(r Row) named { return named{fmt.Sprint(r.N)} }, stream.UID("name"))
	byLength := stream.KeyBy(texts, func(n named) int64 { return int64(len(n.Text)) })
	stream.Reduce(byLength, func(_, b named) named { return b }, stream.UID(o.uid)).
		To(files.NewSink(o.out, func() (formats.Encoder[named], error) { return jsonfmt.NewEncoder(named{}) }), stream.UID("out"))
}

func copyTopic(env *stream.Env, o options) error {
	at := kafka.Connection{Brokers: strings.Split(o.brokers, ",")}
	if o.user != "" {
		at.SASL = kwire.SASL{Mechanism: kwire.Plain, User: o.user, Password: o.secret}
	}
	cfg := kafka.SourceConfig{Connection: at, Topics: []string{"in"}}
	if o.end > 0 {
		cfg.Stop = kafka.StopOffsets(map[kafka.TopicPartition]int64{{Topic: "in"}: o.end})
	}
	src, err := kafka.NewSource(cfg, func() (formats.Decoder[Row], error) { return jsonfmt.NewDecoder(Row{}) })
	if err != nil {
		return err
	}
	to, err := kafka.NewSink(kafka.SinkConfig{Connection: at, Topic: "out"}, encoder)
	if err != nil {
		return err
	}
	stream.From(env, connectors.SourceOf[Row](src), stream.UID("in")).
		Filter(func(r Row) bool { return explode(r, o.at) }, stream.UID("explode")).
		To(to, stream.UID("out"))
	return nil
}

// restless names an operator by chance: no two builds are the same.
func restless(env *stream.Env, o options) error {
	if o.out == "" {
		return errors.New("no folder")
	}
	source(env, o).Filter(func(Row) bool { return true }, stream.UID(fmt.Sprintf("by-chance-%d", rand.Int64()))).
		To(files.NewSink(o.out, encoder), stream.UID("out"))
	return nil
}

func encoder() (formats.Encoder[Row], error) { return jsonfmt.NewEncoder(Row{}) }
