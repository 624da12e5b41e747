// Package points reads games from a web service and writes their scores back,
// exactly once: a connector as a program outside of Leat would have it.
package points

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/leatstream/leat/columnar"
	"github.com/leatstream/leat/connectors"
	"github.com/leatstream/leat/dataflow"
)

// Game is a row of the source.
type Game struct {
	Player string `json:"player"`
	Points int64  `json:"points"`
	At     int64  `json:"at"` // milliseconds
}

// Source reads the shards of a service: each is a split, and the position in
// it is the cursor of the next page.
type Source struct {
	connectors.Typed[Game] // lets stream.From know the type of rows
	URL                    string
}

const (
	version   = 1                      // first byte of all that goes into state
	pageGames = 500                    // a page becomes a batch: at most columnar.BatchRowsMax
	aheadMax  = 2                      // pages fetched and not taken yet
	pause     = 100 * time.Millisecond // between looks at shards without news
)

// Name, Detail, Bounded and RowType describe the source. Detail is part of the
// job's identity: nothing secret, nothing that changes by itself.
func (s *Source) Name() string   { return "games" }
func (s *Source) Detail() string { return s.URL }
func (s *Source) Bounded() bool  { return false }
func (s *Source) RowType() columnar.RowType {
	t, _ := columnar.TypeOf[Game]() // Game has a row type: its test would show
	return t
}

// Fault is asked when the program is built.
func (s *Source) Fault() error {
	if u, err := url.Parse(s.URL); err != nil || u.Host == "" {
		return fmt.Errorf("the address %q is no URL", s.URL)
	}
	return nil
}

// NewEnumerator makes what finds splits. Where a shard begins depends on
// nothing, so the state is but a version.
func (s *Source) NewEnumerator(ctx *connectors.EnumeratorContext) (connectors.Enumerator, error) {
	if r := ctx.Restored; r != nil && (len(r) != 1 || r[0] != version) {
		return nil, fmt.Errorf("state %x of games is not of version %d", r, version)
	}
	return &enumerator{newClient(s.URL)}, nil
}

type enumerator struct{ *client }

func (e *enumerator) Interval() time.Duration   { return 5 * time.Second } // new shards
func (e *enumerator) Snapshot() ([]byte, error) { return []byte{version}, nil }

// Discover may block and fail: the engine tries again.
func (e *enumerator) Discover(ctx context.Context) ([]connectors.Split, error) {
	var names []string
	if err := e.get(ctx, "/shards", &names); err != nil {
		return nil, err
	}
	splits := make([]connectors.Split, len(names))
	for i, name := range names {
		splits[i] = connectors.Split{ID: name, Position: position("")}
	}
	return splits, nil
}

func position(cursor string) []byte { return append([]byte{version}, cursor...) }

func parsePosition(b []byte) (cursor string, err error) {
	if len(b) == 0 || b[0] != version || len(b) > 1 && b[1] != 'c' || len(b) == 2 {
		return "", fmt.Errorf("position %x of games is not of version %d", b, version)
	}
	return string(b[1:]), nil
}

// NewReader makes what reads splits, on a goroutine of its own.
func (s *Source) NewReader(ctx *connectors.ReaderContext) (connectors.Reader, error) {
	life, cancel := context.WithCancel(context.Background())
	r := &reader{client: newClient(s.URL), ctx: ctx, cancel: cancel, pages: make(chan page, aheadMax), at: make(map[string]string)}
	r.done.Go(func() { r.fetch(life) })
	return r, nil
}

type reader struct {
	*client
	ctx    *connectors.ReaderContext
	cancel context.CancelFunc
	done   sync.WaitGroup
	pages  chan page

	// at and order belong to the task's goroutine: cursors after what Next
	// returned last.
	at    map[string]string
	order []string

	mu   sync.Mutex
	todo []page // splits at where to fetch next; guarded by mu
}

