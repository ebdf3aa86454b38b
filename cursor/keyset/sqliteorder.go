package keyset

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A view or a query of SQLite has no column of its own that values are compared as. The
// bound of a page goes into each leg of a UNION, where it takes that leg's affinity and
// collation, while ORDER BY compares what is stored, by the collation of one of them: rows
// of the other legs would be missed. A virtual table's values need not be of the type that
// it declares. In such a result the key stands without an affinity (the unary plus) and with
// its collation named, so that each comparison is that of the order. No index serves the
// bound then, so it is done only where the plan does not show that it makes no difference.

// sqliteArrange says how the columns of the key stand in statements.
func sqliteArrange(ctx context.Context, s *spec) error {
	if err := s.sqliteGuard(ctx); err != nil {
		return err
	}
	if s.layout != nil && !s.layout.info.view || len(s.key) == 0 {
		return nil
	}
	plan, err := s.sqlitePlan(ctx)
	if err != nil || isSimple(plan) {
		return err
	}
	if legs := flatLegs(plan); legs > 0 {
		same, err := s.sqliteComparesAlike(ctx, legs)
		if same || err != nil {
			return err
		}
	}
	collations, err := s.sqliteCollations(ctx)
	if err != nil {
		return err
	}
	for i, k := range s.keyColumns {
		name := "BINARY" // any will do, since the order is by it, too
		if collations != nil {
			name = collations[i]
		}
		s.keyColumns[i] = "+(" + k + ") COLLATE " + sqliteQuote(name)
	}
	return nil
}

// A planStep is a line of EXPLAIN QUERY PLAN.
type planStep struct {
	parent int
	detail string
}

func (s *spec) sqlitePlan(ctx context.Context) (plan []planStep, err error) {
	err = queryEach(ctx, s.db, func(rows *sql.Rows) error {
		var id, unused int
		var step planStep
		err := rows.Scan(&id, &step.parent, &unused, &step.detail)
		plan = append(plan, step)
		return err
	}, "EXPLAIN QUERY PLAN "+s.source(strings.Join(s.qualifiedKey(), ", "))+s.condition(), s.args...)
	return plan, err
}

// reads reports whether a step reads a real table, or what another step has made.
func (p planStep) reads() bool {
	return (strings.HasPrefix(p.detail, "SCAN ") || strings.HasPrefix(p.detail, "SEARCH ")) &&
		!strings.Contains(p.detail, " VIRTUAL TABLE INDEX ") && !strings.HasSuffix(p.detail, "-ROW VALUES CLAUSE") &&
		!strings.HasSuffix(p.detail, " CONSTANT ROW") && !strings.HasSuffix(p.detail, " CONSTANT ROWS")
}

// plainSteps are how steps begin that make no column of several expressions.
var plainSteps = []string{"USE TEMP B-TREE", "CO-ROUTINE", "MATERIALIZE", "SCALAR SUBQUERY", "CORRELATED SCALAR SUBQUERY",
	"LIST SUBQUERY", "CORRELATED LIST SUBQUERY", "EXECUTE ", "REUSE ", "RIGHT-JOIN ", "CREATE BLOOM FILTER", "BLOOM FILTER ON", "MULTI-INDEX OR", "INDEX ", "USING "}

// isSimple reports whether all values of a column come from one expression on real tables.
// They are of its affinity then, and comparing changes none.
func isSimple(plan []planStep) bool {
	return !slices.ContainsFunc(plan, func(p planStep) bool {
		return !p.reads() && !slices.ContainsFunc(plainSteps, func(s string) bool { return strings.HasPrefix(p.detail, s) })
	})
}

// flatLegs returns of how many legs a result is that the planner reads as so many
// statements, each of which is simple; 0 of any other.
func flatLegs(plan []planStep) int {
	legs := 0
	for i, p := range plan {
		switch {
		case i == 0 && p.parent == 0 && p.detail == "COMPOUND QUERY":
		case i > 0 && p.parent != 0 && (p.detail == "LEFT-MOST SUBQUERY" || p.detail == "UNION ALL"):
			legs++
		case p.parent == 0 || !p.reads():
			return 0
		}
	}
	return legs
}

// An instruction is a line of EXPLAIN.
type instruction struct {
	op         string
	p1, p2, p3 int64
	p4         string
	p5         int64
}

