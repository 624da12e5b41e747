package cep_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/cep"
	"github.com/leatstream/leat/stream/streamtest"
)

type login struct {
	User string
	OK   bool
	At   time.Time
}

func failed(l login) bool    { return !l.OK }
func succeeded(l login) bool { return l.OK }
func userOf(l login) string  { return l.User }

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0).UTC() }

// logins reads "ann-3": a failed login of ann in second 3; with + one that is
// not.
func logins(text string) (out []login) {
	for _, w := range strings.Fields(text) {
		i := strings.IndexAny(w, "+-")
		var second int
		fmt.Sscan(w[i+1:], &second)
		out = append(out, login{w[:i], w[i] == '+', at(second)})
	}
	return out
}

func byUser(env *stream.Env, text string) *stream.KeyedStream[string, login] {
	all := stream.From(env, collection.Slice(logins(text)...), stream.UID("logins"),
		stream.Timestamps(func(l login) time.Time { return l.At }),
		stream.Watermarks(stream.BoundedOutOfOrderness(2*time.Second).PerRow()))
	return stream.KeyBy(all, userOf)
}

// times tells of the rows of a match by their seconds.
func times(m cep.Match[login]) string {
	var sb strings.Builder
	sb.WriteString(m.First("fail").User + ":")
	for step, l := range m.All() {
		fmt.Fprintf(&sb, " %s@%d", step, l.At.Unix())
	}
	return sb.String()
}

// show runs the job and prints what came out.
func show(env *stream.Env, out *stream.DataStream[string]) {
	rows := collection.NewCollector("")
	out.To(rows, stream.UID("out"))
	if _, err := streamtest.Run(context.Background(), env, streamtest.Options{}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Join(rows.Rows(), "\n"))
}

func ExampleSelect() {
	env := stream.NewEnv()
	// Three failures and then a success, all within ten seconds.
	pattern := cep.Begin("fail", failed).Times(3).Consecutive().
		Next("success", succeeded).
		Within(10 * time.Second)
	// ann's events come out of order; bob takes too long.
	attempts := cep.Detect(byUser(env, "ann-1 ann-3 bob-1 ann-2 bob-4 ann+5 bob-8 bob+12"), pattern)
	alerts := cep.Select(attempts, func(m cep.Match[login]) string {
		return fmt.Sprintf("%s guessed a password in %s", m.Last("success").User, m.End().Sub(m.Start()))
	}, stream.UID("guesses"))
	show(env, alerts)
	// Output:
	// ann guessed a password in 4s
}

func ExampleBegin() {
	env := stream.NewEnv()
	pattern := cep.Begin("fail", failed).FollowedBy("success", succeeded)
	show(env, cep.Select(cep.Detect(byUser(env, "ann-1 ann-2 ann+3 ann+4"), pattern), times, stream.UID("found")))
	// Output:
	// ann: fail@1 success@3
	// ann: fail@2 success@3
}

func ExamplePattern_FollowedByAny() {
	env := stream.NewEnv()
	pattern := cep.Begin("fail", failed).FollowedByAny("success", succeeded).Within(5 * time.Second)
	show(env, cep.Select(cep.Detect(byUser(env, "ann-1 ann+3 ann+4 ann+6"), pattern), times, stream.UID("found")))
	// Output:
	// ann: fail@1 success@3
	// ann: fail@1 success@4
}

func ExamplePattern_NotFollowedBy() {
	env := stream.NewEnv()
	// A failure that no success follows in ten seconds.
	pattern := cep.Begin("fail", failed).NotFollowedBy("success", succeeded).Within(10 * time.Second)
	show(env, cep.Select(cep.Detect(byUser(env, "ann-1 bob-2 bob+5"), pattern), times, stream.UID("found")))
	// Output:
	// ann: fail@1
}

