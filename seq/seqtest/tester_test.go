package seqtest

import (
	"context"
	"iter"
	"strings"
	"testing"

	"example.com/pipeline/seq"
)

// TestReadAheadBehindCallback runs one check alone: a stage that it catches reads
// too far ahead of the body as well, and is caught for that first.
func TestReadAheadBehindCallback(t *testing.T) {
	for said, broken := range map[int]bool{4: false, 3: true} {
		ts := newTester(t, Contract[int, int]{
			ReadAhead: said,
			Stage: func(ctx context.Context, in iter.Seq2[int, error], p *Probe[int]) iter.Seq2[int, error] {
				return seq.MapConcurrent(ctx, in, 2, func(ctx context.Context, x int) (int, error) { return x, p.TryContext(ctx, x) })
			},
		})
		ts.checkPlain()
		ts.checkReadAheadBehindCallback()
		if err := ts.found[ReadAhead]; (err != nil) != broken || broken && !strings.Contains(err.Error(), "4 pairs were pulled, want at most 3") {
			t.Errorf("with 4 read ahead where the contract says %d: %v, want an error: %v", said, err, broken)
		}
	}
}
