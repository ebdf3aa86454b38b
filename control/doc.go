// Package control governs how calls are made and how streams flow: policies around
// a function, and stages that hold a stream up.
//
// # Policies
//
// A [Policy] governs one call; [Wrap] puts policies around a function, the first
// outermost, so that it fits [seq.MapConcurrent] and its like:
//
//	call := control.Wrap(fetch,
//		control.Retry{Pause: gate},
//		control.NewBreaker(control.BreakerConfig{Hold: true}),
//		control.Rate(control.NewPacer(1000)),
//		control.Timeout(3*time.Second))
//	for page, err := range seq.MapConcurrent(ctx, urls, 8, call) {
//
// [Timeout] bounds the time of a call, [Retry] makes it again, [Breaker] stops it
// where it would fail anyhow, [InFlight] and [Adaptive] bound how many run at once,
// [Rate] how many begin in a second, and [Gate] holds them up by hand. [WaitAtMost]
// bounds how long a call waits for its turn at one of these. Three more are
// functions around the function, since they deal with its items and results: [Hedge] makes
// up for slow calls, [Idempotent] makes a call once for each key, and [PerKey] gives each
// key, such as a host, policies of its own.
//
// What a policy costs a call that succeeds is some tens of nanoseconds, and Wrap two
// allocations for all of them, but for Timeout, which costs what [context.WithTimeout]
// does on top.
//
// # To wait is to stop the source
//
// A pipeline is pulled. So a retry that sleeps, an open breaker with Hold, a closed
// gate and a limiter without a token all do the same: they stop the pull, and with
// it the source. Nothing is dropped, no call is refused, and no connection is held.
// Where a call must not wait for an open breaker, leave Hold off and get [ErrOpen];
// where it must not wait for long, see [WaitAtMost].
//
// # To stop gracefully
//
// [Gate.Stop] ends a pipeline without an error: [Gated] and [Until] end its sources, and
// where the gate is in its context, by [Interruptible] for signals or by [WithGate], what has
// begun finishes and nothing new begins. No call, no try of a Retry, and no wait of a policy
// goes on beside those in flight, however much had been pulled. What was pulled and not begun
// comes out as an item error that Is [ErrStopped]: with a checkpoint, cursor.Track takes it
// for the end and the next run begins there; without one, it is the consumer's to put back
// or to report. Nothing is lost in silence.
//
//	gate := new(control.Gate)
//	ctx, stop := control.Interruptible(context.Background(), gate)
//	defer stop()
//
// A gate that is in no context stops the sources alone: everything that was pulled is
// worked on to the end, which may be as much as all windows hold.
//
// # Calls that are not made
//
// A call that a policy does not make says so: its error Is [ErrRefused]. That is no
// failure of the service, so no other policy takes it for one. Nor is it anybody's
// failure when a call's caller has left, while a call that a time limit has ended has
// failed, wherever the limit stands.
//
// # Rules
//
// Policies are safe for concurrent use, and may be shared by any number of functions
// and pipelines; that is how several of them keep one limit together. They start no
// goroutine and need no closing; only Hedge, and Idempotent where it renews a claim,
// have goroutines, which have ended when the call has.
//
// No policy makes a call under a context that has ended. When ctx ends, whatever
// waits returns the error of [seq.ContextError] at once, or one that Is it. A call
// that panics or leaves by [runtime.Goexit] does so through all policies, which count
// it as a failure and give back what it held. [seq.ErrSkip] is no failure.
//
// Callbacks such as OnRetry and OnChange run in the goroutine of one of the callers,
// without a lock held: they may call whatever they like, also of this package, and
// a panic in one surfaces there.
//
// All time is that of package time, so that everything can be tested in a bubble of
// testing/synctest. What waits there waits on the fake clock.
package control
