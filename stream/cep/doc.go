// Package cep finds patterns of events in a keyed stream: a small payment
// followed by a large one within a minute, five failed logins and no success,
// a sensor that rises three times in a row.
//
//	pattern := cep.Begin("small", func(p Payment) bool { return p.Cents < 500 }).
//		FollowedBy("large", func(p Payment) bool { return p.Cents > 100_000 }).
//		Within(time.Minute)
//	alerts := cep.Select(cep.Detect(byCard, pattern), alertOf, stream.UID("alerts"))
//
// A pattern is a chain of steps. Each takes one event that fits its condition,
// or several (OneOrMore, Times …), and says how near it is to the step before:
// Next takes the event right after or none, FollowedBy the first later one
// that fits, FollowedByAny each later one, in matches of their own. NotNext
// and NotFollowedBy say what must not come. Every way to put the pattern over
// the events of a key is a match, unless AfterMatch says otherwise.
//
// Events are those of one key, in order of event time: they wait for the
// watermark. Patterns are built as programs are: faults do not stop it, Env's
// Graph returns them with the place of each step.
//
// The semantics are those of FlinkCEP; its results for the patterns of its
// documentation and tests are among the tests of operators/cepop, where the
// machinery is. Kafka Streams has nothing like it.
package cep
