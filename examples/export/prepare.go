package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"example.com/pipeline/cursor"
	"example.com/pipeline/examples/export/advice"
	"example.com/pipeline/examples/export/encode"
	"example.com/pipeline/examples/export/plan"
	"example.com/pipeline/examples/export/source"
	"example.com/pipeline/seq"
)

// prepare opens the database and the store, and refuses what cannot be exported before
// anything is written.
func (e *export) prepare(ctx context.Context) (err error) {
	defer func() {
		if err == nil {
			return
		}
		if e.db != nil {
			e.closeDatabase(ctx)
		}
		if end := seq.ContextError(ctx); end != nil {
			err = end // a database has words of its own for an interrupted query
			return
		}
		err = unbegun(err)
	}()
	e.folder = e.outFolder()
	if !e.dryRun && e.out != pipe {
		if err := e.prepareFolders(ctx); err != nil {
			return err
		}
	}
	write := e.store == "db" && !e.dryRun
	e.watch.For("opening the database")
	if e.db, err = source.OpenTrying(ctx, e.dsn, write, e.again("open the database")); err != nil {
		return err
	}
	tuneProcessors(e.config, e.db.System)
	if e.db.Note != "" {
		e.say("%s", e.db.Note)
	}
	if write {
		e.atStore()
		if e.stores, err = e.databaseStore(ctx); err != nil {
			return err
		}
	}
	return e.prepareTables(ctx)
}

