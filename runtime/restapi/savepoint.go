package restapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// SavepointContents is GET /v1/savepoints?path=URI: what a savepoint or
// checkpoint holds, by operator. It has no counterpart in Flink.
type SavepointContents struct {
	Path           string              `json:"path"`
	Job            string              `json:"job"`
	JobID          string              `json:"jobId"`
	Checkpoint     int64               `json:"checkpoint"`
	Kind           string              `json:"kind"` // savepoint or checkpoint
	Drained        bool                `json:"drained"`
	Created        int64               `json:"created"`
	MaxParallelism int32               `json:"maxParallelism"`
	Engine         string              `json:"engine"`
	Bytes          int64               `json:"bytes"`
	Operators      []SavepointOperator `json:"operators"`
}

// SavepointOperator is an operator in SavepointContents.
type SavepointOperator struct {
	UID         string `json:"uid"`
	Name        string `json:"name"`
	ID          string `json:"id"`
	Parallelism int32  `json:"parallelism"`
	KeyedBytes  int64  `json:"keyedBytes"`
	OtherBytes  int64  `json:"otherBytes"`
}

// SavepointDisposal is the answer of POST /v1/savepoint-disposal: what was
// given back to the storage.
type SavepointDisposal struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Trailers of GET /v1/savepoints/export: how it went is known at its end.
const (
	// ExportErrorTrailer holds an ErrorBody; what came before is then a part.
	ExportErrorTrailer = "Leat-Export-Error"
	// ExportResultTrailer holds an ExportResult, and says that all is there.
	ExportResultTrailer = "Leat-Export-Result"
)

// ExportResult says what an export was. LeftOut are the tables that only the
// engine needs, as "operator/table".
type ExportResult struct {
	Entries int64    `json:"entries"`
	LeftOut []string `json:"leftOut,omitempty"`
}

// SavepointContents describes the savepoint or checkpoint at a URI.
func (c *Client) SavepointContents(ctx context.Context, path string) (s SavepointContents, err error) {
	return s, c.Get(ctx, "/savepoints?"+url.Values{"path": {path}}.Encode(), &s)
}

// ExportSavepoint writes the keyed state of a savepoint or checkpoint to w, one
// JSON object a line. query holds path, and operator and state to have less.
// After an error w has a part. The client's timeout must allow for all of it.
func (c *Client) ExportSavepoint(ctx context.Context, query url.Values, w io.Writer) (r ExportResult, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/savepoints/export?"+query.Encode(), nil)
	if err != nil {
		return r, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return r, c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return r, readError(resp)
	}
	if _, err := io.Copy(w, bufio.NewReader(resp.Body)); err != nil {
		return r, c.unreachable(fmt.Errorf("the export broke off: %w", err))
	}
	if text := resp.Trailer.Get(ExportErrorTrailer); text != "" {
		var body ErrorBody
		if err := json.Unmarshal([]byte(text), &body); err != nil || body.Error == nil {
			return r, fmt.Errorf("the export broke off: %s", text)
		}
		return r, body.Error
	}
	if err := json.Unmarshal([]byte(resp.Trailer.Get(ExportResultTrailer)), &r); err != nil {
		return r, c.unreachable(errors.New("the export broke off before its end"))
	}
	return r, nil
}

// SavepointCheck is POST /v1/jars/:jarid/savepoint-check with a RunRequest: what
// a start of the bundle from the savepoint would make of its state.
type SavepointCheck struct {
	Savepoint string `json:"savepoint"`
	Job       string `json:"job"` // of which it is
	// OK says that the start would not be refused for what Errors say.
	OK        bool            `json:"ok"`
	Errors    []*Error        `json:"errors,omitempty"`
	Operators []OperatorCheck `json:"operators"`
}

// OperatorCheck says what becomes of an operator's state. Fate is restored,
// mapped (under another name, which Was was), migrated, new, dropped, gone (it
// had no state), lost, refused or unknown.
type OperatorCheck struct {
	UID    string       `json:"uid"`
	Name   string       `json:"name"`
	Was    string       `json:"was,omitempty"`
	ID     string       `json:"id"`
	Fate   string       `json:"fate"`
	Why    string       `json:"why,omitempty"`
	Bytes  int64        `json:"bytes"`
	States []StateCheck `json:"states,omitempty"`
}

// StateCheck is one state. Fate is restored, migrated, new, unused (kept, but
// not opened) or refused; Was and Now are the types, as schema texts.
type StateCheck struct {
	Name    string   `json:"name"`
	Fate    string   `json:"fate"`
	Was     string   `json:"was,omitempty"`
	Now     string   `json:"now,omitempty"`
	Changes []string `json:"changes,omitempty"`
}

// CheckSavepoint asks what a start of a stored bundle from r.SavepointPath would
// make of the state there.
func (c *Client) CheckSavepoint(ctx context.Context, bundle string, r RunRequest) (s SavepointCheck, err error) {
	return s, c.Post(ctx, "/jars/"+url.PathEscape(bundle)+"/savepoint-check", r, &s)
}