// page is what the service answers.
type page struct {
	shard string
	First int64             `json:"first"` // place of the first game
	Games []json.RawMessage `json:"games"`
	Next  string            `json:"next"`
}

// AddSplits is called at the start, after a restore and when shards are found.
func (r *reader) AddSplits(splits []connectors.Split) error {
	for _, s := range splits {
		cursor, err := parsePosition(s.Position)
		if err != nil {
			return err
		}
		r.at[s.ID], r.order = cursor, append(r.order, s.ID)
		r.mu.Lock()
		r.todo = append(r.todo, page{shard: s.ID, Next: cursor})
		r.mu.Unlock()
	}
	return nil
}

// Next must not block: it takes what was fetched. Wake made the task call it.
func (r *reader) Next() (f connectors.Fetched, ok bool, err error) {
	select {
	case p := <-r.pages:
		f, err = r.rows(p)
		r.at[p.shard] = p.Next // only now: Snapshot must not be ahead of Next
		return f, err == nil, err
	default:
		return f, false, nil
	}
}

// rows makes a page to rows; a game that cannot be read is set aside with its
// place, or fails the job when nobody takes it.
func (r *reader) rows(p page) (f connectors.Fetched, err error) {
	f.Split, f.CaughtUp = p.shard, len(p.Games) == 0
	var games []Game
	var times []int64
	for i, text := range p.Games {
		var g Game
		if err := json.Unmarshal(text, &g); err != nil {
			if !r.ctx.DeadLetters {
				return f, &connectors.FatalError{
					Code: "GAMES01", What: fmt.Sprintf("game %d of shard %s cannot be read", p.First+int64(i), p.shard),
					Why: err.Error(), Fix: "take the dead letters of the source",
				}
			}
			f.Bad = append(f.Bad, connectors.DeadLetter{Error: err.Error(), Topic: p.shard, Partition: -1, Offset: p.First + int64(i), Timestamp: dataflow.TimeNone, Value: text})
			continue
		}
		games, times = append(games, g), append(times, g.At)
	}
	if len(games) > 0 {
		f.Batch = columnar.NewBatch(games, times)
	}
	return f, nil
}

// Snapshot has all splits, at the positions after what Next returned last.
func (r *reader) Snapshot() (splits []connectors.Split) {
	for _, id := range r.order {
		splits = append(splits, connectors.Split{ID: id, Position: position(r.at[id])})
	}
	return splits
}

// Committed is for those who show progress elsewhere.
func (r *reader) Committed([]connectors.Split) {}

// Close waits for the goroutine: nothing may stay behind.
func (r *reader) Close() error {
	r.cancel()
	r.done.Wait()
	return r.client.Close()
}

// fetch asks for page after page, of each shard in turn.
func (r *reader) fetch(life context.Context) {
	told := make(map[string]bool) // shards that were said to be caught up
	for life.Err() == nil {
		r.mu.Lock()
		todo := r.todo
		r.mu.Unlock()
		news := false
		for i, at := range todo {
			got := page{shard: at.shard}
			err := r.get(life, fmt.Sprintf("/shards/%s?after=%s&limit=%d", url.PathEscape(at.shard), at.Next, pageGames), &got)
			if life.Err() != nil {
				return
			}
			r.ctx.Trouble(err) // people see it; nil: all is well again
			if err != nil || len(got.Games) == 0 && told[at.shard] {
				continue
			}
			news, told[at.shard] = true, len(got.Games) == 0
			select {
			case r.pages <- got:
				r.ctx.Wake()
			case <-life.Done():
				return
			}
			r.mu.Lock()
			r.todo[i].Next = got.Next
			r.mu.Unlock()
		}
		if !news {
			sleep(life, r.ctx.Clock, pause)
		}
	}
}

// sleep waits on the clock of the context, which a test may drive.
func sleep(ctx context.Context, clock connectors.Clock, d time.Duration) {
	timer := clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}
