package cep_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/cep"
)

type noRow struct{ C chan int }

// TestFaults looks for patterns and calls that cannot work.
func TestFaults(t *testing.T) {
	t.Parallel()
	begin := func() *cep.Pattern[login] { return cep.Begin("a", failed) }
	for _, c := range []struct {
		name string
		p    *cep.Pattern[login]
		want string
	}{
		{"nil", nil, `the pattern is nil`},
		{"no name", begin().Next("", failed), `Next has no name: matches are read by the names of steps`},
		{"nil condition", cep.Begin[login]("a", nil), `Begin("a"): the condition is nil`},
		{"nil where", begin().Where(nil), `Where on step "a": the condition is nil`},
		{"nil or", begin().OrMatch(nil), `OrMatch on step "a": the condition is nil`},
		{"same names", begin().Next("a", failed), `two steps of the pattern are named "a" (the other at cep/fault_test.go:`},
		{"same names in a group", begin().NextGroup(begin()), `two steps of the pattern are named "a"`},
		{"Times(0)", begin().Times(0), `Times on step "a": it comes 0 times`},
		{"TimesBetween", begin().TimesBetween(3, 2), `TimesBetween on step "a": it comes between 3 and 2 times`},
		{"TimesBetween(0, 0)", begin().TimesBetween(0, 0), `it comes between 0 and 0 times`},
		{"TimesOrMore(0)", begin().TimesOrMore(0), `TimesOrMore on step "a": it comes 0 times or more`},
		{"twice", begin().Times(2).OneOrMore(), `OneOrMore on step "a": how often it comes has been said already`},
		{"too often", begin().Times(5000), `the pattern has more than 4096 events`},
		{"optional not", begin().NotNext("b", failed).Optional().Next("c"), `Optional on step "b": it must not come at all`},
		{"repeated not", begin().NotNext("b", failed).Times(2).Next("c"), `Times on step "b": it must not come at all`},
		{"not at the end", begin().NotFollowedBy("b", succeeded), `the pattern ends with NotFollowedBy("b") and would never be whole: bound it with Within`},
		{"not after optional", begin().Next("b").Optional().NotNext("c", failed).Next("d"), `step "c" must not come after "b", which is optional`},
		{"not at the end of a group", begin().NextGroup(cep.Begin("b", failed).NotNext("c", succeeded)), `a group ends with "c", which must not come`},
		{"contradiction", begin().NotNext("b", succeeded).Next("c", succeeded), `step "c" can never be taken: its condition is that of a step which must not come before it`},
		{"contradiction later", begin().NotFollowedBy("b", succeeded).FollowedBy("c", succeeded), `step "c" can never be taken`},
		{"until once", begin().Until(succeeded), `Until on step "a": it does not repeat without end`},
		{"until times", begin().Times(3).Until(succeeded), `Until on step "a": it does not repeat without end`},
		{"until nil", begin().OneOrMore().Until(nil), `Until on step "a": the condition is nil`},
		{"until twice", begin().OneOrMore().Until(succeeded).UntilMatch(func(login, cep.Match[login]) bool { return true }), `UntilMatch on step "a": it has a stop condition already`},
		{"until at once", begin().OneOrMore().Until(failed), `the step can never be taken: it stops at every event that fits it`},
		{"greedy once", begin().Greedy(), `Greedy on step "a": it does not repeat`},
		{"greedy group", cep.BeginGroup(begin()).OneOrMore().Greedy(), `Greedy on a group: a group cannot be greedy`},
		{"greedy combinations", begin().OneOrMore().AllowCombinations().Greedy(), `with AllowCombinations it repeats in all ways`},
		{"combinations greedy", begin().OneOrMore().Greedy().AllowCombinations(), `AllowCombinations on step "a": it is greedy`},
		{"consecutive once", begin().Consecutive(), `Consecutive on step "a": it does not repeat`},
		{"both", begin().OneOrMore().Consecutive().AllowCombinations(), `one of Consecutive and AllowCombinations has been called already`},
		{"within", begin().Next("b").Within(-time.Second), `Within(-1s) is shorter than a millisecond`},
		{"within previous", begin().Next("b").WithinPrevious(0), `WithinPrevious on step "b": 0s is shorter than a millisecond`},
		{"within previous of the first", begin().WithinPrevious(time.Second), `WithinPrevious on step "a": there is no event before the first`},
		{"within previous of a not", begin().NotNext("b", failed).WithinPrevious(time.Second).Next("c"), `it takes no event`},
		{"skip to nowhere", begin().Next("b").AfterMatch(cep.SkipToLast("c")), `after a match is skipped to step "c", which the pattern does not have`},
		{"nil group", begin().FollowedByGroup(nil), `FollowedByGroup: the group is nil`},
		{"within in a group", cep.BeginGroup(begin().Within(time.Second)), `Within and AfterMatch are of the whole pattern`},
		{"where of a group", cep.BeginGroup(begin()).Where(failed), `Where on a group: a group has no condition of its own`},
		{"empty group repeated", cep.BeginGroup(begin().Optional()).OneOrMore(), `a group is repeated, but may be empty`},
	} {
		env := stream.NewEnv()
		found := cep.Detect(byUser(env, "ann-1"), c.p)
		cep.Select(found, times, stream.UID("found"))
		expectFault(t, c.name, env, c.want)
	}
}

