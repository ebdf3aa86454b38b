package seq

import "testing"

// A producer that has seen the lane rest may call as late as in the next rest, in which
// it then calls for nothing. The consumer, about to sleep, is told to look again: as the
// lane does not rest any more, what comes next would not wake it.
func TestLateCallEndsNoRestForGood(t *testing.T) {
	sleeper := makePlace()
	var l lane[int]
	l.init(2, &sleeper)
	if !l.rest() || l.called() {
		t.Fatal("with nothing to take, the lane does not rest")
	}
	l.call() // late: for a pair that has been taken, and before the consumer is announced
	if !l.called() {
		t.Error("the consumer goes to sleep, and nobody will call it")
	}
}
