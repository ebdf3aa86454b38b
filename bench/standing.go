package main

// A standing says how the first contestant of ours did in a column.
type standing struct {
	ours, best  *cell
	bestName    string
	againstBest float64 // times as fast as the best peer; 0 where there is none
	againstBase float64 // times as fast as the table's base; 0 where there is none
	againstTop  float64 // part of the limit's speed that is reached; 0 where there is none
}

// even is the part within which two medians of a run count as equal.
const even = 0.05

func (s standing) lost() bool { return s.againstBest > 0 && s.againstBest < 1-even }
func (s standing) won() bool  { return s.againstBest > 1+even }

// standing compares what there is in column j; ok is false where nothing can be.
func (r *result) standing(j int) (s standing, ok bool) {
	col := r.columns[j]
	if col.noRank {
		return s, false
	}
	better := func(a, b float64) bool { return (a < b) != col.higher }
	var top, base *cell
	for _, row := range r.rows {
		c := row.cells[j]
		if row.name == r.base {
			base = c
		}
		switch {
		case c == nil:
		case row.role == ours && s.ours == nil:
			s.ours = c
		case row.role == peer && (s.best == nil || better(c.median, s.best.median)):
			s.best, s.bestName = c, row.name
		case row.role == limit && (top == nil || better(c.median, top.median)):
			top = c
		}
	}
	if s.ours == nil {
		return s, false
	}
	faster := func(than *cell) float64 {
		switch {
		case than == nil || than.median == 0 || s.ours.median == 0:
			return 0
		case col.higher:
			return s.ours.median / than.median
		}
		return than.median / s.ours.median
	}
	s.againstBest, s.againstBase, s.againstTop = faster(s.best), faster(base), faster(top)
	return s, true
}
