package devetcd

import (
	"net/http"
	"testing"
)

func TestServesAndRestartsOnItsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		s, err := Start(t.Context(), Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(s.Endpoint() + "/health")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("health: %s", resp.Status)
		}
		s.Close()
	}
}

func TestFaultsNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{}, {Dir: t.TempDir(), Address: "nowhere"}, {Dir: "/dev/null/x"}} {
		if s, err := Start(t.Context(), cfg); err == nil {
			s.Close()
			t.Errorf("started with %+v", cfg)
		}
	}
}
