package seq_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// wantSame reports what differs between got and want, if something does. Errors are
// compared as values, and what is empty need not be nil.
func wantSame(t *testing.T, what string, got, want any) {
	t.Helper()
	is := cmp.Comparer(func(a, b error) bool { return a == b })
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.AllowUnexported(pair{}), is); d != "" {
		t.Errorf("%s: -want +got:\n%s", what, d)
	}
}
