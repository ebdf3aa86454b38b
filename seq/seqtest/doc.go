// Package seqtest checks a stage of your own against the contract of streams
// that package seq states. It is to streams what testing/fstest is to file
// systems: one call, and every rule is tried.
//
//	func TestEven(t *testing.T) {
//		seqtest.Test(t, seqtest.Contract[int, int]{
//			Stage: func(_ context.Context, in iter.Seq2[int, error], _ *seqtest.Probe[int]) iter.Seq2[int, error] {
//				return Even(in)
//			},
//			Want: func(items []int, _ seqtest.Then) []int {
//				return slices.DeleteFunc(slices.Clone(items), func(x int) bool { return x%2 != 0 })
//			},
//			NoContext: true,
//		})
//	}
//
// The [Contract] says what the stage promises. The checks then run it over
// sources that idle, fail, panic, leave their goroutine or block, under loops
// that break, panic, leave, stop in the middle or run two at a time, with contexts
// that end, and inside a Scope that a panic leaves; each broken rule is reported in
// one sentence.
//
// # How it works
//
// Each check runs in a testing/synctest bubble of its own. The source, the
// callbacks and the loop's body are puppets: the check moves one of them, waits
// until every goroutine of the bubble is blocked, and looks at what has come of
// it. No verdict depends on how fast the machine is, and nothing sleeps on the
// real clock. The clock of the bubble stands still unless [Contract.Delay] is
// set.
//
// A stage that hangs or leaves a goroutine behind is a sentence, too, not a
// crash; the goroutine stays until the test binary ends. So is a stage that no
// bubble can follow, because it holds a mutex while its source or a callback
// runs, or waits for something outside of the bubble: the check gives it up
// after a while. There is one exception. A panic in a goroutine of the stage's
// own that nobody recovers ends the test binary, as it would end the program.
// The value of that panic says so and names the rule.
package seqtest
