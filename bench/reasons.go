package main

import "strings"

// reasons says why this library is behind the best peer: by table and column, or
// by table where all its columns have the same reason. Exports are named without
// their number of rows. What is lost and has none is reported as not explained yet.
var reasons = map[string]string{
	"ordered-trivial": wholeSlice,
	"ordered-1us":     wholeSlice,
	"head-of-line":    "By default at most 16 items are held, so the workers run out of work behind a slow one; the row with Window(1024) shows what holding more buys.",
	"sequential":      "What is ahead carries no error beside each item, or has stages written for this very chain.",
	"loader":          "Starting and waking the goroutines is most of it for all, and what is ours on top is a cache that is bounded and drops what was used longest ago.",
	"latency":         "Most of it is the time that the system takes to wake a sleeping thread, which differs more from round to round than from contestant to contestant.",
	"handoff":         "A channel's items lie closer together, since they carry no error, so fewer cache lines pass from core to core.",
	"rate-cost":       "Calls that wait stand in a line, first come first served, and leave it at the end of their context, which takes a semaphore where the other has one atomic word.",
	"export-growth":   "A page is a statement of its own, which is what frees the connection and lets a killed run go on; the streamed SELECT begins once.",
	"export-postgres": "A connection's first statements, on the catalog and the key, cost the server some tens of milliseconds that a bare SELECT does not have, and commits wait for the disk; psql copies what the server has written as CSV.",
	"export-mariadb":  "Each page is prepared and begun anew, the catalog is asked first, and commits wait for the disk.",
	"export-sqlite":   "The client is C from the database to the file; SQLite is translated to Go here.",
}

const wholeSlice = "It is no stream: it takes all items as a slice and gives all results at the end, where here each result is handed over when it is ready."

// notExplained stands where nobody has yet said why a row was lost.
const notExplained = "Not explained yet."

// reason says why a column of a table was lost.
func reason(table, column string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(table, "export-"), "-")
	for _, key := range []string{table + "/" + column, table, "export-" + kind} {
		if why, ok := reasons[key]; ok {
			return why
		}
	}
	return notExplained
}
