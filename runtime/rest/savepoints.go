package rest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/leatstream/leat/checkpoint/savepoint"
	"github.com/leatstream/leat/runtime/jobview"
	"github.com/leatstream/leat/runtime/restapi"
	"github.com/leatstream/leat/runtime/savepointview"
)

// exportsMax bounds the exports under way: each takes a share of a core and
// the memory of some key groups.
const exportsMax = 2

func (h *Handler) savepointContents(_ http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	path, err := pathOf(r)
	if err != nil {
		return nil, err
	}
	s, err := c.OpenSavepoint(r.Context(), path)
	if err != nil {
		return nil, err
	}
	return savepointview.Of(path, s.Manifest()), nil
}

func pathOf(r *http.Request) (string, error) {
	if path := r.URL.Query().Get("path"); path != "" {
		return path, nil
	}
	return "", invalid("path is missing: the URI of a savepoint or checkpoint")
}

// exportSavepoint streams; what goes wrong after the first byte is told in a
// trailer.
func (h *Handler) exportSavepoint(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	path, err := pathOf(r)
	if err != nil {
		return nil, err
	}
	select {
	case h.exports <- struct{}{}:
		defer func() { <-h.exports }()
	default:
		return nil, &jobview.Error{Code: "LEAT0501", Kind: jobview.KindUnavailable, What: "savepoints are being exported already", Fix: []string{"try again when one is done"}}
	}
	s, err := c.OpenSavepoint(r.Context(), path)
	if err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", "application/jsonl; charset=UTF-8")
	w.Header().Set("Trailer", restapi.ExportErrorTrailer+", "+restapi.ExportResultTrailer)
	out := bufio.NewWriterSize(w, 64<<10)
	q := r.URL.Query()
	sum, err := s.Export(r.Context(), savepoint.Query{Operator: q.Get("operator"), State: q.Get("state")}, savepoint.Lines(out))
	if err := cmp.Or(err, out.Flush()); err != nil {
		h.endExport(w, err, path)
		return nil, nil
	}
	result, _ := json.Marshal(restapi.ExportResult{Entries: sum.Entries, LeftOut: sum.LeftOut}) // plain values always marshal
	w.Header().Set(restapi.ExportResultTrailer, string(result))
	return nil, nil
}

func (h *Handler) endExport(w http.ResponseWriter, err error, path string) {
	e := &jobview.Error{}
	switch fault := savepointview.Fault(err, path); {
	case fault != nil:
		e = fault
	case !errors.As(err, &e):
		h.cfg.Log.Error("export of a savepoint", "path", path, "error", err)
		e = &jobview.Error{Code: "LEAT0500", What: "the savepoint could not be exported", Where: path, Why: err.Error(), Fix: []string{"try again"}}
	}
	body, _ := json.Marshal(restapi.ErrorBody{Errors: []string{e.Error()}, Error: apiError(e)}) // plain strings always marshal
	w.Header().Set(restapi.ExportErrorTrailer, string(body))
}

func (h *Handler) checkSavepoint(w http.ResponseWriter, r *http.Request, c jobview.Control) (any, error) {
	s, err := submission(w, r)
	if err != nil {
		return nil, err
	}
	if s.FromSavepoint == "" {
		return nil, invalid("savepointPath is missing: the URI of a savepoint or checkpoint")
	}
	sc, err := c.CheckSavepoint(r.Context(), s)
	if err != nil {
		return nil, err
	}
	out := restapi.SavepointCheck{Savepoint: sc.Path, Job: sc.JobName, OK: len(sc.Errors) == 0, Operators: []restapi.OperatorCheck{}}
	for _, e := range sc.Errors {
		out.Errors = append(out.Errors, apiError(e))
	}
	for _, o := range sc.Operators {
		oc := restapi.OperatorCheck{UID: o.UID, Name: o.Name, Was: o.Was, ID: string(o.ID), Fate: o.Fate, Why: o.Why, Bytes: o.Bytes}
		for _, st := range o.States {
			oc.States = append(oc.States, restapi.StateCheck{Name: st.Name, Fate: st.Fate, Was: st.Was, Now: st.Now, Changes: st.Changes})
		}
		out.Operators = append(out.Operators, oc)
	}
	return out, nil
}
