package main

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/leatstream/leat/connectors/collection"
	"github.com/leatstream/leat/stream"
	"github.com/leatstream/leat/stream/streamtest"
)

// TestArchive writes orders to files and reads them back.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(hour int) time.Time { return time.Date(2026, 1, 1, hour, 30, 0, 0, time.UTC) }
	env := stream.NewEnv()
	keep(env, collection.Slice(
		Order{"1", "EU", 1_50, at(5)}, Order{"2", "EU", 2_25, at(23)}, Order{"3", "EU", 4_00, at(24)}, Order{"4", "US", 8_00, at(5)}), dir)
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 3}, CheckpointEvery: 2, CrashEvery: 5}); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"region=EU/hour=2026-01-01T05", "region=EU/hour=2026-01-01T23", "region=EU/hour=2026-01-02T00", "region=US/hour=2026-01-01T05"} {
		if parts, err := filepath.Glob(filepath.Join(dir, folder, "part-*.csv.gz")); err != nil || len(parts) == 0 {
			t.Errorf("%s has the files %q, error %v", folder, parts, err)
		}
	}

	env = stream.NewEnv()
	out := collection.NewCollector(Revenue{})
	revenue(env, dir).To(out, stream.UID("out"))
	if _, err := streamtest.Run(t.Context(), env, streamtest.Options{Parallelism: []int{2, 3}, CheckpointEvery: 2, CrashEvery: 5}); err != nil {
		t.Fatal(err)
	}
	got := out.Rows()
	slices.SortFunc(got, func(a, b Revenue) int { return int(a.Sum - b.Sum) })
	day := at(0).Truncate(24 * time.Hour)
	if want := []Revenue{{"EU", day, 2, 3_75}, {"EU", day.Add(24 * time.Hour), 1, 4_00}, {"US", day, 1, 8_00}}; !slices.Equal(got, want) {
		t.Errorf("revenue %v, want %v", got, want)
	}
}
