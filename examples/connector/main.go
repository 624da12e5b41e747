// Command connector reads games from a web service and writes the running
// total of each player back, exactly once, by a source and a sink of its own
// (package points). Without a service it makes games up and prints the totals.
//
//	go run ./examples/connector
//	go run ./examples/connector/serve --listen 127.0.0.1:8099 --games 1000
//	go run ./examples/connector --local --service http://127.0.0.1:8099
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/console"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/examples/connector/points"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	set := flag.NewFlagSet("connector", flag.ContinueOnError)
	service := set.String("service", "", "address of the service, http://host:port; none: made-up games to the console")
	if err := set.Parse(env.Args()); err != nil {
		return err
	}
	env.Set(stream.JobName("connector"))
	if *service == "" {
		totals(env, datagen.New(datagen.Config{Count: 1000}, makeGame), console.Of(points.Game{}))
		return nil
	}
	totals(env, &points.Source{URL: *service}, &points.Sink{URL: *service})
	return nil
}

// totals adds the job to env: to each game the points of its player so far.
func totals(env *stream.Env, from connectors.SourceOf[points.Game], to connectors.SinkOf[points.Game]) {
	games := stream.From(env, from, stream.UID("games"))
	byPlayer := stream.KeyBy(games, func(g points.Game) string { return g.Player })
	stream.Reduce(byPlayer, func(sum, g points.Game) points.Game {
		g.Points += sum.Points
		return g
	}, stream.UID("totals")).To(to, stream.UID("scores"))
}

func makeGame(i int64, rng *rand.Rand) points.Game {
	return points.Game{Player: fmt.Sprintf("player-%d", rng.IntN(10)), Points: rng.Int64N(100), At: 1_767_225_600_000 + 1000*i}
}
