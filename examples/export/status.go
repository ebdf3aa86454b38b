package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/pipeline/cursor"
	"example.com/pipeline/cursor/sqlstore"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
)

// completeStatus settles where -status looks: where the export with the same flags has its
// checkpoints, and without -table where one with this -out would have them.
func (c *config) completeStatus() (err error) {
	if c.store == "db" && c.dsn == "" {
		c.dsn, _, _ = source.FromEnvironment()
	}
	switch {
	case c.log != "text":
		return errors.New("-log is for exports, and cannot go with -status")
	case c.store != "file" && c.store != "db":
		return fmt.Errorf("-store must be file or db, not %q", c.store)
	case c.store == "db" && c.dsn == "":
		return errors.New("-status with -store db needs -dsn, or DATABASE_URL")
	}
	if c.table != "" {
		if c.tables, err = parseTables(c.table); err != nil {
			return fmt.Errorf("-table: %w", err)
		}
	}
	if c.state == "" {
		folder := c.outFolder()
		if info, err := os.Stat(c.out); err == nil && info.IsDir() {
			folder = c.out // of several tables
		}
		c.state = filepath.Join(folder, ".pipeline-state")
	}
	return nil
}

// showStatus prints what is stored of exports. It takes no lease and changes nothing. An error
// comes after all that can be shown.
func (e *export) showStatus(ctx context.Context) error {
	err := e.showJobs(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	// The text of the error alone is passed on: what helps an export that it ends does not help here.
	text := source.Advice(err)
	if own := (*advice.Error)(nil); errors.As(err, &own) {
		text = own.Advice
	}
	switch {
	case text != "":
	case errors.Is(err, cursor.ErrCorrupt):
		text = "Put back a copy of what is damaged, or export that from the beginning: its own command, with -restart."
	default:
		text = "Nothing was changed."
	}
	return advice.New(text, "-status: %v", err)
}

func (e *export) showJobs(ctx context.Context) error {
	store, where, done, err := e.lookIn(ctx)
	if err != nil {
		return err
	}
	defer done()
	nothing := func() { e.say("no export has left a checkpoint in %s", where) }
	if store == nil {
		nothing()
		return nil
	}
	jobs, err := cursor.Jobs(ctx, store)
	errs := []error{err}
	w := tabwriter.NewWriter(e.to, 0, 8, 2, ' ', 0)
	shown := 0
	line := func(format string, args ...any) {
		if shown++; shown == 1 {
			fmt.Fprintln(w, "FILE\tOF\tROWS\tSTATE\tSAVED\tHELD BY\tLAST KEY")
		}
		fmt.Fprintf(w, format, args...)
	}
	for _, job := range jobs {
		record, err := cursor.Inspect(ctx, store, job)
		if err != nil {
			line("%s\t\t\t%v\n", job, err)
			errs = append(errs, err)
			continue
		}
		var p plan.Plan
		if json.Unmarshal(record.Position, &p) != nil || p.ID == "" {
			continue // a part, or not of this program
		}
		e.showJob(ctx, line, store, job, record, p)
	}
	w.Flush()
	err = errors.Join(errs...)
	if shown == 0 && err == nil {
		nothing()
	}
	return err
}

// lookIn opens the store for a look: nothing is made that is not there, and the store is nil.
func (e *export) lookIn(ctx context.Context) (store cursor.Store, where string, done func() error, err error) {
	done = func() error { return nil }
	if e.store == "db" {
		db, err := source.Open(ctx, e.dsn, false)
		if err != nil {
			return nil, "", nil, err
		}
		return sqlstore.New(db.DB, db.Dialect), "the database " + db.Name, db.Close, nil
	}
	where = "the folder " + e.state
	if _, err := os.Stat(e.state); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, where, done, err
	}
	store, err = cursor.NewFileStore(e.state)
	return store, where, done, err
}

// showJob prints a line for each part of an export.
func (e *export) showJob(ctx context.Context, line func(format string, args ...any), store cursor.Store, job string, record cursor.Record, p plan.Plan) {
	held := "-"
	if holder, err := cursor.Holder(ctx, store, job); err == nil && holder != nil {
		held = strings.TrimSpace(holder.Holder)
		if held == "" {
			held = "a run"
		}
	}
	for i, part := range p.Parts {
		rows, state, saved, key := part.Rows, "complete", record.SavedAt, ""
		if !record.Finished {
			r, err := cursor.Inspect(ctx, store, partJob(job, i))
			rows, state = r.Items, "under way"
			switch {
			case err != nil:
				rows, state = 0, err.Error()
			case r.Fingerprint != p.ID:
				rows, state = 0, "not begun"
			case r.Finished:
				state = "written"
			}
			if err == nil && r.Fingerprint == p.ID {
				saved, key = r.SavedAt, string(r.Position)
			}
		}
		table := ""
		if part.Table < len(p.Settings.Tables) {
			table = p.Settings.Tables[part.Table].Name
		}
		line("%s\t%s of %s\t%s\t%s\t%s ago\t%s\t%s\n", part.File, table, p.Settings.Database, thousands(rows), state, age(saved), held, clip(key, 60))
	}
}

// age is a time that has gone by, without more digits than matter.
func age(t time.Time) string {
	switch d := max(time.Since(t), 0); {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	default:
		return fmt.Sprintf("%d seconds", d/time.Second)
	}
}

// clip shortens a text for a column, between two characters.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
