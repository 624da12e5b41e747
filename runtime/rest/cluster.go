package rest

import (
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/leatstream/leat/dataflow"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
)

func (h *Handler) taskManagers(_ http.ResponseWriter, _ *http.Request, c jobview.Control) (any, error) {
	out := restapi.TaskManagers{TaskManagers: []restapi.TaskManager{}}
	for _, t := range c.TaskManagers() {
		out.TaskManagers = append(out.TaskManagers, taskManagerOf(t))
	}
	return out, nil
}

func taskManagerOf(t jobview.TaskManager) restapi.TaskManager {
	out := restapi.TaskManager{
		ID: t.ID, Path: t.Address, DataPort: -1, Heartbeat: t.LastHeartbeat.UnixMilli(), SlotsNumber: t.Slots, FreeSlots: t.SlotsFree,
		Hardware: restapi.Hardware{PhysicalMemory: t.MemoryBytes, FreeMemory: max(0, t.MemoryBytes-t.MemoryUsedBytes)},
		Host:     t.Host, Version: t.Version, Platform: t.OS + "/" + t.Arch, PID: t.PID, MemoryUsed: t.MemoryUsedBytes,
		CPUSeconds: t.CPUSeconds, Registered: t.Registered.UnixMilli(), Workers: []restapi.Worker{}, MetricsAddress: t.MetricsAddress,
	}
	for _, w := range t.Workers {
		out.AssignedTasks++
		out.Workers = append(out.Workers, restapi.Worker{ID: w.ID, JobID: string(w.Job), Attempt: int64(w.Attempt), PID: w.PID})
	}
	return out
}

func (h *Handler) taskManagerIn(r *http.Request, c jobview.Control) (jobview.TaskManager, error) {
	id := r.PathValue("tm")
	for _, t := range c.TaskManagers() {
		if t.ID == id {
			return t, nil
		}
	}
	return jobview.TaskManager{}, notFound("no taskmanager %q is registered", id)
}

func (h *Handler) taskManager(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	t, err := h.taskManagerIn(r, c)
	return taskManagerOf(t), err
}

func (h *Handler) logFiles(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	t, err := h.taskManagerIn(r, c)
	if err != nil {
		return nil, err
	}
	out := restapi.LogFiles{Logs: []restapi.LogFile{}}
	if _, size, err := c.Log(r.Context(), t.ID, "", "", 0, 0); err == nil {
		out.Logs = append(out.Logs, restapi.LogFile{Name: "taskmanager.log", Size: size})
	}
	for _, w := range t.Workers {
		if _, size, err := c.Log(r.Context(), t.ID, w.Job, w.ID, 0, 0); err == nil {
			out.Logs = append(out.Logs, restapi.LogFile{Name: w.ID + ".log", Size: size})
		}
	}
	return out, nil
}

// logBytesMax bounds one answer with a piece of a log.
const logBytesMax = 1 << 20

func (h *Handler) log(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	q := r.URL.Query()
	offset, err := number(q.Get("offset"), 0)
	if err != nil {
		return nil, err
	}
	limit, err := number(q.Get("limit"), logBytesMax)
	if err != nil {
		return nil, err
	}
	data, size, err := c.Log(r.Context(), r.PathValue("tm"), dataflow.JobID(q.Get("job")), q.Get("worker"), offset, min(limit, logBytesMax))
	if err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("X-Log-Size", strconv.FormatInt(size, 10))
	if _, err := w.Write(data); err != nil {
		h.cfg.Log.Debug("client went away", "error", err)
	}
	return nil, nil
}

func number(s string, otherwise int64) (int64, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, invalid("%q is not a number", s)
	}
	return n, nil
}

func (h *Handler) bundles(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	list, err := c.Bundles(r.Context())
	out := restapi.Bundles{Address: "http://" + r.Host, Files: []restapi.Bundle{}}
	for _, b := range list {
		out.Files = append(out.Files, restapi.Bundle{
			ID: b.SHA256, Name: b.Name, Uploaded: b.Uploaded.UnixMilli(), Size: b.Size, Platforms: b.Platforms,
			Entry: []restapi.BundleEntry{{Name: b.JobName}},
		})
	}
	return out, err
}

func (h *Handler) upload(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	r.Body = http.MaxBytesReader(w, r.Body, h.cfg.UploadBytesMax)
	form, err := r.MultipartReader()
	if err != nil {
		return nil, invalid("an upload is a multipart form with the file in field jarfile: %v", err)
	}
	part, err := form.NextPart()
	if err != nil || part.FileName() == "" {
		return nil, invalid("the form has no file in field jarfile")
	}
	path, err := h.spool(part)
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	b, err := c.PutBundle(r.Context(), filepath.Base(part.FileName()), path)
	if err != nil {
		return nil, err
	}
	return restapi.UploadResponse{Filename: "/" + b.SHA256, Status: "success", ID: b.SHA256}, nil
}

// spool writes an upload to a temporary file.
func (h *Handler) spool(part *multipart.Part) (path string, err error) {
	f, err := os.CreateTemp(h.cfg.TempDir, "upload-*.bundle")
	if err != nil {
		return "", fmt.Errorf("cannot store the upload: %w", err)
	}
	_, err = io.Copy(f, part)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
		return "", invalid("the upload broke off: %v", err)
	}
	return f.Name(), nil
}

func (h *Handler) deleteBundle(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	return map[string]any{}, c.DeleteBundle(r.Context(), r.PathValue("jar"))
}

func (h *Handler) run(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	s, err := submission(w, r)
	if err != nil {
		return nil, err
	}
	id, err := c.Submit(r.Context(), s)
	return restapi.RunResponse{JobID: string(id), ApplicationID: string(id)}, err
}

func submission(w http.ResponseWriter, r *http.Request) (jobview.Submission, error) {
	var req restapi.RunRequest
	if r.Method == http.MethodPost {
		if err := readBody(w, r, &req); err != nil {
			return jobview.Submission{}, err
		}
	} else {
		q := r.URL.Query()
		p, err := number(q.Get("parallelism"), 0)
		if err != nil {
			return jobview.Submission{}, err
		}
		req.Parallelism = int(p)
		if args := q.Get("programArg"); args != "" {
			req.ProgramArgsList = strings.Split(args, ",")
		}
	}
	if req.AllowNonRestoredState {
		return jobview.Submission{}, &jobview.Error{
			Code: "LEAT4202", Kind: jobview.KindInvalid, What: "allowNonRestoredState is not offered: it drops state without saying which",
			Fix: []string{`name the operators whose state may go: "dropState": ["uid", …], or flinkctl run --drop-state UID`},
		}
	}
	if req.Parallelism < 0 {
		return jobview.Submission{}, invalid("parallelism %d is negative", req.Parallelism)
	}
	return jobview.Submission{
		BundleSHA: r.PathValue("jar"), Name: req.Name, Parallelism: req.Parallelism, Auto: req.Auto, Args: req.ProgramArgsList,
		Properties: req.Configuration, Environment: req.Environment, FromSavepoint: req.SavepointPath,
		AllowDrained: req.AllowDrained, DropState: req.DropState, RequestID: req.RequestID, Like: dataflow.JobID(req.Like),
	}, nil
}

func (h *Handler) bundlePlan(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	s, err := submission(w, r)
	if err != nil {
		return nil, err
	}
	p, err := c.PlanBundle(r.Context(), s)
	if err != nil {
		return nil, err
	}
	return restapi.PlanBody{Plan: restapi.Plan{JobID: "", Name: p.Graph.Name, Type: "STREAMING", Nodes: planNodes(p)}}, nil
}
