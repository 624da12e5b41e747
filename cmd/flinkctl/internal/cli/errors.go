package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/leatstream/leat/runtime/restapi"
)

// exitError is an error with an exit code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// again reports whether an operation that goes on in the cluster may be asked
// for again: the jobmanager is away, or another is being elected.
func again(err error) bool {
	var api *restapi.Error
	return errors.Is(err, restapi.ErrUnreachable) || errors.As(err, &api) && api.Status == http.StatusServiceUnavailable
}

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, coded("LEAT0002", fmt.Sprintf(format, args...))}
}

func coded(code, what string, fix ...string) *restapi.Error {
	return &restapi.Error{Code: code, What: what, Fix: fix}
}

func exitWith(code int, err error) error { return &exitError{code, err} }

// report prints err for people (or as JSON with -o json) and returns the
// exit code.
func (a *app) report(err error) int {
	code := exitCode(err)
	e := &restapi.Error{}
	if !errors.As(err, &e) {
		e = &restapi.Error{Code: "LEAT0001", What: err.Error()}
		if errors.Is(err, restapi.ErrUnreachable) {
			e = &restapi.Error{
				Code: "LEAT0502", What: "cannot reach the jobmanager at " + a.jobmanager, Why: rootCause(err),
				Fix: []string{"flinkctl local up", "or name another: --jobmanager URL, LEAT_JOBMANAGER"},
			}
		} else if code == exitFailed && isUsage(err) {
			code, e.Code = exitUsage, "LEAT0002"
		}
	}
	if a.output == "json" || a.output == "jsonl" {
		body, _ := json.Marshal(restapi.ErrorBody{Errors: []string{e.Error()}, Error: e}) // plain strings always marshal
		fmt.Fprintln(a.err, string(body))
		return code
	}
	fmt.Fprint(a.err, render(e))
	return code
}

// render prints an error as: what, where, why, fix, each on its line.
func render(e *restapi.Error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "error %s: %s\n", e.Code, e.What)
	if e.Where != "" {
		fmt.Fprintf(&b, " where: %s\n", e.Where)
	}
	if e.Why != "" {
		fmt.Fprintf(&b, " why: %s\n", e.Why)
	}
	for _, f := range e.Fix {
		fmt.Fprintf(&b, " fix: %s\n", f)
	}
	return b.String()
}

func exitCode(err error) int {
	var own *exitError
	if errors.As(err, &own) {
		return own.code
	}
	if errors.Is(err, restapi.ErrUnreachable) {
		return exitUnreachable
	}
	var api *restapi.Error
	if errors.As(err, &api) {
		switch api.Status {
		case http.StatusNotFound:
			return exitNotFound
		case http.StatusConflict, http.StatusPreconditionFailed:
			return exitConflict
		case http.StatusUnauthorized, http.StatusForbidden:
			return exitForbidden
		case http.StatusServiceUnavailable:
			return exitUnreachable
		}
	}
	return exitFailed
}

// isUsage recognises the command library's complaints about arguments.
func isUsage(err error) bool {
	s := err.Error()
	return strings.HasPrefix(s, "accepts ") || strings.HasPrefix(s, "requires ") || strings.HasPrefix(s, "unknown command") ||
		strings.HasPrefix(s, "required flag")
}

func rootCause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			s := err.Error()
			if i := strings.LastIndex(s, ": dial"); i >= 0 {
				s = s[i+2:]
			}
			return s
		}
		err = next
	}
}
