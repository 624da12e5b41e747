package restapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ErrUnreachable is wrapped by errors of a client that got no answer.
var ErrUnreachable = errors.New("no answer")

// errorBodyBytesMax bounds what is read of an error answer.
const errorBodyBytesMax = 1 << 20

// Client calls a jobmanager's REST API. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the jobmanager at base, as
// "http://127.0.0.1:8081".
func NewClient(base string, h *http.Client) *Client {
	if h == nil {
		h = &http.Client{}
	}
	return &Client{base: strings.TrimSuffix(base, "/"), http: h}
}

// Base returns the address given to NewClient.
func (c *Client) Base() string { return c.base }

// Get reads a path below /v1 into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// Post sends in as JSON to a path below /v1.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPost, path, in, out)
}

// Overview describes the cluster.
func (c *Client) Overview(ctx context.Context) (o Overview, err error) {
	return o, c.Get(ctx, "/overview", &o)
}

// Jobs lists the jobs.
func (c *Client) Jobs(ctx context.Context) ([]JobOverview, error) {
	var o JobsOverview
	err := c.Get(ctx, "/jobs/overview", &o)
	return o.Jobs, err
}

// Job describes a job.
func (c *Client) Job(ctx context.Context, id string) (j Job, err error) {
	return j, c.Get(ctx, "/jobs/"+url.PathEscape(id), &j)
}

// Vertex describes a vertex with its subtasks.
func (c *Client) Vertex(ctx context.Context, job, vertex string) (v VertexDetails, err error) {
	return v, c.Get(ctx, "/jobs/"+url.PathEscape(job)+"/vertices/"+url.PathEscape(vertex), &v)
}

// Checkpoints describes a job's checkpoints.
func (c *Client) Checkpoints(ctx context.Context, id string) (s Checkpoints, err error) {
	return s, c.Get(ctx, "/jobs/"+url.PathEscape(id)+"/checkpoints", &s)
}

// Exceptions describes a job's failures.
func (c *Client) Exceptions(ctx context.Context, id string) (e Exceptions, err error) {
	return e, c.Get(ctx, "/jobs/"+url.PathEscape(id)+"/exceptions", &e)
}

// Cancel ends a job without a savepoint.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodPatch, "/jobs/"+url.PathEscape(id)+"?mode=cancel", nil, nil)
}

// Stop starts stop-with-savepoint.
func (c *Client) Stop(ctx context.Context, id string, r StopRequest) (t TriggerResponse, err error) {
	return t, c.Post(ctx, "/jobs/"+url.PathEscape(id)+"/stop", r, &t)
}

// Savepoint starts a savepoint.
func (c *Client) Savepoint(ctx context.Context, id string, r SavepointRequest) (t TriggerResponse, err error) {
	return t, c.Post(ctx, "/jobs/"+url.PathEscape(id)+"/savepoints", r, &t)
}

// Checkpoint starts a checkpoint.
func (c *Client) Checkpoint(ctx context.Context, id string) (t TriggerResponse, err error) {
	return t, c.Post(ctx, "/jobs/"+url.PathEscape(id)+"/checkpoints", CheckpointRequest{}, &t)
}

// Rescale changes the parallelism of a job.
func (c *Client) Rescale(ctx context.Context, id string, r RescaleRequest) (t TriggerResponse, err error) {
	return t, c.do(ctx, http.MethodPatch, "/jobs/"+url.PathEscape(id)+"/rescaling", r, &t)
}

// Problems says what holds a job up; it takes a second.
func (c *Client) Problems(ctx context.Context, id string) (p Problems, err error) {
	return p, c.Get(ctx, "/jobs/"+url.PathEscape(id)+"/problems", &p)
}

// RescaleStatus polls a change of the parallelism.
func (c *Client) RescaleStatus(ctx context.Context, id, trigger string) (s OperationStatus, err error) {
	return s, c.Get(ctx, "/jobs/"+url.PathEscape(id)+"/rescaling/"+url.PathEscape(trigger), &s)
}

// SavepointStatus polls a savepoint or stop operation.
func (c *Client) SavepointStatus(ctx context.Context, id, trigger string) (s OperationStatus, err error) {
	return s, c.Get(ctx, "/jobs/"+url.PathEscape(id)+"/savepoints/"+url.PathEscape(trigger), &s)
}

