//go:build e2e

package examples_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// textPrograms count words and clicks.
func textPrograms() []program {
	return []program{
		{
			name: "wordcount", topics: map[string]int32{"lines": 2}, outputs: []string{"counts"},
			input: func(rng *rand.Rand) (in []message, half int) {
				for i := range 3000 {
					words := make([]string, 1+rng.IntN(5))
					for k := range words {
						words[k] = []string{"Water", "mill", "leat", "and", "flour", "FLOWS"}[rng.IntN(6)]
					}
					in = append(in, jsonMessage("lines", int32(i%2), "", map[string]any{"text": strings.Join(words, " "), "at": at(i / 10)}))
				}
				return in, 1700
			},
			check: checkWords,
		},
		{
			name: "clicks", plain: true, topics: map[string]int32{"clicks": 2}, outputs: []string{"counts", "late"},
			input: func(rng *rand.Rand) (in []message, half int) {
				for i := range 2000 {
					click := map[string]any{"id": fmt.Sprint("c", i), "user": fmt.Sprint("u", rng.IntN(9)), "at": at(i/10 - rng.IntN(4))}
					in = append(in, jsonMessage("clicks", int32(i%2), "", click))
					if rng.IntN(10) == 0 {
						in = append(in, in[len(in)-1]) // delivered twice
					}
				}
				return in, 1100
			},
			check: checkClicks,
		},
	}
}

func checkWords(t *testing.T, in, out []message) {
	want := make(map[string]int)
	for _, m := range in {
		var line struct {
			Text string
			At   time.Time
		}
		decode(t, m, &line)
		for _, w := range strings.Fields(line.Text) {
			want[fmt.Sprint(strings.ToLower(w), " ", line.At.Truncate(time.Minute).Add(time.Minute).Format(time.RFC3339))]++
		}
	}
	got := make(map[string]int)
	for _, m := range out {
		var c struct {
			Word  string
			Until time.Time
			N     int
		}
		decode(t, m, &c)
		id := fmt.Sprint(c.Word, " ", c.Until.Format(time.RFC3339))
		if _, twice := got[id]; twice || string(m.key) != c.Word {
			t.Errorf("%s came twice, or under key %q", m.value, m.key)
		}
		got[id] = c.N
	}
	equal(t, got, want)
}

func checkClicks(t *testing.T, in, out []message) {
	want := make(map[string]int)
	seen := make(map[string]bool)
	type click struct {
		ID, User string
		At       time.Time
	}
	late := make(map[string]bool)
	for _, m := range out {
		if m.topic == "late" {
			var c click
			if decode(t, m, &c); late[c.ID] {
				t.Errorf("%s was late twice", m.value)
			}
			late[c.ID] = true
		}
	}
	for _, m := range in {
		var c click
		if decode(t, m, &c); !seen[c.ID] && !late[c.ID] {
			seen[c.ID] = true
			want[fmt.Sprint(c.User, " ", c.At.Truncate(time.Minute).Format(time.RFC3339))]++
		}
	}
	got := make(map[string]int)
	for _, m := range out {
		var c struct {
			User   string
			Minute time.Time
			Clicks int
		}
		if m.topic == "counts" {
			decode(t, m, &c)
			got[fmt.Sprint(c.User, " ", c.Minute.Format(time.RFC3339))] += c.Clicks
		}
	}
	equal(t, got, want)
}

// at is a time of the input, some seconds after its start.
func at(seconds int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func jsonMessage(topic string, partition int32, key string, value any) message {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // a test gave a channel or the like
	}
	m := message{topic: topic, partition: partition, value: b}
	if key != "" {
		m.key = []byte(key)
	}
	return m
}

func decode(t *testing.T, m message, v any) {
	t.Helper()
	if err := json.Unmarshal(m.value, v); err != nil {
		t.Fatalf("%s/%d: %q: %v", m.topic, m.partition, m.value, err)
	}
}

// equal compares two tables and shows where they differ.
func equal[V comparable](t *testing.T, got, want map[string]V) {
	t.Helper()
	shown := 0
	for k, w := range want {
		if g, ok := got[k]; (!ok || g != w) && shown < 5 {
			t.Errorf("%s: got %v (there: %t), want %v", k, g, ok, w)
			shown++
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok && shown < 10 {
			t.Errorf("%s: got %v, want none", k, g)
			shown++
		}
	}
	if len(want) == 0 {
		t.Error("the input asks for nothing: this test cannot fail")
	}
}
