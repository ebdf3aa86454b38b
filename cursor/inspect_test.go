package cursor_test

import (
	"strings"
	"testing"

	"example.com/pipeline/cursor"
)

// TestInspectWithoutInspector wants a clear error from a store of no more than Acquire.
func TestInspectWithoutInspector(t *testing.T) {
	var store cursor.Store = &spied{store: cursor.NewMemStore()}
	_, inspect := cursor.Inspect(t.Context(), store, "job")
	_, jobs := cursor.Jobs(t.Context(), store)
	_, holder := cursor.Holder(t.Context(), store, "job")
	for fn, err := range map[string]error{"Inspect": inspect, "Jobs": jobs, "Holder": holder} {
		if err == nil || !strings.Contains(err.Error(), "cursor."+fn+": a *cursor_test.spied") || !strings.Contains(err.Error(), "Inspector") {
			t.Errorf("%s: %v", fn, err)
		}
	}
	wantPanic(t, "cursor.Jobs: the store must not be nil", func() { cursor.Jobs(t.Context(), nil) })
}
