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
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
)

// completeStatus settles where -status looks.
func (c *config) completeStatus() error {
	if c.log != "text" {
		return errors.New("-log is for exports, and cannot go with -status")
	}
	if c.store == "db" && c.dsn == "" {
		return errors.New("-status with -store db needs -dsn, or DATABASE_URL")
	}
	if c.state == "" {
		c.state = filepath.Join(filepath.Dir(c.out), ".pipeline-state")
	}
	return nil
}

// showStatus prints what is stored of exports. It takes no lease and changes nothing.
func (e *export) showStatus(ctx context.Context) error {
	store, where, done, err := e.lookIn(ctx)
	if err != nil {
		return err
	}
	defer done()
	jobs, err := cursor.Jobs(ctx, store)
	if err != nil && len(jobs) == 0 {
		return err
	}
	w := tabwriter.NewWriter(e.to, 0, 8, 2, ' ', 0)
	shown := 0
	for _, job := range jobs {
		record, inspectErr := cursor.Inspect(ctx, store, job)
		if inspectErr != nil {
			fmt.Fprintf(w, "%s\t%v\n", job, inspectErr)
			shown++
			continue
		}
		var p plan.Plan
		if json.Unmarshal(record.Position, &p) != nil || p.ID == "" {
			continue // a part, or not of this program
		}
		if shown++; shown == 1 {
			fmt.Fprintln(w, "FILE\tOF\tROWS\tSTATE\tSAVED\tHELD BY\tLAST KEY")
		}
		e.showJob(ctx, w, store, job, record, p)
	}
	w.Flush()
	if shown == 0 {
		e.say("no export has left a checkpoint in %s", where)
	}
	return err
}

// lookIn opens the store for a look: nothing is made that is not there.
func (e *export) lookIn(ctx context.Context) (store cursor.Store, where string, done func() error, err error) {
	if e.store == "db" {
		db, err := source.Open(ctx, e.dsn, false)
		if err != nil {
			return nil, "", nil, err
		}
		return sqlstore.New(db.DB, db.Dialect), "the database " + db.Name, db.Close, nil
	}
	if _, err := os.Stat(e.state); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("-state: there is no folder %s", e.state)
		}
		return nil, "", nil, err
	}
	store, err = cursor.NewFileStore(e.state)
	return store, "the folder " + e.state, func() error { return nil }, err
}

// showJob prints a line for each part of an export.
func (e *export) showJob(ctx context.Context, w *tabwriter.Writer, store cursor.Store, job string, record cursor.Record, p plan.Plan) {
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
				state = err.Error()
			case r.Fingerprint != p.ID:
				rows, state = 0, "not begun"
			case r.Finished:
				state = "written"
			}
			if r.Fingerprint == p.ID {
				saved, key = r.SavedAt, string(r.Position)
			}
		}
		table := ""
		if part.Table < len(p.Settings.Tables) {
			table = p.Settings.Tables[part.Table].Name
		}
		fmt.Fprintf(w, "%s\t%s of %s\t%s\t%s\t%s ago\t%s\t%s\n", part.File, table, p.Settings.Database, thousands(rows), state, age(saved), held, clip(key, 60))
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
