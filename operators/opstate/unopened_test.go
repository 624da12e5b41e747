package opstate_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/leatstream/leat/operators/opstate"
)

// TestHandleUsedBeforeOpen wants the handle, the line and the remedy named.
func TestHandleUsedBeforeOpen(t *testing.T) {
	t.Parallel()
	var list opstate.List[int64]
	var entries opstate.Map[string, int64]
	for _, c := range []struct {
		handle, open string
		use          func()
	}{
		{"ListState", "Open or OpenUnion", func() { list.Add(1) }},
		{"ListState", "Open or OpenUnion", func() { list.All() }},
		{"ListState", "Open or OpenUnion", func() { list.Len() }},
		{"ListState", "Open or OpenUnion", func() { list.Set(nil) }},
		{"ListState", "Open or OpenUnion", func() { list.Clear() }},
		{"BroadcastMap", "Open", func() { entries.Get("") }},
		{"BroadcastMap", "Open", func() { entries.All() }},
		{"BroadcastMap", "Open", func() { entries.Len() }},
		{"BroadcastMap", "Open", func() { entries.Put(writer{}, "", 1) }},
		{"BroadcastMap", "Open", func() { entries.Delete(writer{}, "") }},
		{"BroadcastMap", "Open", func() { entries.Clear(writer{}) }},
	} {
		want := regexp.MustCompile(`^stream\.` + c.handle + ` used before Open at opstate/unopened_test\.go:\d+: call its ` + c.open + ` in the processor's Open`)
		if got := panicOf(c.use); !want.MatchString(got) {
			t.Errorf("%s panics with %q", c.handle, got)
		}
	}
}

func panicOf(use func()) (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	use()
	return ""
}
