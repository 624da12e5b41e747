package devs3

import (
	"net/http"
	"testing"
)

func TestServesAndEnds(t *testing.T) {
	t.Parallel()
	s, err := Start(t.Context(), t.TempDir(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + s.Address() + "/bucket")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("without credentials: %s", resp.Status)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
