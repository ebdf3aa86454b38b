package control

import "context"

// A Policy governs one call. Do calls op zero or more times, never twice at once
// and never after it has returned.
type Policy interface {
	Do(ctx context.Context, op func(context.Context) error) error
}