// prepareFolders finds the folders, or makes them, and the demo database where no other
// is given.
func (e *export) prepareFolders(ctx context.Context) (err error) {
	if e.several() {
		if err := os.Mkdir(e.folder, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if _, err := plan.Real(e.out); err != nil {
		return fmt.Errorf("the folder of -out: %w", err)
	}
	if !e.several() {
		if err := e.refuseStream(); err != nil {
			return err
		}
	}
	if err := e.claimManifest(); err != nil {
		return err
	}
	seen := "" // from where the output is seen
	if e.store == "file" {
		seen = e.state
		if e.stores, err = cursor.NewFileStore(e.state); err != nil {
			return err
		}
	}
	if e.job, err = plan.Job(e.out, seen); err != nil {
		return err
	}
	if e.dsn == "" {
		e.tables = []tableName{{parts: []string{demoTable}, plain: true}}
		e.dsn, err = demoDatabase(ctx, e.state, e.rows, e.say)
	}
	return err
}

// refuseStream refuses an output that cannot be cut off, or that messages are written to.
func (e *export) refuseStream() error {
	out, err := os.Stat(e.out)
	if err != nil {
		return nil // it is to be made
	}
	if mode := out.Mode(); mode&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		return advice.New("Write to standard output with -out -, or choose a file.", "-out %s is no file, and an export that is gone on with is cut off at its last commit", e.out)
	}
	for _, stream := range []*os.File{os.Stdout, os.Stderr} {
		if info, err := stream.Stat(); err == nil && os.SameFile(info, out) {
			return advice.New("Write to standard output with -out -, or choose another file.", "-out %s is where the messages go", e.out)
		}
	}
	return nil
}

// prepareTables looks the tables up and checks what the user said about them.
func (e *export) prepareTables(ctx context.Context) error {
	options := source.Options{Key: e.key, Columns: e.columns, Where: e.where}
	options.Page = cursor.PageConfig{Prefetch: 0.01, Retry: e.trying("read a page")}
	if e.db.System == source.SQLite {
		options.Page.Max = 16_000 // read beside the loop, and faster than 4,000 by 6 to 11 % of the time
	}
	if e.given("page") {
		options.Page.Size, options.Page.Max = e.page, e.page
	}
	if e.limit > 0 && e.limit <= e.page {
		options.Page.Size, options.Page.Prefetch = e.limit, 0 // one page, and none behind it
	}
	e.settings = plan.Settings{
		Database: cmp.Or(e.config.source, e.db.Name), Where: e.where,
		Format: e.format.Name, Compress: e.compress, NoHeader: e.format.NoHeader, Delimiter: e.delimiter, Null: e.format.Null,
		Partitions: e.partitions, Until: e.until.String(), Limit: e.limit,
	}
	if e.db.Path != "" && e.config.source == "" && e.store == "file" && !e.dryRun && e.out != pipe {
		path, err := plan.Real(e.db.Path)
		if err != nil {
			return err
		}
		if e.settings.Near, err = plan.From(e.state, path); err != nil {
			return err
		}
	}
	if e.query != "" {
		e.tables = []tableName{{}}
	}
	e.watch.For("the list of tables")
	if err := e.listTables(ctx); err != nil {
		return err
	}
	for _, name := range e.tables {
		e.watch.For("looking up " + whatOf(name))
		table, err := e.lookUp(ctx, name, options)
		if err != nil {
			return err
		}
		if err := e.verifiable(table); err != nil {
			return err
		}
		if table.Note != "" {
			e.say("%s", table.Note)
		}
		names := make(list, len(table.Columns))
		for i, c := range table.Columns {
			names[i] = c.Name
		}
		key := list(table.Key())
		e.sources = append(e.sources, table)
		encoder := encode.New(e.format, table.Columns)
		table.Encode = func(dst []byte, values []any) ([]byte, error) { return encoder.Row(dst, values), nil }
		e.encoders = append(e.encoders, encoder)
		e.outs = append(e.outs, e.outFile(name.String()))
		e.settings.Tables = append(e.settings.Tables, plan.Table{Name: table.Name, Key: key.String(), Columns: names.String(), Query: table.Fingerprint()})
	}
	return nil
}

// whatOf names what is exported before it is found.
func whatOf(name tableName) string { return cmp.Or(name.String(), "the query") }

// lookUp finds a table, or the query, and the key that it is to end at.
func (e *export) lookUp(ctx context.Context, name tableName, options source.Options) (table *source.Table, err error) {
	err = e.trying("look up "+whatOf(name))(ctx, func(ctx context.Context) error {
		if e.query != "" {
			table, err = e.db.Query(ctx, e.query, options)
		} else {
			table, err = e.db.Table(ctx, name.sql(), options)
		}
		if err == nil && len(e.until) > 0 {
			err = table.EndAt(ctx, e.until)
		}
		return err
	})
	if own := (*advice.Error)(nil); e.listed && err != nil && ctx.Err() == nil && !source.Passes(err) && !errors.As(err, &own) {
		err = advice.New(howToLeaveOut(name, err), "%s: %w", name, err)
	}
	return table, err
}

// howToLeaveOut is the advice on a table of many that cannot be read.
func howToLeaveOut(name tableName, err error) string {
	text := "To export the other tables without this one, add -exclude " + name.String() + ".\nNothing was written."
	if more := source.Advice(err); more != "" {
		text = more + " " + text
	}
	return text
}

// listTables puts the tables of a schema in the place of schema.*.
func (e *export) listTables(ctx context.Context) error {
	if !e.several() {
		return nil
	}
	var tables []tableName
	files := map[string]string{}
	for _, t := range e.tables {
		found := []tableName{t}
		if t.all() {
			var names []string
			err := e.trying("list the tables")(ctx, func(ctx context.Context) (err error) {
				names, err = e.db.Tables(ctx, t.schema())
				return err
			})
			if err != nil {
				return err
			}
			found, e.listed = nil, true
			for _, name := range names {
				if name == "pipeline_checkpoints" || name == "pipeline_keys" {
					continue // what -store db writes while it is read
				}
				one := tableName{parts: []string{name}}
				if t.schema() != "" {
					one.parts = []string{t.schema(), name}
				}
				if !slices.ContainsFunc(e.excluded, func(x tableName) bool { return x.String() == one.String() || x.String() == name }) {
					found = append(found, one)
				}
			}
			if len(found) == 0 {
				return fmt.Errorf("-table: there are no tables for %s", t)
			}
		}
		for _, one := range found {
			file := strings.ToLower(plan.FileName(one.String()))
			if other, taken := files[file]; taken {
				return advice.New("Export one of them by itself.", "the tables %s and %s would be written to one file", other, one)
			}
			files[file] = one.String()
		}
		tables = append(tables, found...)
	}
	e.tables, e.many = tables, true
	return nil
}

// countRows tells the progress how many rows there are, as far as that is known without
// reading them, or exactly where that was asked for.
func (e *export) countRows(ctx context.Context) error {
	e.progress.about = !e.count
	if e.follow > 0 {
		return nil // rows may stay away for as long as they like
	}
	for _, table := range e.sources {
		e.watch.For("counting the rows of " + table.Name)
		n, known := int64(0), true
		if e.count {
			e.say("counting the rows of %s", table.Name)
			err := e.trying("count the rows of "+table.Name)(ctx, func(ctx context.Context) (err error) {
				n, err = e.db.Count(ctx, table)
				return err
			})
			switch {
			case errors.Is(err, source.ErrUncounted):
				e.say("%s: %v", table.Name, err)
				e.progress.about = true
				n, known = e.db.Estimate(ctx, table)
			case err != nil:
				return unbegun(source.Whole(fmt.Errorf("-count: count the rows of %s: %w", table.Name, err), "Leave -count out"))
			}
		} else {
			n, known = e.db.Estimate(ctx, table)
			known = known && len(e.until) == 0
		}
		if !known {
			e.progress.total.Store(0)
			return nil
		}
		if e.limit > 0 {
			n = min(n, int64(e.limit))
		}
		e.progress.total.Add(n)
	}
	return nil
}
