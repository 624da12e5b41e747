//go:build e2e

package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// game is a row of examples/connector.
type game struct {
	Player string `json:"player"`
	Points int64  `json:"points"`
	At     int64  `json:"at"`
}

// playConnector runs the program that has a connector of its own against its
// service, which is a process of its own: half of the games, SIGKILL of the
// worker, the rest. Each total is there once.
func (c *cluster) playConnector(t *testing.T, seed uint64) {
	dir := t.TempDir()
	url := startService(t, dir)
	rng := rand.New(rand.NewPCG(seed, 8))
	first, second := makeGames(rng, 2000, 0), makeGames(rng, 2000, 2000)
	post(t, url+"/shards/east", first)
	bundle := filepath.Join(dir, "connector.bundle")
	c.must(t, "bundle", "build", "../../examples/connector", "-o", bundle)
	c.must(t, "run", bundle, "--name", "connector", "--parallelism", "2", "--wait", "running", "--", "--service", url)
	awaitScores(t, url, len(first))
	c.kill(t, "connector")
	post(t, url+"/shards/west", second)
	awaitScores(t, url, len(first)+len(second))
	c.must(t, "job", "stop", "connector", "--drain")
	c.must(t, "job", "wait", "connector", "--for", "finished", "--timeout", waitMax.String())
	got := scores(t, url)
	want := make(map[string]int64)
	for _, g := range append(first, second...) {
		want[g.Player] += g.Points
	}
	most := make(map[string]int64)
	seen := make(map[game]bool)
	for _, g := range got {
		if seen[g] {
			t.Errorf("the total %+v is there twice", g)
		}
		seen[g] = true
		most[g.Player] = max(most[g.Player], g.Points)
	}
	if !maps.Equal(most, want) || len(got) != len(first)+len(second) {
		t.Errorf("%d totals, at last %v; want %d, %v", len(got), most, len(first)+len(second), want)
	}
}

// startService runs the service and returns its address.
func startService(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "serve")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../../examples/connector/serve").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it is killed with the test's context
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

func makeGames(rng *rand.Rand, n int, from int64) []game {
	out := make([]game, n)
	for i := range out {
		out[i] = game{Player: fmt.Sprintf("player-%d", rng.IntN(20)), Points: 1 + rng.Int64N(100), At: from + int64(i)}
	}
	return out
}

func request(t *testing.T, method, url string, body []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v\n%s", method, url, res.Status, err, b)
	}
	return b
}

func post(t *testing.T, url string, games []game) {
	t.Helper()
	b, err := json.Marshal(games)
	if err != nil {
		t.Fatal(err)
	}
	request(t, http.MethodPost, url, b)
}

// scores are what the service shows.
func scores(t *testing.T, url string) (out []game) {
	t.Helper()
	for line := range bytes.Lines(request(t, http.MethodGet, url+"/scores", nil)) {
		var g game
		if err := json.Unmarshal(line, &g); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
	}
	return out
}

func awaitScores(t *testing.T, url string, n int) {
	t.Helper()
	await(t, fmt.Sprintf("%d totals", n), func(context.Context) (bool, error) {
		if got := len(scores(t, url)); got < n {
			return false, fmt.Errorf("%d are there", got)
		}
		return true, nil
	})
}
