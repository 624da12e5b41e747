package cepop_test

import (
	"slices"
	"testing"
)

// published are the results that Flink's documentation and its tests of
// FlinkCEP state, in the notation of these tests: pattern, events, matches in
// any order.
var published = []struct{ pattern, in, want string }{
	// Contiguity.
	{"a > b", "a c b1 b2", ""},
	{"a >> b", "a c b1 b2", "a b1"},
	{"a >>> b", "a c b1 b2", "a b1 | a b2"},
	// Loops: a b+ c.
	{"a >>> b+/strict >> c", "a b1 d1 b2 d2 b3 c", "a b1 c | a b2 c | a b3 c"},
	{"a >>> b+/strict > c", "a b1 d1 b2 d2 b3 c", "a b3 c"},
	{"a >>> b+ >> c", "a b1 d1 b2 d2 b3 c", "a b1 c | a b1 b2 c | a b1 b2 b3 c | a b2 c | a b2 b3 c | a b3 c"},
	{"a >>> b+/any >> c", "a b1 d1 b2 d2 b3 c", "a b1 c | a b1 b2 c | a b1 b3 c | a b1 b2 b3 c | a b2 c | a b2 b3 c | a b3 c"},
	// Consecutive and combinations.
	{"c >> a+/strict >> b", "c d a1 a2 a3 d a4 b", "c a1 b | c a1 a2 b | c a1 a2 a3 b"},
	{"c >> a+ >> b", "c d a1 a2 a3 d a4 b", "c a1 b | c a1 a2 b | c a1 a2 a3 b | c a1 a2 a3 a4 b"},
	{"c >>> a+/any >> b", "c d a1 a2 a3 d a4 b", "c a1 b | c a1 a2 b | c a1 a3 b | c a1 a4 b | c a1 a2 a3 b | c a1 a2 a4 b | " +
		"c a1 a3 a4 b | c a1 a2 a3 a4 b | c a2 b | c a2 a3 b | c a2 a4 b | c a2 a3 a4 b | c a3 b | c a3 a4 b | c a4 b"},
	{"a >> b+/strict >> c", "a b1 d b2 c", "a b1 c"},
	{"a >> b+ >> c", "a b1 d b2 c", "a b1 c | a b1 b2 c"},
	{"a >>> b+ >> c", "a b1 d b2 c", "a b1 c | a b1 b2 c | a b2 c"},
	{"a >> b+/greedy >> c", "a b1 d b2 c", "a b1 b2 c"},
	// Until.
	{"a+/until=b", "a1 c a2 b a3", "a1 a2 | a1 | a2 | a3"},
	{"c >> a+/until=u >> u", "c a1 a2 u a3", "c a1 a2 u | c a1 u"},
	{"c >> a+/any/until=u >> u", "c a1 a2 a3 u a4", "c a1 a2 a3 u | c a1 a2 u | c a1 a3 u | c a1 u"},
	{"c >> a*/until=u >> u", "c a1 a2 u a3", "c a1 a2 u | c a1 u | c u"},
	{"c >>> a+/until=u", "c a1 a2 u a3", "c a1 a2 | c a1 | c a2 | c a3"},
	{"c >>> a*/until=u", "c a1 a2 u a3", "c a1 a2 | c a1 | c a2 | c a3 | c"},
	{"c >> .m+/until=u", "c a1 a2 d u a4", "c a1 a2 d | c a1 a2 | c a1"},
	// Repetition.
	{"c >> a{2,}/any >> b", "c a1 a2 a3 b", "c a1 a2 a3 b | c a1 a2 b | c a1 a3 b"},
	{"c >>> a{2,}/any >> b", "c f a1 f a2 a3 b", "c a1 a2 a3 b | c a1 a2 b | c a1 a3 b | c a2 a3 b"},
	{"c >>> a{2}/strict >> b", "c f a1 f a2 a3 b", "c a2 a3 b"},
	{"c >>> a{2,}/strict? >> b", "c f a1 f a2 a3 b", "c a2 a3 b | c b"},
	{"c > a{2,}/strict? >> b", "c a1 a2 a3 b", "c a1 a2 a3 b | c a1 a2 b | c b"},
	{"c >> a{2,}? >> b", "c f b", "c b"},
	{"c >>> a{2,}/any? >> b", "c f a1 f a2 a3 b", "c a1 a2 a3 b | c a1 a2 b | c a2 a3 b | c b | c a1 a3 b"},
	{"d >>> a*/any > b", "d a1 a2 b", "d a1 a2 b | d a2 b"},
	{"c >>> a+/any >>> b", "c a1 a2 b", "c a1 a2 b | c a1 b | c a2 b"},
	{"a+/any >> b", "a1 a2 a3 b", "a1 a2 a3 b | a1 a2 b | a1 a3 b | a2 a3 b | a1 b | a2 b | a3 b"},
	{"c > a*/strict >> b", "c x a1 a2 a3 b", "c b"},
	{"c >>> a+ >>> b", "c a1 a2 a3 b", "c a1 a2 a3 b | c a1 a2 b | c a2 a3 b | c a3 b | c a2 b | c a1 b"},
	{"c >> a? >> b", "c a b", "c a b | c b"},
	{"c > a{2}/any >> b", "c a1 a2 a3 b", "c a1 a2 b | c a1 a3 b"},
	{"c > a{2}/any >> b", "c a1 f a2 f a3 b", "c a1 a2 b | c a1 a3 b"},
	{"a{2}/strict >> b", "a1 a2 a3 b", "a1 a2 b | a2 a3 b"},
	{"c >>> a{2}? >> b", "c a1 a2 a3 b", "c a1 a2 b | c a2 a3 b | c b"},
	{"c >>> a+/strict? >> b", "c f a1 f a2 a3 b", "c a2 a3 b | c a1 b | c a2 b | c a3 b | c b"},
	{"c > a{2}/strict? >> b", "c a1 a2 a3 b", "c a1 a2 b | c b"},
	{"c > a{2}/any? >> b", "c a1 f a2 f a3 b", "c a1 a2 b | c a1 a3 b | c b"},
	{"c >> a+/any >> b", "c d a1 a2 a3 d a4 b", "c a1 a2 a3 a4 b | c a1 a3 a4 b | c a1 a2 a3 b | c a1 a2 a4 b | c a1 a2 b | c a1 a3 b | c a1 a4 b | c a1 b"},
	// Skipping after a match.
	{"b+/strict/greedy > c", "b1 b2 b3 c", "b1 b2 b3 c | b2 b3 c | b3 c"},
	{"b+/strict/greedy > c; skip next", "b1 b2 b3 c", "b1 b2 b3 c | b2 b3 c | b3 c"},
	{"b+/strict/greedy > c; skip past", "b1 b2 b3 c", "b1 b2 b3 c"},
	{"b+/strict/greedy > c; skip first:b", "b1 b2 b3 c", "b1 b2 b3 c | b2 b3 c | b3 c"},
	{"b+/strict/greedy > c; skip last:b", "b1 b2 b3 c", "b1 b2 b3 c | b3 c"},
	{"a > b+", "a b1 b2 b3", "a b1 | a b1 b2 | a b1 b2 b3"},
	{"a > b+; skip next", "a b1 b2 b3", "a b1"},
	{"a >>> b", "a1 b1 a2 b2", "a1 b1 | a1 b2 | a2 b2"},
	{"a >>> b; skip next", "a1 b1 a2 b2", "a1 b1 | a2 b2"},
	{"a{3}", "a1 a2 a3 a4 a5 a6", "a1 a2 a3 | a2 a3 a4 | a3 a4 a5 | a4 a5 a6"},
	{"a{3}; skip past", "a1 a2 a3 a4 a5 a6", "a1 a2 a3 | a4 a5 a6"},
	{".s{2} > .e{2}; skip first:.e", "a1 a2 a3 a4 a5 a6", "a1 a2 a3 a4 | a3 a4 a5 a6"},
	{".s{2} > .e{2}; skip last:.e", "a1 a2 a3 a4 a5 a6 a7", "a1 a2 a3 a4 | a4 a5 a6 a7"},
	{"a >>> b >>> c >> d; skip past", "a1 a2 b1 b2 c1 c2 d1 d2", "a1 b1 c1 d1"},
	{"a > b; skip past", "a1 c a2 b2", "a2 b2"},
	{"x* > b > c; skip first:b", "b1 c1 b2 c2", "b1 c1 | b2 c2"},
	{"b > c; skip first:b", "b1 c1 b2 c2", "b1 c1 | b2 c2"},
	{"a > b+/strict; skip first:b", "a1 b1 a2 b2 b3 a3 b4", "a1 b1 | a2 b2 | a3 b4"},
	{"a > b+/strict; skip last:b", "a1 b1 a2 b2 b3 a3 b4", "a1 b1 | a2 b2 | a3 b4"},
	{"a > b*/strict > c; skip first:b", "a c", "a c"},
	// What must not come.
	{"a > !b >>> c >> d", "a1 c1 b1 c2 d", "a1 c1 d | a1 c2 d"},
	{"a > !b >> c >> d", "a1 b1 c1 c2 d", ""},
	{"a >>> c >>> d > !b", "a1 c1 c2 d b1", ""},
	{"a >> !b >>> c >> d", "a1 c1 b1 c2 d", "a1 c1 d"},
	{"a >> !b >>> c? >> d", "a1 c1 b1 c2 d", "a1 c1 d"},
	{"a >>> b{2} >> !c >> d", "a1 b1 c b2 d", ""},
	{"a >> !b >>> c{2}? >> d", "a1 d1 e b1 c1 c2 d2", "a1 d1"},
	{"a >>> b{2} >> !c >> d", "a1 d1 e b1 b2 c1 d2", ""},
	{"a >> !b >>> c?", "a1 c1 b1 c2", "a1 c1 | a1"},
	{"a >> !b >>> c{2}? >> d", "a1 c1 b1 c2 d", "a1 c1 c2 d"},
	{"a >> !b >> c >> d", "a1 b1 c1 a2 c2 d", "a2 c2 d"},
	{"a >> b+ > !c >> d", "a1 b1 c1 b2 d1", ""},
	{"a >>> b+ > !c >> d", "a1 b1 c1 b2 d1", "a1 b2 d1"},
	{"a >> b+ >> !c >> d", "a1 b1 b2 b3 c1 b4 b5 b6 d1", ""},
	{"a >> b+/any >> !c >> d", "a1 b1 b2 b3 c1 b4 b5 b6 d1", ""},
	{"a >>> b+ >> !c >> d", "a1 b1 b2 b3 c1 b4 b5 b6 d1", "a1 b4 b5 b6 d1 | a1 b4 b5 d1 | a1 b4 d1 | a1 b5 b6 d1 | a1 b5 d1 | a1 b6 d1"},
	{"a >>> b+/any >> !c >> d", "a1 b1 b2 b3 c1 b4 b5 b6 d1", "a1 b4 b5 b6 d1 | a1 b4 b5 d1 | a1 b4 b6 d1 | a1 b4 d1 | a1 b5 b6 d1 | a1 b5 d1 | a1 b6 d1"},
	{"a >> !c >>> b+ >> d", "a1 b1 c1 b4 b5 b6 d1", "a1 b1 b4 b5 b6 d1 | a1 b1 b4 b5 d1 | a1 b1 b4 d1 | a1 b1 d1"},
	{"a >> !c >>> b+/any >> d", "a1 b1 c1 b4 b5 b6 d1", "a1 b1 b4 b5 b6 d1 | a1 b1 b4 b6 d1 | a1 b1 b4 b5 d1 | a1 b1 b4 d1 | a1 b1 b5 b6 d1 | a1 b1 b5 d1 | a1 b1 b6 d1 | a1 b1 d1"},
	{"a >> !c >> b*/any >> d", "a1 b1 c1 b4 b5 b6 d1", "a1 b1 b4 b5 b6 d1 | a1 b1 b4 b5 d1 | a1 b1 b4 b6 d1 | a1 b1 b4 d1 | a1 b1 d1 | a1 b1 b5 b6 d1 | a1 b1 b5 d1 | a1 b1 b6 d1"},
	// In time.
	{"a >> !b; within 3", "a1@1 b1@2 a2@4 c@5 b2@10 a3@11 b3@13", "a2"},
	{"a >> !b >> c{0,2}; within 3", "a1@1 b1@2 a2@10 c1@11 c2@12 a3@20 c3@21 c4@24", "a1 | a2 | a2 c1 | a2 c1 c2 | a3 | a3 c3"},
	{"a+/any >> c >> !b; within 5 skip past", "a1@1 a2@2 a3@3 c1@4 c2@10", "a1 a2 a3 c1"},
	// Greedy.
	{"c >> a*/greedy >> d", "c a1 a2 a3 d", "c a1 a2 a3 d"},
	{"c >> a*/greedy >> d", "c x a1 x a2 x a3 d", "c a1 a2 a3 d"},
	{"c >> a*/greedy >> d", "c a1 a2 x d", "c a1 a2 d"},
	{"c >> a*/greedy >> d", "c x d", "c d"},
	{"c >> a*/greedy >> d? >> e", "c a1 a2 x e", "c a1 a2 e"},
	{"c >> a*/greedy >> d? >> e", "c a1 a2 d e", "c a1 a2 e | c a1 a2 d e"},
	{"c >> a*/greedy/until=a9 >> d", "c a1 a2 a3 a9 d", "c a1 a2 a3 d"},
	{"c >> a*/greedy/until=a9 >> d", "c a9 a1 a2 a3 d", "c d"},
	{"c >> a+/greedy/until=a9 >> d", "c a1 a2 a3 a9 d", "c a1 a2 a3 d"},
	{"c >> a+/greedy/until=a9 >> d", "c a9 a1 a2 a3 d", ""},
	{"c >> a+/greedy >> d", "c a1 a2 a3 d", "c a1 a2 a3 d"},
	{"c >> a+/greedy >> d", "c x d", ""},
	{"c >> a*/greedy >> (d >> e){2} >> f", "c a1 a2 x a3 d1 e1 d2 e2 f", "c a1 a2 a3 d1 e1 d2 e2 f"},
	// Groups.
	{"c >> (a >> b){2} >> d", "c a1 b1 a2 b2 d", "c a1 b1 a2 b2 d"},
	{"c >> (a >> b)? >> d", "c a1 a2 b d", "c d | c a1 b d"},
	{"c >> (a >> b){2}? >> d", "c a d", "c d"},
	{"c >> (a >> b)+ >> d", "c a1 b1 a2 b2 d", "c a1 b1 d | c a1 b1 a2 b2 d"},
	{"(a >> b){1,2} >> d", "a1 b1 a2 b2 d", "a1 b1 d | a2 b2 d | a1 b1 a2 b2 d"},
	{"c >> (a >> b)+/until=d >> d1", "c a1 b1 a2 b2 d", "c a1 b1 d | c a1 b1 a2 b2 d"},
	{"a > (b? > c) > d", "a c d", "a c d"},
	{"d >>> (a >> (b >> c){3}/strict){0,2}/strict >> e", "d a1 b1 c1 b2 c2 b3 c3 e", "d e | d a1 b1 c1 b2 c2 b3 c3 e"},
}

func TestPublishedResults(t *testing.T) {
	t.Parallel()
	for _, c := range published {
		got, _, _ := find(t, c.pattern, c.in)
		want := lines(c.want)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s over %s\n got %q\nwant %q", c.pattern, c.in, got, want)
		}
	}
}
