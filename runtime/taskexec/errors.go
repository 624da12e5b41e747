package taskexec

import (
	"errors"

	controlv1 "github.com/leatstream/leat/proto/control/v1"
	"github.com/leatstream/leat/runtime/jobview"
)

// errorInfo turns an error into its wire form; code is used for errors that
// bring none.
func errorInfo(err error, code, what string) *controlv1.ErrorInfo {
	var coded *jobview.Error
	if errors.As(err, &coded) {
		return &controlv1.ErrorInfo{Code: coded.Code, What: coded.What, Where: coded.Where, Why: coded.Why, Fix: coded.Fix}
	}
	return &controlv1.ErrorInfo{Code: code, What: what, Why: err.Error()}
}
