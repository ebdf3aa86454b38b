// Package riverjob spreads work on the rows of a table over many machines. It cuts a
// [keyset.Query], a [keyset.Table] or any [Source] into ranges, and has River
// (github.com/riverqueue/river), a job queue on PostgreSQL, hand them out. The rows may
// be in any database; River and the checkpoints are in PostgreSQL.
//
//	store := riverjob.New(pool)
//	orders := riverjob.Job[Order, int64]{
//		Name:   "orders",
//		Source: riverjob.FromQuery(query),
//		Work: func(ctx context.Context, s *riverjob.Slice[Order, int64]) error {
//			for o, err := range s.Tracked(ctx) {
//				if err != nil {
//					return err
//				}
//				… // write to s.Part, make a call, …
//			}
//			return nil
//		},
//	}
//
//	planned, err := orders.Plan(ctx, store, client, 64, nil) // in one process, or in all
//
//	worker := riverjob.NewWorker(store, riverjob.Config{}, orders) // in each that works
//	river.AddWorker(workers, worker)
//
// A range is a River job, whose arguments are only the job's name and the range's
// number. Each attempt works on a slice of it, 30 s by default, from the range's last
// commit on, and gives the range back, so that all ranges get on and no attempt is long.
// Who is killed costs what was done since the last commit, at most a slice of each range
// that it was at. Errors are River's to try again. River's UI shows the ranges as jobs, with
// their errors, and in their metadata which range and how many rows; [Store.Status] adds
// them up.
//
// # Who has a range
//
// River's state of a job says who should work on it, and can be wrong: a job that is
// rescued while its worker is only slow runs twice. So River does not decide. Who works
// has the lease of the range's checkpoint ([sqlstore]), by the database's clock, and
// each commit is refused where another worker has taken it ([cursor.ErrFenced]).
//
// What a worker does besides commits cannot be refused afterwards. So before it hands
// over an item or writes to its part, and has not heard from the database for a third of
// the lease, it asks: a worker that was suspended past its lease does nothing more. Only
// one that is suspended right between the question and the deed still does that deed.
//
// # Who owns a range's output
//
// Nothing that two workers may both have in hand is ever written to.
//
// In a folder or an object store ([Job.Sink]) each slice writes an object of its own,
// under a name drawn at random, which nobody else writes, renames or takes over. Which
// objects make up the part, and how many bytes of each count, is saved with the position
// in the range's record, by the fenced commit. So what holds is this:
//
//   - A folder that machines share, over NFS or another network file system: who lost
//     the range may go on writing to its own file, behind what counts or to a file
//     that no record names. It cannot reach its successor's. There is no flock, which
//     such systems honour or not, and no rename. What is needed is that a file made
//     anew fails where there is one (O_EXCL), and that what was fsynced and closed on one
//     machine can be read on another.
//   - An object store: each commit ends an upload, which is whole or not there. A late
//     upload of a worker that lost the range makes an object that no record names. A
//     store that can refuse to overwrite (If-None-Match: *) shows that a name was never
//     taken, but nothing depends on it.
//   - A table: use [cursor.Checkpoint.CommitTx] with [Store.DB], in the transaction that
//     writes the rows. It is refused, and the rows with it, where the range was lost. That
//     needs the rows in this PostgreSQL; elsewhere writes must bear repetition, such as
//     an upsert.
//   - Calls to elsewhere are made at least once. Give them a key of the row's
//     (control.Idempotent, with [Store.Checkpoints] as its store).
//
// When a range is finished, its objects are copied into one, under a name that is as
// new, whose name the last commit saves; then the old ones are removed. Readers take
// the names from [Store.Parts], never from a listing: there may be more in the folder,
// until [Store.Sweep] removes what no record names.
//
// [cursor.File] is no output for many machines: it is one file for whoever comes, and
// relies on flock.
//
// # To end and to be killed
//
// On SIGTERM call [Worker.Stop], then River's Stop: each slice ends after the item in
// hand, commits, and its range is free for others at once. River's StopAndCancel, and a
// ctx of its Start that ends, cancel the slices: Track commits what was consumed then,
// too.
//
// A range of a worker that was killed is taken when its lease has run out, 30 s by
// default, and River's job is free again: [Worker.RescueEvery] sees to that. Without it River
// waits for RescueStuckJobsAfter, an hour by default.
//
// Each error counts as an attempt over the range's whole life, so give
// river.InsertOpts.MaxAttempts some room for jobs that run for days, and [Store.Requeue]
// brings back what was discarded. That a slice ends, that a worker stops, or is killed
// after it has committed something, counts as none.
//
// # How it grows
//
// What the database is asked, measured on PostgreSQL 15 with River 0.51 on two cores that
// others shared, without fsync. The time is the server's for the statements; the bytes
// are those of the write-ahead log, full pages after a checkpoint among them.
//
//	                        statements      time       WAL
//	slice                   8               0.23 ms    0.4 KB
//	slice, River's part     2, shared       0.40 ms    2.1 KB
//	commit                  1               0.10 ms    0.5 KB
//	row                     1 a page        3 µs       none
//	Status, 20 ranges       2               0.31 ms    none
//	plan, a range           1 of the walk   -          1.1 KB
//
// The statements of a slice look for the range, make its row where there is none, take
// the lease, ask for its name, begin an epoch, read the record, note the progress, and
// give the lease back. The database that the rows are in is asked how the key is sorted and
// what the names in the query stand for, with eight more. Three of the eight update the range's row, of some hundred bytes in a
// table whose only index is its key; each waits for an fsync, which those of others
// share. While a slice lasts the lease is renewed each third of it, one statement
// more every 10 s. River fetches and ends its jobs many at a time. Besides, each process
// calls Rescue every 10 s and lets River look for jobs once a second. A plan counts the
// rows twice and walks along the key, which reads the key's index three times.
//
// With the defaults, slices of 30 s and a commit every 5 s, a range that is being worked
// on takes (0.23 + 0.40)/30 + 0.10/5 + 0.10/10 = 0.05 ms of the server's time a second, 0.6
// statements, 0.4 writes that wait for the disk, and 0.2 KB of WAL. A tenth of a core
// carries 2,000 ranges at once by that. What ends first are connections: a range takes up to
// two at a time where the rows are in the same database, and each process three for
// River, so that the 100 that PostgreSQL allows by default are enough for 36 ranges at
// once, in 6 processes with 6 each. Beyond that raise max_connections, or read the
// rows through a pooler.
//
// In rows: a core of PostgreSQL reads about 300,000 short rows a second for this. Where the
// rows come from the same server that is the limit, and not the bookkeeping: 8 processes
// with 16 ranges at once exported 220,000 to 490,000 rows a second into files while one of
// them was killed every second, with the server, the workers and others' work on the same
// two cores. Where each row waits for a call elsewhere workers add up: with 1 ms a
// call and 16 in flight, one made 12,800 rows a second and two made 25,100, 1.96 times as
// many.
//
// Ranges should be few enough that each lasts for some slices, and many enough that the
// last ones do not keep few workers busy: some ten for each that is worked on at once.
package riverjob
