package restapi

import (
	"context"
	"encoding/json"
	"net/url"
)

// StateLive is the consistency of every answer about keyed state: of the
// running attempt, not committed, each subtask at a moment of its own.
const StateLive = "live"

// State is an answer about keyed state.
type State struct {
	Attempt     int64           `json:"attempt"`
	Consistency string          `json:"consistency"`
	Operators   []StateOperator `json:"operators"`
	Entries     []StateEntry    `json:"entries"`
	// More says that there are entries beyond the limit.
	More bool `json:"more"`
}

// StateOperator is an operator with keyed state. Key is the schema of its keys.
type StateOperator struct {
	ID     string       `json:"id"`
	UID    string       `json:"uid"`
	Name   string       `json:"name"`
	Key    string       `json:"key"`
	States []StateTable `json:"states"`
}

// StateTable is one state; Entries is counted in lists alone.
type StateTable struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Schema  string `json:"schema"`
	Entries int64  `json:"entries"`
}

// StateEntry is one entry. Window is the start of its window in milliseconds
// since the epoch, WindowEnd the end of a session, which is no longer in it,
// MapKey the key of an entry of a map.
type StateEntry struct {
	State     string          `json:"state"`
	Key       json.RawMessage `json:"key"`
	Window    *int64          `json:"window,omitempty"`
	WindowEnd *int64          `json:"windowEnd,omitempty"`
	MapKey    json.RawMessage `json:"mapKey,omitempty"`
	Value     json.RawMessage `json:"value"`
}

// State reads keyed state: of the operator named, or, when it is empty, the
// list of all. query holds key, or scan with from-key and to-key, and state,
// from, to, limit.
func (c *Client) State(ctx context.Context, job, operator string, query url.Values) (s State, err error) {
	path := "/jobs/" + url.PathEscape(job) + "/state"
	if operator != "" {
		path += "/" + url.PathEscape(operator)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return s, c.Get(ctx, path, &s)
}
