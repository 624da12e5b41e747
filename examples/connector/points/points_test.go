package points_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/connectors/connectortest"
	"github.com/leatstream/leat/examples/connector/points"
	"github.com/leatstream/leat/examples/connector/service"
)

func serve(t *testing.T, shards ...string) (url string) {
	t.Helper()
	server := httptest.NewServer(service.New(shards...))
	t.Cleanup(server.Close)
	return server.URL
}

func ask(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
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
		t.Fatalf("%s %s: %s %s %v", method, url, res.Status, b, err)
	}
	return string(b)
}

func TestSourceConforms(t *testing.T) {
	t.Parallel()
	url := serve(t, "east", "west", "empty")
	rows := map[string][]points.Game{"empty": nil}
	for shard, n := range map[string]int{"east": 1700, "west": 40} {
		var games []any
		for i := range n {
			g := points.Game{Player: fmt.Sprintf("%s-%d", shard, i%7), Points: int64(i), At: int64(1000 * i)}
			rows[shard] = append(rows[shard], g)
			if games = append(games, g); i%1000 == 30 {
				games = append(games, "no game")
			}
		}
		b, err := json.Marshal(games)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, http.MethodPost, url+"/shards/"+shard, string(b))
	}
	connectortest.TestSource(t, connectortest.SourceCase[points.Game]{
		New:  func() connectors.SourceOf[points.Game] { return &points.Source{URL: url} },
		Rows: rows, Bad: 3, Endless: true,
	})
}

func TestSinkConforms(t *testing.T) {
	t.Parallel()
	url := serve(t)
	connectortest.TestSink(t, connectortest.SinkCase[points.Game]{
		New: func() connectors.SinkOf[points.Game] { return &points.Sink{URL: url} },
		Row: func(i int) points.Game { return points.Game{Player: "p", Points: int64(i)} },
		Visible: func() (out []points.Game) {
			for line := range bytes.Lines([]byte(ask(t, http.MethodGet, url+"/scores", ""))) {
				var g points.Game
				if err := json.Unmarshal(line, &g); err != nil {
					t.Fatal(err)
				}
				out = append(out, g)
			}
			return out
		},
		Key:     func(g points.Game) string { return fmt.Sprint(g.Points) },
		Refused: func() points.Game { return points.Game{} },
	})
}
