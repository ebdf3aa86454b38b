package seqtest_test

import (
	"context"
	"iter"
	"math"
	"strings"
	"testing"

	"example.com/pipeline/seq"
	"example.com/pipeline/seq/seqtest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A row is an item with a field that is not exported, and values that == and
// reflect.DeepEqual take for different where they are not.
type row struct {
	ID    int
	Price float64
	Tags  []string
	check func()
	note  string
}

type rows = iter.Seq2[row, error]

func rowContract(stage func(in rows, p *seqtest.Probe[row]) rows, options ...cmp.Option) seqtest.Contract[row, row] {
	return seqtest.Contract[row, row]{
		Items: []row{
			{ID: 1, Price: math.NaN()}, {ID: 2, Tags: []string{"a"}}, {ID: 3, check: func() {}}, {ID: 4, note: "x"}, {ID: 5},
		},
		Stage:     func(_ context.Context, in rows, p *seqtest.Probe[row]) rows { return stage(in, p) },
		NoContext: true,
		Compare:   options,
	}
}

var looseRows = []cmp.Option{cmpopts.EquateNaNs(), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b func()) bool { return true })}

// TestCompare: what differs for reflect.DeepEqual is equal where the contract says so,
// in outputs, in the items that a callback gets and in those of its errors.
func TestCompare(t *testing.T) {
	copied := func(in rows, p *seqtest.Probe[row]) rows {
		return seq.Map(in, func(r row) (row, error) {
			if r.Tags == nil {
				r.Tags = []string{}
			}
			return r, p.Try(r)
		})
	}
	seqtest.Test(t, rowContract(copied, looseRows...))
	err := seqtest.Check(t, rowContract(copied))
	if got := brokenRules(err); len(got) != 1 || got[0] != seqtest.Result {
		t.Errorf("without options: rules broken: %v, want the result\n%v", got, err)
	}
}

// TestCompareShowsTheDifference: the sentence is followed by what differs, and a field
// that is not exported counts.
func TestCompareShowsTheDifference(t *testing.T) {
	changed := func(in rows, p *seqtest.Probe[row]) rows {
		return seq.Map(in, func(r row) (row, error) {
			if r.ID == 4 {
				r.note = "y"
			}
			return r, p.Try(r)
		})
	}
	err := seqtest.Check(t, rowContract(changed, looseRows...))
	if err == nil {
		t.Fatal("the change was not found")
	}
	sentence, diff, _ := strings.Cut(err.Error(), "\n")
	if !strings.Contains(sentence, "output 4 is") || !strings.HasSuffix(sentence, "-want +got:") {
		t.Errorf("the sentence is %q", sentence)
	}
	for _, line := range []string{"-", "+"} { // the form of a diff is not promised
		if !strings.Contains(diff, "\n"+line) {
			t.Errorf("no line begins with %s in\n%s", line, diff)
		}
	}
	if !strings.Contains(diff, "note") || strings.Contains(diff, "- \tID") {
		t.Errorf("the difference is\n%s", diff)
	}
	seqtest.Test(t, rowContract(changed, append(looseRows, cmpopts.IgnoreUnexported(row{}))...))
}
