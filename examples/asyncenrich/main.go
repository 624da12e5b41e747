// Command asyncenrich adds to each visit the country of its user, asked of a
// directory that takes its time: many requests at once, tried again when it is
// busy, with a cache. Visits that it refuses are written elsewhere. The visits
// are made up, or read from a topic; the directory is a function here and would
// be a client of a service.
//
//	go run ./examples/asyncenrich
//	go run ./examples/asyncenrich --local --brokers localhost:9092
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

// Visit is what is read.
type Visit struct {
	ID   string    `json:"id"`
	User string    `json:"user"`
	At   time.Time `json:"at"`
}

// Enriched is a result. Country is empty when the user is unknown.
type Enriched struct {
	Visit   Visit  `json:"visit"`
	Country string `json:"country"`
}

// Refused is a visit without an answer.
type Refused struct {
	Visit string `json:"visit"`
	Error string `json:"error"`
}

func build(env *stream.Env) error {
	set := flag.NewFlagSet("asyncenrich", flag.ContinueOnError)
	count := set.Int64("count", 10_000, "number of made-up visits; 0: without end")
	p := place.Flags(env, "asyncenrich", set)
	made := datagen.New(datagen.Config{Count: *count, Splits: 2, PerSecond: 5000}, makeVisit)
	d := &directory{delay: 2 * time.Millisecond}
	enriched, refused := enrich(env, place.From(p, "visits", made), d.country)
	enriched.To(place.To(p, "enriched", func(dst []byte, e *Enriched) []byte { return append(dst, e.Visit.User...) }), stream.UID("out"))
	refused.To(place.Values(p, "refused", Refused{}), stream.UID("refused"))
	return p.Err()
}

// enrich adds the job to env.
func enrich(env *stream.Env, visits connectors.SourceOf[Visit], country func(context.Context, string) (string, bool, error)) (*stream.DataStream[Enriched], *stream.DataStream[Refused]) {
	all := stream.From(env, visits, stream.UID("visits"),
		stream.Timestamps(func(v Visit) time.Time { return v.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(time.Second)))
	user := func(v Visit) string { return v.User }
	enriched := stream.LookupJoin(all, user, country, func(v Visit, country *string) Enriched {
		if country == nil {
			return Enriched{Visit: v}
		}
		return Enriched{Visit: v, Country: *country}
	}, stream.UID("countries"),
		stream.Unordered(), stream.Capacity(50), stream.Timeout(10*time.Second),
		stream.Retry{Attempts: 5, Delay: 10 * time.Millisecond, If: func(err error) bool { return errors.Is(err, errBusy) }},
		stream.CacheFor(time.Minute, 10_000),
		stream.OnError(stream.ToDeadLetters))
	refused := stream.Map(stream.DeadLetters(enriched), func(l connectors.DeadLetter) Refused {
		return Refused{Visit: string(l.Value), Error: l.Error}
	})
	return enriched, refused
}

var (
	errBusy = errors.New("the directory is busy")
	errUser = errors.New("users have names")
)

// directory stands for a service: it is slow, and busy when it is asked for
// the first time for a fourth of the users.
type directory struct {
	delay time.Duration
	calls atomic.Int64
	asked sync.Map // of users
}

var countries = []string{"FI", "NZ", "PE", "UY"}

// country looks a user up; a third of the users is not known.
func (d *directory) country(ctx context.Context, user string) (country string, known bool, err error) {
	answer, cancel := context.WithTimeout(ctx, d.delay)
	defer cancel()
	<-answer.Done()
	if ctx.Err() != nil {
		return "", false, ctx.Err()
	}
	if user == "" {
		return "", false, errUser
	}
	sum := 0
	for _, c := range user {
		sum += int(c)
	}
	d.calls.Add(1)
	if _, again := d.asked.LoadOrStore(user, true); !again && sum%4 == 2 {
		return "", false, errBusy
	}
	return countries[sum%len(countries)], sum%3 != 0, nil
}

func makeVisit(i int64, rng *rand.Rand) Visit {
	const start = 1_767_225_600 // 2026-01-01
	v := Visit{ID: fmt.Sprint("v", i), User: fmt.Sprint("u", rng.IntN(500)), At: time.Unix(start+i/100, 0).UTC()}
	if i%1000 == 999 {
		v.User = ""
	}
	return v
}
