package datagen_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/connectors/datagen"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

type place struct {
	City string `gen:"values=Bern|Oslo"`
	Zone uint8
}

// all has a field of each kind.
type all struct {
	ID      int64  `gen:"sequence,from=7"`
	Text    string `gen:"sequence"`
	Word    string `gen:"length=3"`
	Plain   string
	Count   int    `gen:"min=-2,max=2"`
	Small   int8   `gen:"max=5,min=5"`
	Size    uint32 `gen:"values=1|10|100"`
	Degrees float64
	Half    float32 `gen:"min=0.25,max=0.75"`
	Ok      bool
	Note    *string `gen:"length=1,nulls=0.25"`
	Always  *int64
	At      time.Time
	Millis  int64  `gen:"start=2026-03-01T00:00:00Z,step=2s,jitter=3s"`
	Raw     []byte `gen:"length=2"`
	Left    int    `gen:"-"`
	Place   place
	Tags    []string
	hidden  int `leat:"-"`
}

const rowCount = 5000

// rowsOf reads a source with one reader for each split.
func rowsOf[T any](t *testing.T, src *datagen.Source[T], splits int) []T {
	t.Helper()
	out := make([]T, rowCount)
	for s := range splits {
		r, err := src.NewReader(connectortest.NewReaderContext(func() {}))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.AddSplits([]connectors.Split{{ID: fmt.Sprint("gen-", s), Position: []byte{1, 0}}}); err != nil {
			t.Fatal(err)
		}
		for i := s; ; {
			f, ok, err := r.Next()
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if f.Batch != nil {
				for _, row := range columnar.Rows[T](f.Batch) {
					out[i] = row
					i += splits
				}
			}
			if f.SplitEnd {
				break
			}
		}
	}
	return out
}

func describe(a all) string {
	note, always := "nil", "nil"
	if a.Note != nil {
		note = *a.Note
	}
	if a.Always != nil {
		always = fmt.Sprint(*a.Always)
	}
	a.Note, a.Always = nil, nil
	return fmt.Sprintf("%+v %s %s", a, note, always)
}

func TestFieldsAreAsDescribed(t *testing.T) {
	t.Parallel()
	cfg := datagen.Config{Count: rowCount, Seed: 4}
	rows := rowsOf(t, datagen.Of(cfg, all{Left: 3}), 1)
	nulls, counts, trues, cities := 0, map[int]int{}, 0, map[string]int{}
	sizes := map[uint32]int{}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	late := 0
	for i, r := range rows {
		ahead := start.Add(time.Duration(i)*2*time.Second).UnixMilli() - r.Millis
		switch {
		case r.ID != int64(7+i), r.Text != fmt.Sprint(i), len(r.Word) != 3, len(r.Plain) != 8, len(r.Raw) != 2, r.Left != 3, r.Small != 5:
		case r.Degrees < 0 || r.Degrees >= 1, r.Half < 0.25 || r.Half > 0.75, r.Always == nil, r.Note != nil && len(*r.Note) != 1:
		case !r.At.Equal(time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC)), ahead < 0 || ahead > 3000, r.Tags != nil, r.hidden != 0:
		case strings.Trim(r.Word+r.Plain, "abcdefghijklmnopqrstuvwxyz") != "":
		default:
			if i > 0 && r.Millis < rows[i-1].Millis {
				late++
			}
			if r.Note == nil {
				nulls++
			}
			if r.Ok {
				trues++
			}
			counts[r.Count]++
			sizes[r.Size]++
			cities[r.Place.City]++
			continue
		}
		t.Fatalf("row %d is %s", i, describe(r))
	}
	near := func(what string, n, want int) {
		t.Helper()
		if math.Abs(float64(n-want)) > 0.2*float64(want) {
			t.Errorf("%d rows of %d have %s, want about %d", n, rowCount, what, want)
		}
	}
	near("no note", nulls, rowCount/4)
	near("true", trues, rowCount/2)
	near("Bern", cities["Bern"], rowCount/2)
	near("size 10", sizes[10], rowCount/3)
	for n := -2; n <= 2; n++ {
		near(fmt.Sprint("count ", n), counts[n], rowCount/5)
	}
	if len(counts) != 5 || len(sizes) != 3 || len(cities) != 2 || late == 0 {
		t.Errorf("counts %v, sizes %v, cities %v, %d rows out of order", counts, sizes, cities, late)
	}
}

