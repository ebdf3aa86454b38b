package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"example.com/pipeline/examples/export/source"
)

// showPlan prints what would be exported, and writes nothing.
func (e *export) showPlan(ctx context.Context) error {
	for i, table := range e.sources {
		e.say("%s of %s\n  to     %s (%s)", table.Name, e.db.Name, e.outs[i], strings.TrimSpace(e.format.Name+" "+e.settings.Compress))
		if rows, known := e.db.Estimate(ctx, table); known {
			e.say("  rows   about %s", thousands(rows))
		} else {
			e.say("  rows   not known without counting them")
		}
		key := list(table.Key())
		switch table.Order {
		case source.ByKey:
			e.say("  order  by the key (%s)", key.String())
		case source.NoOrder:
			e.say("  order  none: one statement, which begins anew when it is interrupted")
		default:
			e.say("  order  by %s", table.Order)
		}
		w := tabwriter.NewWriter(e.to, 0, 8, 2, ' ', 0)
		for _, c := range table.Columns {
			fmt.Fprintf(w, "  column\t%s\t%s\n", c.Name, c.Type)
		}
		w.Flush()
		text, lines, err := e.db.Explain(ctx, table)
		if err != nil {
			return err
		}
		if text != "" {
			e.say("  SQL    %s\n  plan   %s", strings.ReplaceAll(text, "\n", "\n         "), strings.Join(lines, "\n         "))
		}
	}
	return nil
}
