package main

import "strings"

// reasons says why this library is behind the best peer: by table and column, or
// by table where all its columns have the same reason. Exports are named without
// their number of rows. What is lost and has none is reported as not explained yet.
var reasons = map[string]string{
	"ordered-trivial": wholeSlice,
	"ordered-1us":     wholeSlice,
	"head-of-line/computing": "By default at most 16 items are held, so behind a slow item the workers run out of work. " +
		"The row with Window(1024) shows what holding more buys.",
	"head-of-line/waiting": "By default at most 16 items are held, so behind a slow item the workers run out of work. " +
		"The row with Window(1024) is as fast as those that hold everything.",
	"sequential": "What is ahead carries no errors, or has stages written for this very chain: here each item comes with an error that is checked, " +
		"and fn may return one, or skip.",
	"loader/burst": "Starting and waking 10,000 goroutines is most of it for all, as the limit shows. What is ours on top is a cache that is bounded and knows what was used longest ago; " +
		"dataloadgen's grows without bound. The two are closer to each other than two rounds of either.",
	"latency": "What is compared here is mostly the time that the operating system takes to wake a sleeping thread. It differs more from round to round than from contestant to contestant: see the brackets.",
	"handoff": "A channel's items lie closer together, since they carry no error: fewer cache lines pass from core to core. On one core, or with a larger buffer, Buffer is ahead.",
	"export-growth": "Each page is a statement of its own, to be planned and begun, and its rows are kept until the loop comes for them; the streamed SELECT begins once and forgets each row. " +
		"That is the price of holding no connection while the loop works, and of going on after a kill.",
	"export-postgres": "In one long stream the server works ahead of the client. A page begins only when the last row of the one before is decoded, so the two take turns for a part of the time. " +
		"psql, besides, gets finished CSV from the server and copies it to the file, in C; everything else here decodes each value in a Go driver.",
	"export-sqlite": "The client is C from the database to the file; everything else here goes through a Go driver and database/sql, which take the time. " +
		"The line \"times one streamed SELECT\" compares what shares them.",
}

const wholeSlice = "It is no stream: it takes all items as a slice, shares them out by a counter and gives all results at the end, so it hands nothing over. " +
	"Here every result is handed over when it is ready, and at most twice the workers are held; the row with Window(1024) shows what a larger window buys."

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
