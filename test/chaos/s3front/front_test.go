package s3front_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatstream/leat/test/chaos/s3front"
)

// TestMoods asks a server through its good and bad moods.
func TestMoods(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		served.Add(1)
		_, _ = io.WriteString(w, r.Host+" "+string(b))
	}))
	defer behind.Close()
	f, err := s3front.Start("127.0.0.1", behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	put := func() (status int, body string, err error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.URL()+"/bucket/key", strings.NewReader(strings.Repeat("x", 5000)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	host := strings.TrimPrefix(f.URL(), "http://")
	if _, body, err := put(); err != nil || body != host+" "+strings.Repeat("x", 5000) {
		t.Errorf("in a good mood: %.40q, %v", body, err)
	}
	f.Set(s3front.Mood{Fail: 1})
	seen := make(map[string]int)
	before := served.Load()
	for range 100 {
		switch status, body, err := put(); {
		case err != nil:
			seen["cut off"]++
		case status == http.StatusServiceUnavailable && strings.Contains(body, "<Code>SlowDown</Code>"):
			seen["slow down"]++
		case status == http.StatusInternalServerError:
			seen["internal"]++
		default:
			t.Fatalf("status %d, %q", status, body)
		}
	}
	if seen["cut off"] == 0 || seen["slow down"] == 0 || seen["internal"] == 0 || f.Failed() != 100 {
		t.Errorf("failed %d: %v", f.Failed(), seen)
	}
	if served.Load() == before {
		t.Error("no request was carried out whose answer was lost")
	}
	f.Set(s3front.Mood{Delay: 50 * time.Millisecond})
	began := time.Now()
	if status, _, err := put(); err != nil || status != http.StatusOK || time.Since(began) < 50*time.Millisecond {
		t.Errorf("slow: status %d after %s, %v", status, time.Since(began), err)
	}
}