// sqliteProgram returns the program of a statement. It is not run. The parts that are looked at
// are as they have been for all versions that this package is for; where they were not
// found, only the plain and slow way would be left.
func (s *spec) sqliteProgram(ctx context.Context, text string) (program []instruction, err error) {
	err = queryEach(ctx, s.db, func(rows *sql.Rows) error {
		var at int
		var x instruction
		var p4, comment sql.NullString
		err := rows.Scan(&at, &x.op, &x.p1, &x.p2, &x.p3, &p4, &x.p5, &comment)
		x.p4 = p4.String
		program = append(program, x)
		return err
	}, "EXPLAIN "+text, s.args...)
	return program, err
}

// sqliteMarkOf returns a text that is found again in a program.
func sqliteMarkOf(i int) string { return "the key of a page, column " + strconv.Itoa(i+1) }

// affinityMask is SQLITE_AFF_MASK: what a comparison's last operand has of the affinity.
const affinityMask = 0x47

// sqliteComparesAlike reports whether each leg compares each column of the key by the same
// affinity and collation.
func (s *spec) sqliteComparesAlike(ctx context.Context, legs int) (bool, error) {
	columns := s.qualifiedKey()
	list := make([]string, len(columns))
	for i, k := range columns {
		list[i] = fmt.Sprintf("(%s) > '%s'", k, sqliteMarkOf(i))
	}
	program, err := s.sqliteProgram(ctx, s.source(strings.Join(list, ", "))+s.condition())
	if err != nil {
		return false, err
	}
	marks := map[int64]string{} // by register
	for _, x := range program {
		if x.op == "String8" {
			marks[x.p2] = x.p4
		}
	}
	for i := range columns {
		mark := sqliteMarkOf(i)
		var ways []string
		for _, x := range program {
			switch x.op {
			case "Gt", "Ge", "Lt", "Le":
				if marks[x.p1] == mark || marks[x.p3] == mark {
					ways = append(ways, fmt.Sprint(x.p5&affinityMask, " ", x.p4))
				}
			}
		}
		if len(ways) != legs || slices.ContainsFunc(ways, func(w string) bool { return w != ways[0] }) {
			return false, nil
		}
	}
	return true, nil
}

// sqliteCollations returns the names of the collations by which ORDER BY compares the key,
// nil where the program does not tell. It has them in the sorter: "k(2,N.NOCASE,N.B)",
// where B is BINARY, and N. is for NULLS LAST, by which it is told from other sorters.
func (s *spec) sqliteCollations(ctx context.Context) ([]string, error) {
	columns := s.qualifiedKey()
	list := make([]string, len(columns))
	for i, k := range columns {
		list[i] = "+(" + k + ") NULLS LAST" // the plus keeps it from an index, which has no sorter
	}
	program, err := s.sqliteProgram(ctx, s.source("1")+s.condition()+" ORDER BY "+strings.Join(list, ", "))
	if err != nil {
		return nil, err
	}
	slices.Reverse(program) // those of subqueries come first
	for _, x := range program {
		text, ok := strings.CutPrefix(x.p4, fmt.Sprintf("k(%d,", len(columns)))
		if x.op != "SorterOpen" && x.op != "OpenEphemeral" || !ok {
			continue
		}
		names := strings.Split(strings.TrimSuffix(text, ")"), ",")
		for i, name := range names {
			name, marked := strings.CutPrefix(name, "N.")
			if ok = ok && marked; name == "B" {
				name = "BINARY"
			}
			names[i] = name
		}
		if ok && len(names) == len(columns) {
			return names, nil
		}
	}
	return nil, nil
}

// sqliteIdentify returns the declared type of each column of the key, and its collation.
func sqliteIdentify(ctx context.Context, s *spec) ([]string, error) {
	columns := s.qualifiedKey()
	types, err := s.columnTypes(ctx, strings.Join(columns, ", "))
	if err != nil {
		return nil, err
	}
	collations, err := s.sqliteCollations(ctx)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(columns))
	for i, t := range types {
		if texts[i] = t.DatabaseTypeName(); collations != nil {
			texts[i] = strings.TrimSpace(texts[i] + " " + collations[i])
		}
	}
	return texts, nil
}
