package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

// states lists what keyed state a job's operators have.
func (h *Handler) states(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	return h.readState(r, c, jobview.StateQuery{List: true})
}

// state reads one key with ?key=, a range of keys with ?scan=true, and lists
// the operator's tables otherwise.
func (h *Handler) state(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	v := r.URL.Query()
	q := jobview.StateQuery{
		Operator: r.PathValue("operator"), Table: v.Get("state"), Key: v.Get("key"),
		KeyFrom: v.Get("from-key"), KeyTo: v.Get("to-key"),
	}
	var err error
	if s := v.Get("scan"); s != "" {
		if q.Scan, err = strconv.ParseBool(s); err != nil {
			return nil, invalid("scan %q is not true or false", s)
		}
	}
	if q.Scan && v.Has("key") {
		return nil, invalid("key and scan exclude each other: give from-key and to-key with scan")
	}
	q.List = !q.Scan && !v.Has("key")
	if q.From, err = windowBound(v, "from"); err != nil {
		return nil, err
	}
	if q.To, err = windowBound(v, "to"); err != nil {
		return nil, err
	}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 {
			return nil, invalid("limit %q is no positive number", s)
		}
	}
	return h.readState(r, c, q)
}

// windowBound reads a time as milliseconds since the epoch or as of RFC 3339.
func windowBound(v url.Values, name string) (*int64, error) {
	s := v.Get(name)
	if s == "" {
		return nil, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return &n, nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return nil, invalid("%s %q is no time: give milliseconds since the epoch, or 2026-01-31T12:00:00Z", name, s)
	}
	millis := at.UnixMilli()
	return &millis, nil
}

func (h *Handler) readState(r *http.Request, c jobview.Control, q jobview.StateQuery) (any, error) {
	j, err := h.jobOf(r, c)
	if err != nil {
		return nil, err
	}
	s, err := c.State(r.Context(), j.ID, q)
	if err != nil {
		return nil, err
	}
	out := restapi.State{
		Attempt: int64(s.Attempt), Consistency: restapi.StateLive, More: s.More,
		Operators: []restapi.StateOperator{}, Entries: []restapi.StateEntry{},
	}
	for _, o := range s.Operators {
		op := restapi.StateOperator{ID: string(o.ID), UID: o.UID, Name: o.Name, Key: o.KeySchema, States: []restapi.StateTable{}}
		for _, t := range o.Tables {
			op.States = append(op.States, restapi.StateTable{Name: t.Name, Kind: t.Kind, Schema: t.Schema, Entries: t.Entries})
		}
		out.Operators = append(out.Operators, op)
	}
	for _, e := range s.Entries {
		entry := restapi.StateEntry{
			State: e.State, Key: json.RawMessage(e.Key), WindowEnd: e.WindowEnd,
			MapKey: json.RawMessage(e.MapKey), Value: json.RawMessage(e.Value),
		}
		if e.Namespace != 0 || e.WindowEnd != nil || kindOf(s, e.State) == "window" {
			ns := e.Namespace
			entry.Window = &ns
		}
		out.Entries = append(out.Entries, entry)
	}
	return out, nil
}

func kindOf(s jobview.StateResult, table string) string {
	for _, o := range s.Operators {
		for _, t := range o.Tables {
			if t.Name == table {
				return t.Kind
			}
		}
	}
	return ""
}
