package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/source"
)

// explain says what went wrong and what the user can do about it.
func explain(err error, c *config) string {
	if c.out == pipe {
		if own := (*advice.Error)(nil); errors.As(err, &own) {
			return fmt.Sprintf("%v\n%s", err, own.Advice)
		}
		if text := source.Advice(err); text != "" {
			return fmt.Sprintf("%v\n%s", err, text)
		}
		return fmt.Sprintf("%v\nWhat went to standard output is not all.", err)
	}
	again := "go on:\n  " + c.goOn()
	anew := "Or export from the beginning, over what is there:\n  " + c.command() + " -restart"
	if _, gone := os.Stat(c.state); c.begun && c.store == "file" && errors.Is(gone, fs.ErrNotExist) {
		return fmt.Sprintf("%v\nThe folder of the checkpoints, %s, was removed while this ran. Put it back, then %s\n%s", err, c.state, again, anew)
	}
	for _, known := range []struct {
		is     error
		advice string
	}{
		{cursor.ErrLocked, "Another run is at work on this output. Wait until it has ended, or end it; then " + again},
		{cursor.ErrFenced, "Another run has taken this export over; nothing is lost. Let it work, or end it; then " + again},
		{cursor.ErrCorrupt, "The checkpoint is damaged, so it is not known what of the output is good. Put back a copy of it, then " + again + "\n" + anew},
		{cursor.ErrMismatch, "Give the flags of the export that the checkpoint is of, or another -out. Where only the database's address has changed, give the old one with -source.\n" + anew},
		{cursor.ErrOutputChanged, "The output was deleted, cut or replaced since the last run. Put it back, then " + again + "\n" + anew},
		{cursor.ErrDuplicateKey, "Name another -key: columns that are unique together, for example the primary key."},
		{errSilent, "All rows up to the last commit are safe. Look at the database: is something locked, is the connection cut? Then " + again},
		{syscall.ENOSPC, "The disk is full; all rows up to the last commit are safe. Make room, then " + again},
		{syscall.EDQUOT, "The disk quota is used up; all rows up to the last commit are safe. Make room, then " + again},
		{syscall.EFBIG, "The file may not grow further (ulimit -f, or the file system); all rows up to the last commit are safe. Raise the limit, then " + again},
		{cursor.ErrFsync, "The disk could not make the output durable; all rows up to the last commit are safe. Check the disk, then " + again},
		{syscall.EROFS, "The file system is read-only: mount it with the right to write, or choose another -out or -state."},
		{fs.ErrPermission, "Give this user the right to write there, or choose another -out or -state."},
		{fs.ErrNotExist, "Make the folder first, or choose another -out or -state."},
	} {
		if errors.Is(err, known.is) {
			return fmt.Sprintf("%v\n%s", err, known.advice)
		}
	}
	if own := (*advice.Error)(nil); errors.As(err, &own) {
		return fmt.Sprintf("%v\n%s", err, own.Advice)
	}
	if text := source.Advice(err); text != "" {
		return fmt.Sprintf("%v\n%s\nWhat is committed is safe. Then %s", err, text, again)
	}
	return fmt.Sprintf("%v\nWhat is committed is safe. When the cause is gone, %s", err, again)
}

// unbegun adds advice to an error that ends a run before it writes anything.
func unbegun(err error) error {
	if text := source.Advice(err); text != "" {
		return advice.New(text+"\nNothing was written.", "%w", err)
	}
	if own := (*advice.Error)(nil); err == nil || errors.As(err, &own) {
		return err
	}
	return advice.New("Nothing was written.", "%w", err)
}

// whole says of an error of a table that is read with one statement how it could be read in
// more of them.
func (e *export) whole(table *source.Table, err error) error {
	if table.Order == source.NoOrder {
		return source.Whole(err, "Name a -key, by which it can be read in pages")
	}
	return err
}

// trying returns what does something for the database again while it fails by what passes.
func (e *export) trying(what string) func(context.Context, func(context.Context) error) error {
	return source.Retry(e.again(what))
}

// again says that something failed, and when it will be tried again.
func (e *export) again(what string) func(try int, pause time.Duration, err error) {
	return func(try int, pause time.Duration, err error) {
		e.say("try %d to %s failed, again in %v: %v", try, what, pause, err)
	}
}
