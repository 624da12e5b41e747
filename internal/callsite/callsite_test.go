package callsite_test

import (
	"regexp"
	"testing"

	"github.com/leatstream/leat/internal/callsite"
)

func inner() string { return callsite.Outside("example.com/none") }

func TestOutside(t *testing.T) {
	t.Parallel()
	if at := inner(); !regexp.MustCompile(`^callsite/callsite_test\.go:10$`).MatchString(at) {
		t.Errorf("called at %q", at)
	}
	if at := callsite.Outside("github.com/leatstream/leat/internal/callsite_test"); !regexp.MustCompile(`^testing/testing\.go:\d+$`).MatchString(at) {
		t.Errorf("outside of this package is %q", at)
	}
}
