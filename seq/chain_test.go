package seq_test

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"

	"example.com/pipeline/seq"
)

// FuzzChain decodes its input into a script of items and errors, a chain of
// stages and a way to leave the loop, and compares what the chain yields and how
// far it pulls with a model over plain slices. A stage joins by a line in steps.
func FuzzChain(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		program := make([]byte, 8+rnd.IntN(40))
		for i := range program {
			program[i] = byte(rnd.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) { decode(program).check(t) })
}

// A pair is what a stream yields.
type pair struct {
	v   int
	err error
}

// String tells apart all that the contract does: the item, or the kind of the
// error and its text. Errors of the script have a text of their own each.
func (p pair) String() string {
	switch {
	case p.err == nil:
		return fmt.Sprint(p.v)
	case seq.IsItemError(p.err):
		return "item error: " + p.err.Error()
	}
	return "final error: " + p.err.Error()
}

// A script is what a source yields.
type script []pair

// stream yields the script and counts in pulled. A rude one goes on after a final
// error and calls yield again after it returned false.
func (s script) stream(pulled *int, rude bool) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for _, p := range s {
			if pulled != nil {
				*pulled++
			}
			if !yield(p.v, p.err) && !rude {
				return
			}
			if p.err != nil && !seq.IsItemError(p.err) && !rude {
				return
			}
		}
	}
}

// A chainCase is a decoded program.
type chainCase struct {
	source script
	steps  []step
	args   []int
	leave  int  // pairs after which the consumer leaves
	panics bool // by a panic, not by returning false
	rude   bool // the source goes on when it must not
}

func decode(program []byte) chainCase {
	next := func() int {
		if len(program) == 0 {
			return 0
		}
		b := program[0]
		program = program[1:]
		return int(b)
	}
	c := chainCase{leave: next() % 40}
	flags := next()
	c.panics, c.rude = flags&1 != 0, flags&6 == 6
	for range next() % 8 {
		c.steps = append(c.steps, steps[next()%len(steps)])
		c.args = append(c.args, next())
	}
	for i := 0; len(program) > 0; i++ {
		v, kind := next(), next()
		p := pair{v: v}
		switch kind % 16 {
		case 0:
			p = pair{-1, &seq.ItemError{Item: v, Err: fmt.Errorf("item %d", i)}}
		case 1:
			p = pair{-1, fmt.Errorf("wrapped: %w", &seq.ItemError{Item: v, Err: fmt.Errorf("item %d", i)})}
		case 2:
			p = pair{-1, fmt.Errorf("end %d", i)}
		case 3:
			p = pair{-1, errors.Join(&seq.ItemError{Item: v, Err: fmt.Errorf("joined %d", i)})}
		}
		c.source = append(c.source, p)
	}
	return c
}

func (c chainCase) String() string {
	s := fmt.Sprintf("source %v, rude %v", c.source, c.rude)
	for i, step := range c.steps {
		s += fmt.Sprintf(" | %s(%d)", step.name, c.args[i])
	}
	return s + fmt.Sprintf(", leave after %d, by panic %v", c.leave, c.panics)
}

func (c chainCase) build(pulled *int) iter.Seq2[int, error] {
	s := c.source.stream(pulled, c.rude)
	for i, step := range c.steps {
		s = step.stage(s, c.args[i])
	}
	return s
}

func (c chainCase) model(source []pair) []pair {
	out := untilFinal(source)
	for i, step := range c.steps {
		out = step.model(out, c.args[i])
	}
	return out
}

func (c chainCase) check(t *testing.T) {
	if len(c.steps) == 0 {
		c.rude = false // nothing stands between the bare source and the consumer
	}
	pulled := 0
	stream := c.build(&pulled)
	if pulled != 0 {
		t.Fatalf("%v: pulled %d before the loop", c, pulled)
	}
	want := c.model(c.source)
	left := len(want) > c.leave
	if left {
		want = want[:c.leave+1]
	}
	for range 2 { // the second loop must not differ
		pulled = 0
		got := c.consume(t, stream)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			wantSame(t, c.String(), texts(got), texts(want))
			t.FailNow()
		}
		if exact := c.pulls(len(want)); left && !c.rude && exact >= 0 && pulled != exact {
			t.Fatalf("%v: pulled %d for %v, need %d", c, pulled, got, exact)
		}
	}
}

// texts are what the pairs are told apart by.
func texts(pairs []pair) []string {
	list := make([]string, len(pairs))
	for i, p := range pairs {
		list[i] = p.String()
	}
	return list
}

// pulls returns how much of the source the first n pairs need, or -1 where a step
// may read ahead.
func (c chainCase) pulls(n int) int {
	for _, step := range c.steps {
		if step.ahead {
			return -1
		}
	}
	p := 0
	for len(c.model(c.source[:p])) < n {
		p++
	}
	return p
}

// consume calls the stream with a yield that leaves as c says, and checks that it is
// never called after that.
func (c chainCase) consume(t *testing.T, stream iter.Seq2[int, error]) (got []pair) {
	left := false
	defer func() {
		if v := recover(); v != nil && v != errCallback {
			panic(v)
		} else if v == nil && left && c.panics {
			t.Errorf("%v: the body's panic was lost", c)
		}
	}()
	stream(func(v int, err error) bool {
		if left {
			t.Errorf("%v: yield was called after the consumer had left", c)
			return false
		}
		got = append(got, pair{v, err})
		if left = len(got) > c.leave; left && c.panics {
			panic(errCallback)
		}
		return !left
	})
	return got
}
