// Package s3front stands before an S3 server and makes it slow or faulty on
// demand, as object stores are: errors that ask to come again, errors of the
// server, answers and uploads that are cut off. It does not read what passes.
package s3front

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// Mood is how the server behaves.
type Mood struct {
	// Delay is added before each request, and up to Jitter more.
	Delay, Jitter time.Duration
	// Fail is the part of requests that fail, 0 to 1: each in one of four ways.
	Fail float64
}

// Front is a running server.
type Front struct {
	server *http.Server
	proxy  *httputil.ReverseProxy
	url    string
	served sync.WaitGroup

	mu     sync.Mutex
	mood   Mood // guarded by mu
	failed int  // guarded by mu
}

// Start serves at host, on a port of the system's choice, what is at behind.
func Start(host, behind string) (*Front, error) {
	to, err := url.Parse(behind)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	f := &Front{url: "http://" + l.Addr().String()}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		Transport:    &http.Transport{MaxIdleConnsPerHost: 100, IdleConnTimeout: 10 * time.Second},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     nil,
	}
	f.server = &http.Server{Handler: f}
	f.served.Go(func() { _ = f.server.Serve(l) }) // ends with Close
	return f, nil
}

// URL is where it serves.
func (f *Front) URL() string { return f.url }

// Set changes the mood; the zero Mood is a good one.
func (f *Front) Set(m Mood) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mood = m
}

// Failed returns how many requests it has failed so far.
func (f *Front) Failed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// Close ends the server and waits for it.
func (f *Front) Close() error {
	err := f.server.Close()
	f.served.Wait()
	return err
}

// ways is the number of ways in which a request fails.
const ways = 4

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	m, way := f.mood, -1
	if m.Fail > 0 && rand.Float64() < m.Fail {
		way = rand.IntN(ways)
		f.failed++
	}
	f.mu.Unlock()
	if m.Jitter > 0 {
		m.Delay += time.Duration(rand.Int64N(int64(m.Jitter)))
	}
	if m.Delay > 0 && wait(r.Context(), m.Delay) != nil {
		panic(http.ErrAbortHandler) // the client has gone
	}
	switch way {
	case 0:
		refuse(w, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	case 1:
		refuse(w, http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
	case 2:
		// The request is carried out, but nobody hears of it.
		f.proxy.ServeHTTP(&deaf{header: make(http.Header)}, r)
		panic(http.ErrAbortHandler)
	case 3:
		_, _ = io.CopyN(io.Discard, r.Body, 100) // a part of the upload arrives
		panic(http.ErrAbortHandler)
	default:
		f.proxy.ServeHTTP(w, r)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// refuse answers with an error of S3.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>`+code+`</Code><Message>`+message+`</Message></Error>`)
}

// deaf takes an answer that nobody gets.
type deaf struct{ header http.Header }

var errDeaf = errors.New("nobody listens")

// Header implements http.ResponseWriter.
func (d *deaf) Header() http.Header { return d.header }

// WriteHeader implements http.ResponseWriter.
func (d *deaf) WriteHeader(int) {}

// Write implements http.ResponseWriter.
func (d *deaf) Write([]byte) (int, error) { return 0, errDeaf }
