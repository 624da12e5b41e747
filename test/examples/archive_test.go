//go:build e2e

package examples_test

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// archivePrograms keep records in files of S3.
func archivePrograms() []program {
	return []program{{
		name: "archive", args: []string{"--files", "s3://" + bucketName + "/archive"},
		topics: map[string]int32{"orders": 2}, outputs: []string{"revenue"},
		input: func(rng *rand.Rand) (in []message, half int) {
			for i := range 5000 {
				o := map[string]any{
					"id": fmt.Sprintf("ORD-%06d", i), "region": []string{"EU", "US", "AP"}[rng.IntN(3)],
					"amount": float64(100+rng.IntN(50_000)) / 100, "at": at(30*i + rng.IntN(600)),
				}
				in = append(in, jsonMessage("orders", int32(i%2), "", o))
			}
			return in, 2300
		},
		then:  readArchive,
		check: checkArchive,
	}}
}

// archived is an order as the input has it.
type archived struct {
	ID, Region string
	Amount     float64
	At         time.Time
}

// readArchive looks at the files themselves, with no code of the engine: each
// order is in one of them, in the folder of its region and hour. Then it reads
// them with the program.
func readArchive(t *testing.T, c *cluster, bundle, prefix string, in []message) {
	want := make(map[string]string)
	for _, m := range in {
		var o archived
		decode(t, m, &o)
		want[o.ID] = fmt.Sprintf("region=%s/hour=%s %.2f", o.Region, o.At.UTC().Format("2006-01-02T15"), o.Amount)
	}
	got := make(map[string]string)
	root := filepath.Join(c.bucket, "archive")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, rec := range packedCSV(t, path) {
			if got[rec["id"]] != "" {
				t.Errorf("order %s is there twice, in %s too", rec["id"], path)
			}
			got[rec["id"]] = folder + " " + rec["amount"]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, got, want)
	c.must(t, "run", bundle, "--name", "archive-read", "--parallelism", "2", "--", "--read",
		"--files", "s3://"+bucketName+"/archive", "--brokers", c.kafka, "--topics", prefix)
	c.must(t, "job", "wait", "archive-read", "--for", "finished", "--timeout", waitMax.String())
}

// packedCSV reads a file whose first line names the columns.
func packedCSV(t *testing.T, path string) (out []map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	all, err := csv.NewReader(unpacked).ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("%s has %d lines: %v", path, len(all), err)
	}
	for _, rec := range all[1:] {
		row := make(map[string]string)
		for i, name := range all[0] {
			row[name] = rec[i]
		}
		out = append(out, row)
	}
	return out
}

func checkArchive(t *testing.T, in, out []message) {
	type sum struct {
		orders int
		cents  int64
	}
	want, got := make(map[string]sum), make(map[string]sum)
	for _, m := range in {
		var o archived
		decode(t, m, &o)
		key := o.Region + " " + o.At.UTC().Format(time.DateOnly)
		s := want[key]
		want[key] = sum{s.orders + 1, s.cents + int64(o.Amount*100+0.5)}
	}
	for _, m := range out {
		var r struct {
			Region string
			Day    time.Time
			Orders int
			Sum    float64
		}
		decode(t, m, &r)
		cents, err := strconv.ParseInt(strings.ReplaceAll(fmt.Sprintf("%.2f", r.Sum), ".", ""), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		key := r.Region + " " + r.Day.Format(time.DateOnly)
		if _, twice := got[key]; twice {
			t.Errorf("%s has two results", key)
		}
		got[key] = sum{r.Orders, cents}
	}
	equal(t, got, want)
}
