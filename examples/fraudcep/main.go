// Command fraudcep finds cards that are tried out: small payments, and then a
// large one, within a minute. It reads JSON payments from the Kafka topic
// transactions and writes alerts to fraud-alerts exactly once. Without brokers
// it makes payments up and prints the alerts.
//
//	go run ./examples/fraudcep --local
//	go run ./examples/fraudcep --local --brokers localhost:9092
package main

import (
	"github.com/leatstream/leat/examples/internal/place"
	"github.com/leatstream/leat/launch"
	"github.com/leatstream/leat/stream"
)

func main() { launch.Main(build) }

func build(env *stream.Env) error {
	p := place.Flags(env, "fraudcep", nil)
	payments := place.From(p, "transactions", generated(p.Bounded()))
	Build(env, payments, Sinks{
		Alerts: place.Values(p, "fraud-alerts", Alert{}),
		Late:   place.Values(p, "transactions.late", Payment{}),
	})
	return p.Err()
}
