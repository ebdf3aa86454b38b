// Package seq has the sources, transforms, concurrent stages and sinks of
// pull-based pipelines.
//
// A stream is an iter.Seq2[T, error], nothing else: ranging over it runs the
// pipeline, and leaving the loop ends it.
//
//	urls := seq.Lines(file)
//	pages := seq.MapConcurrent(ctx, urls, 8, fetch)
//	for page, err := range pages {
//		if err != nil {
//			return err
//		}
//		…
//	}
//
// # Terms
//
// An item is a pair (v, nil) of a stream. Beside an error the value is zero and is
// not used.
//
// An item error is about one item: the stream goes on after it, if the consumer
// goes on. It is an error whose chain of single Unwraps holds an [*ItemError]; see
// [IsItemError]. Stages make one of each error that a callback returns, and
// [FailedItem] gets the item back.
//
// A final error is any other: nothing follows it. An error that joins several is
// final, whatever it joins.
//
// The consumer is the loop's body, or the next stage in its place. The source is
// the stream that a stage is built on.
//
// Read-ahead is how many items a stage may have pulled that its consumer has not
// got. A window is a read-ahead that can be chosen, see [Window].
//
// # The stream contract
//
// Every stream and stage of this library keeps these rules, and relies on its
// source to keep them. Package seqtest checks them for a stage of your own.
//
//  1. A pair is an item or an error, never both.
//
//  2. Item errors and final errors pass through a stage in position and untouched.
//     The consumer decides: return ends everything, continue goes on. Where order is
//     given up, by [MapUnordered] or between the branches of a fan, an item error
//     may overtake items; what is ready is not overtaken without bound. The final
//     error of a source waits until all that was pulled before it has been yielded.
//     Where several streams come together, a final error of one ends the whole.
//
//  3. A pipeline is lazy: building one does nothing. Nothing is pulled and no
//     goroutine runs before the loop begins.
//
//  4. Read-ahead is bounded, and each stage says by how much. A synchronous stage
//     holds nothing: [Take] of n pulls n items and not one more.
//
//  5. When the loop statement has ended, by exhaustion, break, return, a panic or
//     [runtime.Goexit], everything that the stage started has ended. The stage first
//     cancels the context that it gave to callbacks, then waits. What is deferred
//     around the loop, file.Close or tx.Rollback, is therefore safe, and so are
//     variables that callbacks share. A source that is blocked is waited for; build
//     one that may block for long inside [Scope], whose context ends with the loop.
//     While a panic or Goexit unwinds the stack, a stage ends the Scopes around it
//     before it waits: the panic reaches them only after it has passed the stage.
//     What the standard library runs for a context type of somebody else is not ours.
//
//  6. A panic of a callback arrives in the goroutine that runs the loop, after all
//     the others have been cancelled and have ended. One that happened in this
//     goroutine arrives as itself, one from another goroutine as a [*PanicError] with
//     its stack, never wrapped twice. Goexit in a callback likewise ends the loop's
//     goroutine. Neither covers up a panic or Goexit of the loop's body. Items that
//     were pulled and whose callback had not begun are dropped.
//
//  7. A stage that can wait takes a context. When that ends, the stream yields one
//     final error at once and ends; it never ends silently. That error Is ctx.Err() and
//     Is [context.Cause] of ctx, and never an item error. Items still held are dropped,
//     and so are the errors of interrupted callbacks. A source that does not look at
//     the context is waited for when the loop ends, not before the error is yielded.
//
//  8. A result is handed over as soon as it and those before it are ready, even
//     while the source is idle.
//
//  9. No state stays between two loops: a stream can be ranged again, also twice at
//     once, exactly when its source can.
//
//  10. yield is never called from two goroutines at once, nor after it returned
//     false.
//
//  11. Misuse panics when the stage is built and says how: "seq.MapConcurrent: n must
//     be at least 1, got 0". So do nil streams, stages and callbacks, and a fan
//     without branches. A route out of range panics in the loop. A number or duration
//     that is accepted works, however large: time saturates, and memory follows what
//     is in flight, not what is allowed.
//
//  12. Time is only that of package time, and no lock is held while anything of the
//     user's runs: a source, a callback, or a method of an error, key, value or
//     context. So any pipeline can be tested in a [testing/synctest] bubble. A context
//     used there must be made there.
//
//  13. A context can stop a pipeline gracefully, see [WithStop]: what has begun finishes
//     and is yielded, and nothing new begins. A stage that calls something of the
//     user's under that context asks before each call. An item that was pulled and not
//     begun comes out as an [*ItemError] that Is [ErrStopped], in its position where
//     order is kept. Whoever keeps a position does not go past such an error: this item
//     and all behind it are read again by the next run. Where there is no position
//     to read from, the error holds the item, and it is the consumer's to put back or to
//     give up: none is lost in silence. A consumer that leaves meanwhile does not cut
//     off what has begun; the end of ctx does.
//
// The doc comment of each stage classifies it in four lines: when it Ends, what it
// Owns while the loop runs, how far it Reads ahead, and its Reuse in a second loop.
//
// A callback drops an item by returning [ErrSkip]; that is no failure. This holds
// for every callback that returns an error, in stages and in sinks.
//
// # Which stage to choose
//
// One item to one: [Map]; to none or one: [Filter], or Map with ErrSkip; to many:
// [FlatMap], or [Flatten] where they are a slice already. Where the function waits
// for something, or works for more than a microsecond: [MapConcurrent], which
// keeps the order, or [MapUnordered], where nobody waits for a slow item; [MapKeyed]
// where items of the same key must not run side by side. [FlatMapConcurrent] and
// [FlatMapUnordered] are FlatMap with several sub-streams at a time, and
// [ForEachConcurrent] is the end of a pipeline that has no results.
//
// A part of the stream: [Take] and [Skip] by number, [TakeWhile] and [SkipWhile] by a
// condition. What has come so far: [Scan].
//
// To let the source work while the consumer does: [Buffer]. To stop waiting for a
// source: [Pull]. To bind a source's life to the loop: [Scope].
//
// Several streams into one: [Concat] one after the other, [MergeSorted] in the
// order of the items, [Merge] as they come, [Zip] in pairs. One stream into several
// and back: [Branch] where each item has one way to go, [Broadcast] where it goes
// all ways, [Fork] where it goes to whichever lane is free.
//
// To retry or replace what failed: [Catch]. To log or count: [Tap]. To stop gracefully:
// [WithStop], or package control's Gate, which makes use of it.
//
// [Collect] and the other sinks stop at the first error of either kind;
// [CollectAll] goes past item errors. A for loop is as good a sink as any.
//
// # Stages of your own
//
// A [Stage] is a function from one stream to another, and most need nothing from this
// package. This one passes every second item on:
//
//	func alternate[T any](in iter.Seq2[T, error]) iter.Seq2[T, error] {
//		return func(yield func(T, error) bool) {
//			odd := false // here, not outside: each loop has its own
//			for v, err := range in {
//				if err == nil {
//					if odd = !odd; !odd {
//						continue
//					}
//				}
//				if !yield(v, err) {
//					return
//				}
//			}
//		}
//	}
//
// Where such a stage has to tell the two kinds of error apart it asks
// [IsItemError], and where it reports a callback's failure it yields an
// [*ItemError].
//
// A stage that waits yields [ContextError] when its context has ended, which finds
// the cause, too. One that calls for each item something that takes long asks
// [Stopped] before, and yields an ItemError of the item and that error. A stage that needs a goroutine starts it with [Go], inside the loop:
//
//	work, cancel := context.WithCancel(ctx)
//	task := seq.Go(ctx, func() { … })
//	defer task.Join()
//	defer cancel() // runs before Join
//
// [Task.Join] passes a panic of the goroutine on and covers up none that is on its way,
// and where one is it ends the [Scope] that the goroutine may be waiting for. So join by
// it and not by a WaitGroup or a channel, which know of no Scope. The example of Go is
// such a stage.
package seq
