// Package service is a small web service that the example reads from and
// writes to: games of several shards, page by page, and batches of scores that
// are staged and then committed. It stands for one of your own.
package service

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Service is an http.Handler that keeps all in memory.
type Service struct {
	mux *http.ServeMux

	mu        sync.Mutex
	shards    map[string][]json.RawMessage // guarded by mu
	staged    map[string][]byte            // guarded by mu
	committed map[string][]byte            // guarded by mu
}

// New returns a service with some shards without games.
func New(shards ...string) *Service {
	s := &Service{
		mux: http.NewServeMux(), shards: make(map[string][]json.RawMessage),
		staged: make(map[string][]byte), committed: make(map[string][]byte),
	}
	for _, name := range shards {
		s.shards[name] = nil
	}
	s.mux.HandleFunc("GET /shards", s.listShards)
	s.mux.HandleFunc("GET /shards/{shard}", s.page)
	s.mux.HandleFunc("POST /shards/{shard}", s.add)
	s.mux.HandleFunc("GET /batches", s.listBatches)
	s.mux.HandleFunc("PUT /batches/{id}", s.stage)
	s.mux.HandleFunc("DELETE /batches/{id}", s.abort)
	s.mux.HandleFunc("POST /batches/{id}/commit", s.commit)
	s.mux.HandleFunc("GET /scores", s.scores)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mux.ServeHTTP(w, r)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // whoever asked is gone
}

func (s *Service) listShards(w http.ResponseWriter, _ *http.Request) {
	names := []string{}
	for name := range s.shards {
		names = append(names, name)
	}
	slices.Sort(names)
	answer(w, names)
}

// Page is part of a shard: First is the place of its first game, Next where the
// next page begins, the same again when there is nothing yet.
type Page struct {
	First int               `json:"first"`
	Games []json.RawMessage `json:"games"`
	Next  string            `json:"next"`
}

// page answers ?after=CURSOR&limit=N. A cursor means something to the service
// only; "" is the beginning.
func (s *Service) page(w http.ResponseWriter, r *http.Request) {
	all, ok := s.shards[r.PathValue("shard")]
	at, err := strconv.Atoi(strings.TrimPrefix("0"+r.FormValue("after"), "0c"))
	limit, limitErr := strconv.Atoi(r.FormValue("limit"))
	if !ok || err != nil || limitErr != nil || at < 0 || at > len(all) || limit < 1 {
		http.Error(w, "no such shard or cursor", http.StatusNotFound)
		return
	}
	to := min(at+limit, len(all))
	answer(w, Page{First: at, Games: append([]json.RawMessage{}, all[at:to]...), Next: fmt.Sprint("c", to)})
}

// add takes games of a shard, an array of JSON.
func (s *Service) add(w http.ResponseWriter, r *http.Request) {
	var games []json.RawMessage
	if err := json.NewDecoder(r.Body).Decode(&games); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := r.PathValue("shard")
	s.shards[name] = append(s.shards[name], games...)
}

// listBatches answers with the ids of what is staged.
func (s *Service) listBatches(w http.ResponseWriter, r *http.Request) {
	ids := []string{}
	for id := range s.staged {
		if strings.HasPrefix(id, r.FormValue("prefix")) {
			ids = append(ids, id)
		}
	}
	answer(w, ids)
}

func (s *Service) stage(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.staged[r.PathValue("id")] = b
}

func (s *Service) abort(_ http.ResponseWriter, r *http.Request) {
	delete(s.staged, r.PathValue("id"))
}

// commit makes a batch visible; a second time it does nothing.
func (s *Service) commit(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if _, done := s.committed[id]; done {
		return
	}
	b, ok := s.staged[id]
	if !ok {
		http.Error(w, "no such batch", http.StatusNotFound)
		return
	}
	delete(s.staged, id)
	s.committed[id] = b
}

// scores answers with the lines of all committed batches.
func (s *Service) scores(w http.ResponseWriter, _ *http.Request) {
	for _, b := range s.committed {
		_, _ = w.Write(b) // whoever asked is gone
	}
}
