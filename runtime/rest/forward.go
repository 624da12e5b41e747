package rest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/leatstream/leat/runtime/jobview"
)

const (
	// forwardedHeader marks a request that a standby has passed on, so that two
	// jobmanagers which take each other for the leader do not play ping-pong.
	forwardedHeader = "Leat-Forwarded"
	// leaderDialTimeout bounds how long a leader may take to accept a connection.
	leaderDialTimeout = 2 * time.Second
)

// forward passes a request on to the leader at the URL leader and its answer
// back. So whoever reaches any jobmanager reaches the cluster: a redirect would
// name an address that only the jobmanager's own network may know, and would
// want a body, as that of an upload, a second time.
func (h *Handler) forward(w http.ResponseWriter, r *http.Request, leader string) {
	to, err := url.Parse(leader)
	if err != nil || to.Host == "" {
		h.fail(w, fmt.Errorf("the leader's REST address %q is no URL: set rest.advertise there to one", leader))
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.SetXForwarded()
			p.Out.Host = p.In.Host // answers hold links that work for the client
			p.Out.Header.Set(forwardedHeader, "1")
		},
		Transport: h.toLeader,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			h.fail(w, &jobview.Error{
				Code: "LEAT0501", Kind: jobview.KindUnavailable, What: fmt.Sprintf("the leading jobmanager at %s does not answer", leader),
				Why: err.Error(), Fix: []string{"try again: another leader is elected if it has ended"},
			})
		},
	}
	proxy.ServeHTTP(w, r)
}

// leaderTransport keeps no connections: requests to standbys are rare, and
// leaders change.
func leaderTransport() http.RoundTripper {
	return &http.Transport{
		DialContext:       (&net.Dialer{Timeout: leaderDialTimeout}).DialContext,
		DisableKeepAlives: true,
	}
}
