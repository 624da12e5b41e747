package cli

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/leatstream/leat/runtime/restapi"
)

// TestStateTableShowsWindows: by their start, sessions by their end too.
func TestStateTableShowsWindows(t *testing.T) {
	t.Parallel()
	start, end := int64(1_767_225_600_000), int64(1_767_225_660_500)
	key, value := json.RawMessage(`"ann"`), json.RawMessage("7")
	got := stateTable([]restapi.StateEntry{
		{State: "count", Key: key, Value: value},
		{State: "window-aggregates", Key: key, Window: &start, Value: value},
		{State: "sessions", Key: key, Window: &start, WindowEnd: &end, Value: value},
	}, "").rows
	want := []string{"–", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z to 2026-01-01T00:01:00.5Z"}
	for i, w := range want {
		if !slices.Contains(got[i], w) {
			t.Errorf("row %q does not show the window as %q", got[i], w)
		}
	}
}
