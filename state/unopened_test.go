package state_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/leatstream/leat/state"
)

// TestHandleUsedBeforeOpen wants the handle, the line and the remedy named.
func TestHandleUsedBeforeOpen(t *testing.T) {
	t.Parallel()
	var value state.Value[int64]
	var reducing state.Reducing[int64]
	var aggregating state.Aggregating[int64, int64, int64]
	var list state.List[int64]
	var entries state.Map[string, int64]
	for _, c := range []struct {
		handle string
		use    func()
	}{
		{"Value", func() { value.Get() }},
		{"Value", func() { value.Set(1) }},
		{"Value", func() { value.Clear() }},
		{"Reducing", func() { reducing.Add(1) }},
		{"Reducing", func() { reducing.Get() }},
		{"Reducing", func() { reducing.Clear() }},
		{"Aggregating", func() { aggregating.Add(1) }},
		{"Aggregating", func() { aggregating.Get() }},
		{"Aggregating", func() { aggregating.Clear() }},
		{"List", func() { list.Add(1) }},
		{"List", func() { list.Set([]int64{1}) }},
		{"List", func() { list.Len() }},
		{"List", func() { list.Clear() }},
		{"List", func() { list.Retain(func(int64) bool { return true }) }},
		{"List", func() {
			for range list.All() {
				t.Error("an element")
			}
		}},
		{"Map", func() { entries.Get("") }},
		{"Map", func() { entries.Contains("") }},
		{"Map", func() { entries.Put("", 1) }},
		{"Map", func() { entries.Delete("") }},
		{"Map", func() { entries.Len() }},
		{"Map", func() { entries.Clear() }},
		{"Map", func() {
			for range entries.Sorted() {
				t.Error("an entry")
			}
		}},
	} {
		want := regexp.MustCompile(`^state\.` + c.handle + ` used before Open at state/unopened_test\.go:\d+: call its Open in the processor's Open`)
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
