package main

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

func TestEnrich(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 0).UTC()
	env := stream.NewEnv()
	d := &directory{}
	visits := []Visit{{"1", "a", at}, {"2", "b", at}, {"3", "", at}, {"4", "a", at}, {"5", "c", at}}
	enriched, refused := enrich(env, collection.Slice(visits...), d.country)
	out, rest := collection.NewCollector(Enriched{}), collection.NewCollector(Refused{})
	enriched.To(out, stream.UID("out"))
	refused.To(rest, stream.UID("rest"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{}); err != nil {
		t.Fatal(err)
	}
	got := out.Rows()
	slices.SortFunc(got, func(a, b Enriched) int { return cmp.Compare(a.Visit.ID, b.Visit.ID) })
	want := []Enriched{{visits[0], "NZ"}, {visits[1], "PE"}, {visits[3], "NZ"}, {visits[4], ""}}
	if !slices.Equal(got, want) {
		t.Errorf("enriched\n got %v\nwant %v", got, want)
	}
	if r := rest.Rows(); len(r) != 1 || r[0].Error != errUser.Error() {
		t.Errorf("refused %v", r)
	}
	if n := d.calls.Load(); n != 4 { // a, b, c, and one again
		t.Errorf("the directory was asked %d times", n)
	}
}