// TestRowsDependOnSeedAndPlace: the same rows at any number of splits, others
// with another seed, those of a described field by its description.
func TestRowsDependOnSeedAndPlace(t *testing.T) {
	t.Parallel()
	of := func(seed uint64, splits int, fields ...datagen.Field) (out []string) {
		for _, r := range rowsOf(t, datagen.Of(datagen.Config{Count: rowCount, Seed: seed, Splits: splits}, all{}, fields...), splits) {
			out = append(out, describe(r))
		}
		return out
	}
	one, three, other := of(1, 1), of(1, 3), of(2, 1)
	same := 0
	for i := range one {
		if one[i] != three[i] {
			t.Fatalf("row %d is %s, with three splits %s", i, one[i], three[i])
		}
		if one[i] == other[i] {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d rows are the same with another seed", same)
	}
	for i, r := range rowsOf(t, datagen.Of(datagen.Config{Count: rowCount}, all{},
		datagen.Named("ID").Between(3, 3), datagen.Named("Place.City").Sequence(1), datagen.Named("Word").OneOf("x"),
		datagen.Named("Note").Zero(), datagen.Named("Always").Nulls(1), datagen.Named("Raw").Length(0),
		datagen.Named("Millis").Every(time.UnixMilli(5), time.Second).Jitter(0)), 1) {
		if r.ID != 3 || r.Place.City != fmt.Sprint(i+1) || r.Word != "x" || r.Note != nil || r.Always != nil || len(r.Raw) != 0 || r.Millis != 5+1000*int64(i) {
			t.Fatalf("row %d is %s", i, describe(r))
		}
	}
}

type sample struct {
	ID   int64  `gen:"sequence"`
	Word string `gen:"length=2"`
}

func TestFieldsConform(t *testing.T) {
	t.Parallel()
	cfg := datagen.Config{Count: rowCount, Splits: 2, Seed: 3}
	want := map[string][]sample{}
	for i, r := range rowsOf(t, datagen.Of(cfg, sample{}), 2) {
		id := fmt.Sprint("gen-", i%2)
		want[id] = append(want[id], r)
	}
	connectortest.TestSource(t, connectortest.SourceCase[sample]{
		New: func() connectors.SourceOf[sample] { return datagen.Of(cfg, sample{}) }, Rows: want,
	})
}

func TestFaultsOfFields(t *testing.T) {
	t.Parallel()
	type bad struct {
		A int     `gen:"min=3,max=1"`
		B int     `gen:"nulls=0.1"`
		C *int    `gen:"nulls=2"`
		D int8    `gen:"min=0,max=300"`
		E string  `gen:"min=0,max=3"`
		F uint    `gen:"min=-1,max=3"`
		G int     `gen:"values=1|x"`
		H bool    `gen:"sequence"`
		I int     `gen:"colour=red"`
		J float64 `gen:"step=1s"`
		K int64   `gen:"start=2026-01-01T00:00:00Z"`
		L int     `gen:"min=0.2,max=0.8"`
		M []int   `gen:"length=3"`
		N string  `gen:"length=-1"`
		O int     `gen:"min=1"`
		P int64   `gen:"jitter=1s"`
	}
	env := stream.NewEnv()
	stream.From(env, datagen.Of(datagen.Config{}, bad{}, datagen.Named("Q"), datagen.Named("A").Between(2, 1), datagen.Named("A")), stream.UID("in")).
		To(collection.NewCollector(bad{}), stream.UID("out"))
	_, err := env.Graph()
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{
		"fields_test.go:", "field A is described twice", `no exported field "Q"`, "field B: a int cannot be nil", "field C: the share of nulls is 2",
		"field D: min 0 and max 300 do not fit a int8", "field E: fields of this type cannot be made: a string has no min and max", "field F: a uint is not negative",
		`field G: value "x" is no int`, "field H: fields of this type cannot be made: bool", `field I: "colour" is none of`, "field J: fields of this type cannot be made: a float64 holds no time",
		"field K: step 0s", "field L: there is no whole number", "field M: fields of this type cannot be made", "field N: length -1", "field O: want both min and max", "field P: jitter 1s",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault has %q:\n%v", want, err)
		}
	}
	if err := datagen.Of(datagen.Config{}, 3).Fault(); err == nil || !strings.Contains(err.Error(), "int have no fields: use New") {
		t.Errorf("error %v", err)
	}
}

// TestFieldsGoOnAfterCrashes: what a job makes with crashes is what it makes
// without.
func TestFieldsGoOnAfterCrashes(t *testing.T) {
	t.Parallel()
	cfg := datagen.Config{Count: rowCount, Splits: 3}
	seen := map[sample]int{}
	env, out := stream.NewEnv(), collection.NewCollector(sample{})
	stream.From(env, datagen.Of(cfg, sample{}), stream.UID("in")).To(out, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 3, 1}, CheckpointEvery: 1, CrashEvery: 2}); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.Rows() {
		seen[r]++
	}
	for _, r := range rowsOf(t, datagen.Of(cfg, sample{}), 3) {
		if seen[r] != 1 {
			t.Fatalf("row %+v is there %d times", r, seen[r])
		}
	}
}