// CheckpointStatus polls a checkpoint operation.
func (c *Client) CheckpointStatus(ctx context.Context, id, trigger string) (s OperationStatus, err error) {
	return s, c.Get(ctx, "/jobs/"+url.PathEscape(id)+"/checkpoints/"+url.PathEscape(trigger), &s)
}

// Savepoints lists the savepoints of a job.
func (c *Client) Savepoints(ctx context.Context, id string) ([]Checkpoint, error) {
	var s Savepoints
	err := c.Get(ctx, "/jobs/"+url.PathEscape(id)+"/savepoints", &s)
	return s.Savepoints, err
}

// DeleteSavepoint disposes of the savepoint at a path.
func (c *Client) DeleteSavepoint(ctx context.Context, path string) (d SavepointDisposal, err error) {
	return d, c.Post(ctx, "/savepoint-disposal", map[string]string{"savepoint-path": path}, &d)
}

// TaskManagers lists the registered taskmanagers.
func (c *Client) TaskManagers(ctx context.Context) ([]TaskManager, error) {
	var t TaskManagers
	err := c.Get(ctx, "/taskmanagers", &t)
	return t.TaskManagers, err
}

// TaskManager describes one taskmanager.
func (c *Client) TaskManager(ctx context.Context, id string) (t TaskManager, err error) {
	return t, c.Get(ctx, "/taskmanagers/"+url.PathEscape(id), &t)
}

// Bundles lists the stored bundles.
func (c *Client) Bundles(ctx context.Context) ([]Bundle, error) {
	var b Bundles
	err := c.Get(ctx, "/jars", &b)
	return b.Files, err
}

// Run starts a job from a stored bundle.
func (c *Client) Run(ctx context.Context, bundle string, r RunRequest) (o RunResponse, err error) {
	return o, c.Post(ctx, "/jars/"+url.PathEscape(bundle)+"/run", r, &o)
}

// Log reads part of a log: of a worker of job, or of the taskmanager when job
// is empty. A negative offset counts from the end. It returns the log's size.
func (c *Client) Log(ctx context.Context, taskManager, job, worker string, offset, limit int64) ([]byte, int64, error) {
	q := url.Values{"offset": {strconv.FormatInt(offset, 10)}, "limit": {strconv.FormatInt(limit, 10)}}
	if job != "" {
		q.Set("job", job)
	}
	if worker != "" {
		q.Set("worker", worker)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/taskmanagers/"+url.PathEscape(taskManager)+"/log?"+q.Encode(), nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return nil, 0, readError(resp)
	}
	size, _ := strconv.ParseInt(resp.Header.Get("X-Log-Size"), 10, 64)
	data, err := io.ReadAll(resp.Body)
	return data, size, err
}

// Upload stores a bundle; the bytes come from r, which the caller may close
// once Upload has returned. A Read of r that blocks holds Upload back.
func (c *Client) Upload(ctx context.Context, name string, r io.Reader) (UploadResponse, error) {
	pr, pw := io.Pipe()
	form := multipart.NewWriter(pw)
	done := make(chan struct{})
	go func() {
		defer close(done)
		part, err := form.CreateFormFile("jarfile", name)
		if err == nil {
			_, err = io.Copy(part, r)
		}
		if err == nil {
			err = form.Close()
		}
		pw.CloseWithError(err)
	}()
	defer func() {
		pr.Close() // ends a write under way
		<-done
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/jars/upload", pr)
	if err != nil {
		return UploadResponse{}, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	var out UploadResponse
	return out, c.send(req, &out)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/v1"+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.send(req, out)
}

func (c *Client) send(req *http.Request, out any) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return readError(resp)
	}
	if out == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, errorBodyBytesMax))
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: answer is not the expected JSON: %w", req.Method, req.URL.Path, err)
	}
	return nil
}

func (c *Client) unreachable(err error) error {
	return fmt.Errorf("%w from the jobmanager at %s: %w", ErrUnreachable, c.base, err)
}

func readError(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyBytesMax))
	var body ErrorBody
	if err := json.Unmarshal(raw, &body); err == nil && body.Error != nil {
		body.Error.Status = resp.StatusCode
		return body.Error
	}
	what := strings.TrimSpace(string(raw))
	if len(body.Errors) > 0 {
		what = strings.Join(body.Errors, "; ")
	}
	return &Error{Code: "LEAT0500", What: what, Status: resp.StatusCode}
}