func ExamplePattern_AfterMatch() {
	env := stream.NewEnv()
	pattern := cep.Begin("fail", failed).Times(2).AfterMatch(cep.SkipPastLast())
	show(env, cep.Select(cep.Detect(byUser(env, "ann-1 ann-2 ann-3 ann-4"), pattern), times, stream.UID("found")))
	// Output:
	// ann: fail@1 fail@2
	// ann: fail@3 fail@4
}

func ExamplePattern_WhereMatch() {
	env := stream.NewEnv()
	// Failures that come faster and faster.
	faster := func(l login, so cep.Match[login]) bool {
		rows := so.Rows("faster")
		before := so.Last("fail").At
		if len(rows) == 0 {
			return true
		}
		last := rows[len(rows)-1].At
		if len(rows) > 1 {
			before = rows[len(rows)-2].At
		}
		return l.At.Sub(last) < last.Sub(before)
	}
	pattern := cep.Begin("fail", failed).
		Next("faster", failed).WhereMatch(faster).Times(2).Consecutive()
	show(env, cep.Select(cep.Detect(byUser(env, "ann-1 ann-5 ann-7 ann-9"), pattern), times, stream.UID("found")))
	// Output:
	// ann: fail@1 faster@5 faster@7
}

func ExampleBeginGroup() {
	env := stream.NewEnv()
	// Twice a failure right before a success.
	pair := cep.Begin("fail", failed).Next("success", succeeded)
	pattern := cep.BeginGroup(pair).Times(2).Consecutive()
	show(env, cep.Select(cep.Detect(byUser(env, "ann-1 ann+2 ann-3 ann+4"), pattern), times, stream.UID("found")))
	// Output:
	// ann: fail@1 success@2 fail@3 success@4
}

func ExampleFlatSelect() {
	env := stream.NewEnv()
	pattern := cep.Begin("fail", failed).Times(2).Consecutive()
	each := func(m cep.Match[login], emit func(string)) {
		for _, l := range m.Rows("fail") {
			emit(fmt.Sprintf("%s@%d", l.User, l.At.Unix()))
		}
	}
	show(env, cep.FlatSelect(cep.Detect(byUser(env, "ann-1 bob-2 ann-3"), pattern), each, stream.UID("found")))
	// Output:
	// ann@1
	// ann@3
}

func ExampleTimedOut() {
	env := stream.NewEnv()
	pattern := cep.Begin("fail", failed).FollowedBy("success", succeeded).Within(3 * time.Second)
	found := cep.Detect(byUser(env, "ann-1 bob-2 bob+4 ann+9"), pattern)
	cep.Select(found, times, stream.UID("found")).To(collection.NewCollector(""), stream.UID("matches"))
	show(env, cep.TimedOut(found, func(m cep.Match[login]) string {
		return fmt.Sprintf("%s until %d", times(m), m.Time().Unix())
	}))
	// Output:
	// ann: fail@1 until 4
}

func ExampleMatches_Late() {
	env := stream.NewEnv()
	pattern := cep.Begin("fail", failed).FollowedBy("success", succeeded)
	found := cep.Detect(byUser(env, "ann-1 ann+9 ann-2"), pattern)
	cep.Select(found, times, stream.UID("found")).To(collection.NewCollector(""), stream.UID("matches"))
	show(env, stream.Map(found.Late(), func(l login) string { return fmt.Sprint(l.User, " ", l.At.Unix()) }))
	// Output:
	// ann 2
}

func ExampleDetect() {
	env := stream.NewEnv()
	pattern := cep.Begin("fail", failed).OneOrMore().Greedy().Next("success", succeeded).Within(time.Minute)
	found := cep.Detect(byUser(env, "ann-1 ann-2 ann+3"), pattern).
		OrderBy(func(a, b login) int { return strings.Compare(a.User, b.User) }).
		PartialsMax(100)
	show(env, cep.Select(found, times, stream.UID("found")))
	// Output:
	// ann: fail@1 fail@2 success@3
	// ann: fail@2 success@3
}
