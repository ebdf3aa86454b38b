package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/pipeline/examples/export/source"
)

// closing closes c at the end of a function. Close also tells of a commit on the way out
// that failed: that stands behind the error by which the function ends.
func closing(c io.Closer, err *error) {
	switch closeErr := c.Close(); {
	case closeErr == nil:
	case *err == nil:
		*err = closeErr
	case errors.Is(*err, context.Canceled):
		*err = errors.Join(*err, closeErr)
	}
}

// closeDatabase closes the database, and where the run was ended early what it still does.
func (e *export) closeDatabase(ctx context.Context) {
	e.watch.Rest()
	if ctx.Err() != nil {
		if err := e.db.EndStatements(); err != nil {
			e.say("the server may go on with a statement that nobody waits for any more: %v", err)
		}
	}
	e.db.Close()
}

// firstCause returns the error that a run ends with. One that was interrupted, or ended since
// the database is silent, has more of them, which only follow from that: the connections were
// cut, and the leases of the checkpoints could not be given back. signalled is the context that
// ends with a signal, and ctx the one that a watch ends, too.
func firstCause(signalled, ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || !follows(err) {
		return err
	}
	if signalled.Err() != nil {
		return errors.Join(signalled.Err(), err)
	}
	cause := context.Cause(ctx)
	if lost := lostWork(err); lost != "" {
		return fmt.Errorf("%w.%s", cause, lost)
	}
	return cause
}

// follows reports whether an error can come of the end of a context.
func follows(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || source.Passes(err)
}

// lostWork says what else has failed on the way out and does not follow from the end of
// the context: a commit for which the disk has no room, say.
func lostWork(err error) string {
	var others []string
	var add func(error)
	add = func(err error) {
		switch {
		case err == nil:
		case !follows(err):
			others = append(others, err.Error())
		default:
			if all, ok := err.(interface{ Unwrap() []error }); ok {
				for _, e := range all.Unwrap() {
					add(e)
				}
			}
			add(errors.Unwrap(err))
		}
	}
	add(err)
	if len(others) == 0 {
		return ""
	}
	return " What was written since then could not be committed, and will be read again: " + strings.Join(others, "; ") + "."
}
