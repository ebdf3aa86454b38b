package control_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/pipeline/control"
)

// A counting is a Breaker with a Do of its own.
type counting struct {
	*control.Breaker
	calls *int
}

func (c *counting) Do(ctx context.Context, op func(context.Context) error) error {
	*c.calls++
	return c.Breaker.Do(ctx, op)
}

// A type that embeds one of the policies of this package has its methods, also those
// that are not exported, but its Do is its own.
func TestWrapCallsTheDoOfWhoEmbedsOurs(t *testing.T) {
	calls, errBoom := 0, errors.New("boom")
	for name, around := range map[string]func(control.Policy) control.Policy{
		"alone":      func(p control.Policy) control.Policy { return p },
		"WaitAtMost": func(p control.Policy) control.Policy { return control.WaitAtMost(time.Hour, p) },
	} {
		calls = 0
		p := &counting{control.NewBreaker(control.BreakerConfig{}), &calls}
		call := control.Wrap(func(context.Context, int) (int, error) { return 7, errBoom },
			control.Retry{Attempts: 3, Backoff: control.Constant(0)}, around(p))
		if _, err := call(t.Context(), 0); !errors.Is(err, errBoom) || calls != 3 {
			t.Errorf("%s: %d calls of its Do, %v", name, calls, err)
		}
	}
}
