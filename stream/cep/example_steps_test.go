package cep_test

import (
	"fmt"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/cep"
	"github.com/leatstream/leat/stream/streamtest"
)

// find prints the matches of a pattern.
func find(text string, p *cep.Pattern[login]) {
	env := stream.NewEnv()
	show(env, cep.Select(cep.Detect(byUser(env, text), p), times, stream.UID("found")))
}

// even and odd tell logins apart by their seconds.
func even(l login) bool { return l.At.Unix()%2 == 0 }
func odd(l login) bool  { return !even(l) }

// How often a step repeats: a number, a span, or as often as it comes until
// something else does.
func ExamplePattern_Times() {
	find("ann-1 ann-2 ann-3", cep.Begin("fail", failed).TimesBetween(2, 3))
	fmt.Println("until a success:")
	find("ann-1 ann-2 ann+3 ann-4", cep.Begin("fail", failed).TimesOrMore(2).Until(succeeded))
	// Output:
	// ann: fail@1 fail@2
	// ann: fail@1 fail@2 fail@3
	// ann: fail@2 fail@3
	// until a success:
	// ann: fail@1 fail@2
}

// Until may look at what was taken: here three seconds after the first failure
// no other is. Before the first nothing is taken.
func ExamplePattern_UntilMatch() {
	find("ann-1 ann-2 ann-5", cep.Begin("fail", failed).OneOrMore().
		UntilMatch(func(l login, so cep.Match[login]) bool {
			return so.Len("fail") > 0 && l.At.Sub(so.First("fail").At) > 3*time.Second
		}))
	// Output:
	// ann: fail@1
	// ann: fail@1 fail@2
	// ann: fail@2
	// ann: fail@2 fail@5
	// ann: fail@5
}

func ExamplePattern_Optional() {
	find("ann-1 ann+2 ann-3 ann-4 ann+5", cep.Begin("fail", failed).
		Next("again", failed).Optional().
		Next("success", succeeded))
	// Output:
	// ann: fail@1 success@2
	// ann: fail@3 again@4 success@5
	// ann: fail@4 success@5
}

// Other failures may be left out of a repetition, and are in matches of their
// own.
func ExamplePattern_AllowCombinations() {
	find("ann-1 ann-2 ann-3", cep.Begin("fail", failed).Times(2).AllowCombinations())
	// Output:
	// ann: fail@1 fail@2
	// ann: fail@1 fail@3
	// ann: fail@2 fail@3
}

// Conditions of one step: all of Where hold, or one of Or.
func ExamplePattern_Where() {
	find("ann-1 ann-2 ann+4 ann+5", cep.Begin("fail", failed).Where(even).Or(func(l login) bool { return l.OK && odd(l) }))
	// Output:
	// ann: fail@2
	// ann: fail@5
}

// OrMatch may look at what was taken: a step fits a success, or a failure much
// later.
func ExamplePattern_OrMatch() {
	find("ann-1 ann-2 ann-9", cep.Begin("fail", failed).
		FollowedBy("end", succeeded).
		OrMatch(func(l login, so cep.Match[login]) bool { return l.At.Sub(so.First("fail").At) > 7*time.Second }))
	// Output:
	// ann: fail@1 end@9
}

func ExamplePattern_NotNext() {
	// A failure that the next login does not mend.
	find("ann-1 ann+2 ann-3 ann-4", cep.Begin("fail", failed).NotNext("success", succeeded))
	// Output:
	// ann: fail@3
}

// The time between two events is bounded, and not that of the whole match.
func ExamplePattern_WithinPrevious() {
	find("ann-1 ann-3 ann-5 ann-9", cep.Begin("fail", failed).Times(3).WithinPrevious(3*time.Second))
	// Output:
	// ann: fail@1 fail@3 fail@5
}

// A group is a pattern that repeats or is left out as a whole. It stands where
// a step does.
func ExamplePattern_NextGroup() {
	pair := cep.Begin("odd", odd).Next("even", even)
	start := cep.Begin("fail", failed)
	for _, p := range []*cep.Pattern[login]{
		start.NextGroup(pair),
		start.FollowedByGroup(pair),
		start.FollowedByAnyGroup(pair),
	} {
		fmt.Println(p)
		find("ann-2 ann+3 ann+4 ann+5 ann+6", p)
	}
	// Output:
	// "fail" > ("odd" > "even")
	// ann: fail@2 odd@3 even@4
	// "fail" >> ("odd" > "even")
	// ann: fail@2 odd@3 even@4
	// "fail" >>> ("odd" > "even")
	// ann: fail@2 odd@3 even@4
	// ann: fail@2 odd@5 even@6
}

// What becomes of the other matches once one is found.
func ExampleSkipStrategy() {
	pattern := cep.Begin("fail", failed).OneOrMore().Consecutive().Next("success", succeeded)
	for _, s := range []struct {
		name string
		skip cep.SkipStrategy
	}{
		{"none", cep.NoSkip()},
		{"to the next event", cep.SkipToNext()},
		{"past the last", cep.SkipPastLast()},
		{"to the last failure, which is", cep.SkipToLast("fail")},
		{"to the success", cep.SkipToFirst("success").OrFail()},
	} {
		fmt.Printf("skip %s:\n", s.name)
		find("ann-1 ann-2 ann-3 ann+4", pattern.AfterMatch(s.skip))
	}
	// Output:
	// skip none:
	// ann: fail@1 fail@2 fail@3 success@4
	// ann: fail@2 fail@3 success@4
	// ann: fail@3 success@4
	// skip to the next event:
	// ann: fail@1 fail@2 fail@3 success@4
	// ann: fail@2 fail@3 success@4
	// ann: fail@3 success@4
	// skip past the last:
	// ann: fail@1 fail@2 fail@3 success@4
	// skip to the last failure, which is:
	// ann: fail@1 fail@2 fail@3 success@4
	// ann: fail@3 success@4
	// skip to the success:
	// ann: fail@1 fail@2 fail@3 success@4
}

// By the clock events are taken as they come: the source needs no watermarks.
func ExampleMatches_ProcessingTime() {
	env := stream.NewEnv()
	all := stream.From(env, collection.Slice(logins("ann-1 ann-2 ann+3")...), stream.UID("logins"))
	pattern := cep.Begin("fail", failed).Times(2).Next("success", succeeded)
	found := cep.Detect(stream.KeyBy(all, userOf), pattern).ProcessingTime()
	cep.Select(found, func(m cep.Match[login]) string {
		return fmt.Sprint(m.Len("fail"), " failures of ", m.First("fail").User)
	}, stream.UID("found"))
	d := streamtest.NewDriver(streamtest.Console{}, env)
	out := streamtest.Output(d, "found", "")
	streamtest.Input(d, "logins", login{}).Push(logins("ann-1 ann-2 ann+3")...)
	fmt.Println(out.Take())
	// Output:
	// [2 failures of ann]
}