// expectFault wants one line at this file that says want, and no panic.
func expectFault(t *testing.T, name string, env *stream.Env, want string) {
	t.Helper()
	_, err := env.Graph()
	if err == nil {
		t.Errorf("%s: accepted", name)
		return
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if strings.HasPrefix(line, "cep/fault_test.go:") && strings.Contains(line, want) {
			return
		}
	}
	t.Errorf("%s: no line at this file says %q in:\n%v", name, want, err)
}

// TestFaultsOfMatches looks for calls that cannot work.
func TestFaultsOfMatches(t *testing.T) {
	t.Parallel()
	pattern := cep.Begin("a", failed).Next("b")
	for _, c := range []struct {
		name string
		call func(m *cep.Matches[string, login])
		want string
	}{
		{"nil select", func(m *cep.Matches[string, login]) {
			cep.Select[string, login, string](m, nil, stream.UID("x"))
		}, `the function that makes rows of matches is nil`},
		{"nil timed out", func(m *cep.Matches[string, login]) {
			cep.Select(m, times, stream.UID("x"))
			cep.TimedOut[string, login, string](m, nil)
		}, `TimedOut: the function that makes rows is nil`},
		{"select twice", func(m *cep.Matches[string, login]) {
			cep.Select(m, times, stream.UID("x"))
			cep.Select(m, times, stream.UID("y"))
		}, `have a function already: make others with Detect`},
		{"late before", func(m *cep.Matches[string, login]) { m.Late() }, `Late is asked of matches without a function`},
		{"timed out before", func(m *cep.Matches[string, login]) { cep.TimedOut(m, times) }, `TimedOut is asked of matches without a function`},
		{"no time", func(m *cep.Matches[string, login]) {
			cep.Select(m, times, stream.UID("x"))
			cep.TimedOut(m, times)
		}, `no partial match of pattern "a" > "b" can time out: bound it with Within`},
		{"late by the clock", func(m *cep.Matches[string, login]) {
			cep.Select(m.ProcessingTime(), times, stream.UID("x"))
			m.Late()
		}, `Late: by the clock no row is late`},
		{"partials", func(m *cep.Matches[string, login]) { m.PartialsMax(0) }, `at most 0 partial matches is less than 1`},
		{"order", func(m *cep.Matches[string, login]) { m.OrderBy(nil) }, `OrderBy: the comparison is nil`},
		{"uid", func(m *cep.Matches[string, login]) { cep.Select(m, times) }, `pattern has state and needs a name for good: add stream.UID("pattern")`},
		{"row", func(m *cep.Matches[string, login]) {
			cep.Select(m, func(cep.Match[login]) noRow { return noRow{} }, stream.UID("x"))
		}, `noRow.C`},
	} {
		env := stream.NewEnv()
		c.call(cep.Detect(byUser(env, "ann-1"), pattern))
		expectFault(t, c.name, env, c.want)
	}
	env := stream.NewEnv()
	untimed := stream.KeyBy(stream.From(env, collection.Slice(logins("ann-1")...), stream.UID("logins")), userOf)
	cep.Select(cep.Detect(untimed, pattern), times, stream.UID("x"))
	expectFault(t, "no watermarks", env, `pattern needs event time, but source "collection" (UID`)
}

// TestPatternsShareTheirBeginnings alters a pattern in two ways.
func TestPatternsShareTheirBeginnings(t *testing.T) {
	t.Parallel()
	a := cep.Begin("a", failed)
	b := a.Next("b")
	c := a.FollowedBy("c").Times(2)
	a.Optional()
	if got, want := a.String()+" | "+b.String()+" | "+c.String(), `"a" | "a" > "b" | "a" >> "c"{2,2}`; got != want {
		t.Errorf("patterns %s, want %s", got, want)
	}
}
