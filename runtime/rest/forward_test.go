package rest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leatstream/leat/internal/clock"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/rest"
	"github.com/leatstream/leat/runtime/restapi"
)

// standby serves a jobmanager that knows a leader but is none.
func standby(t *testing.T, leader func() string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(rest.NewHandler(rest.Config{
		Control: func() (jobview.Control, string) { return nil, leader() },
		TempDir: t.TempDir(), Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(s.Close)
	return s
}

func TestAStandbyPassesRequestsOnToTheLeader(t *testing.T) {
	t.Parallel()
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Log-Size", "7")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "%s %s of %s", r.Method, r.URL.RequestURI(), r.Host)
	}))
	defer leader.Close()
	s := standby(t, func() string { return leader.URL })
	resp, err := http.Get(s.URL + "/v1/taskmanagers/tm%201/log?offset=-5")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := "GET /v1/taskmanagers/tm%201/log?offset=-5 of " + strings.TrimPrefix(s.URL, "http://")
	if string(got) != want || resp.StatusCode != http.StatusAccepted || resp.Header.Get("X-Log-Size") != "7" {
		t.Errorf("the standby answers %d %q, log size %s", resp.StatusCode, got, resp.Header.Get("X-Log-Size"))
	}
}

func TestAnUploadThroughAStandbyArrivesWhole(t *testing.T) {
	t.Parallel()
	sent := bytes.Repeat([]byte("bundle"), 200_000)
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := firstPart(r)
		if err != nil || !bytes.Equal(got, sent) {
			http.Error(w, fmt.Sprintf("%d bytes of %d: %v", len(got), len(sent), err), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, `{"id":"stored"}`)
	}))
	defer leader.Close()
	s := standby(t, func() string { return leader.URL })
	// The reader cannot be read a second time, as that of a file through a pipe.
	up, err := restapi.NewClient(s.URL, nil).Upload(t.Context(), "a.bundle", io.MultiReader(bytes.NewReader(sent)))
	if err != nil || up.ID != "stored" {
		t.Errorf("upload: %+v, %v", up, err)
	}
}

func firstPart(r *http.Request) ([]byte, error) {
	form, err := r.MultipartReader()
	if err != nil {
		return nil, err
	}
	var part *multipart.Part
	if part, err = form.NextPart(); err != nil {
		return nil, err
	}
	return io.ReadAll(part)
}

func TestTwoStandbysThatTakeEachOtherForTheLeaderRefuse(t *testing.T) {
	t.Parallel()
	var a, b *httptest.Server
	a = standby(t, func() string { return b.URL })
	b = standby(t, func() string { return a.URL })
	_, err := restapi.NewClient(a.URL, nil).Overview(t.Context())
	wantUnavailable(t, err, "no jobmanager leads")
}

func TestALeaderThatIsGoneIsNamed(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	s := standby(t, func() string { return gone.URL })
	_, err := restapi.NewClient(s.URL, nil).Overview(t.Context())
	wantUnavailable(t, err, gone.URL)
}

func TestAStandbyWithoutALeaderSaysSo(t *testing.T) {
	t.Parallel()
	s := standby(t, func() string { return "" })
	_, err := restapi.NewClient(s.URL, nil).Overview(t.Context())
	wantUnavailable(t, err, "no jobmanager leads")
}

func wantUnavailable(t *testing.T, err error, text string) {
	t.Helper()
	var e *restapi.Error
	if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.What, text) {
		t.Errorf("got %v, want status 503 and %q", err, text)
	}
}
