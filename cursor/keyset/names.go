package keyset

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A tableName names a table in the catalog and in statements.
type tableName struct {
	schema, name string // as the catalog has them; "" is the schema in use
	text         string // as a statement has it
	alias        string // what qualifies the table's columns in a statement
	renamed      bool   // the alias is another name than the table's
}

const (
	quotedIdent = `(?:"(?:[^"]|"")+"|` + "`(?:[^`]|``)+`" + `)`
	identifier  = `(?:[\pL_][\pL\pN_$]*|` + quotedIdent + `|\[[^\]]+\])`
)

// The patterns of names.
var (
	plainName = pattern(`^\s*` + identifier + `\s*$`)
	nameParts = pattern(identifier)
	oneTable  = pattern(`^\s*(` + identifier + `(?:\.` + identifier + `)?)(?:\s+(?:(?i:AS)\s+)?(` + identifier + `))?\s*$`)
	direction = pattern(`(?is)^(.*\S)\s+(ASC|DESC)\s*$`)
	qualified = pattern(`^\s*` + identifier + `(?:\.` + identifier + `)*\s*$`)
)

// pattern returns an expression that is compiled when it is needed first: together they take
// milliseconds, which a program that never reads a table need not spend.
func pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// parseFrom reports whether From is one table, with an alias or without, and
// takes it apart.
func parseFrom(d *dialect, from string) (tableName, bool) {
	m := oneTable().FindStringSubmatch(from)
	if m == nil || reserved(m[1]) || reserved(m[2]) {
		return tableName{}, false
	}
	parts := nameParts().FindAllString(m[1], -1)
	last := parts[len(parts)-1]
	t := tableName{name: d.ident(last), text: m[1], alias: m[2]}
	if len(parts) == 2 {
		t.schema = d.ident(parts[0])
	}
	if t.alias == "" {
		t.alias = last
	} else {
		t.renamed = true
	}
	return t, true
}

// reserved reports whether a word in From is no name.
func reserved(word string) bool {
	switch strings.ToUpper(word) {
	case "ONLY", "LATERAL", "AS", "TABLESAMPLE", "VALUES":
		return true
	}
	return false
}

// parseColumn returns the name of a key column, without what qualifies it; false
// for an expression.
func parseColumn(d *dialect, key string) (string, bool) {
	if !qualified().MatchString(key) {
		return "", false
	}
	parts := nameParts().FindAllString(key, -1)
	return d.ident(parts[len(parts)-1]), true
}

// splitDirection takes the direction from a key column: "b DESC" is b, which goes down.
func splitDirection(key string) (column string, down bool) {
	if m := direction().FindStringSubmatch(key); m != nil {
		return m[1], strings.EqualFold(m[2], "DESC")
	}
	return key, false
}

// normalDirections returns directions that say the same, where the first column goes up
// unless desc is set.
func normalDirections(down []bool, desc bool) ([]bool, bool) {
	if len(down) == 0 { // there is no key
		return nil, desc
	}
	return relative(down), desc != down[0]
}

// unquote returns the name that an identifier stands for.
func unquote(ident string) string {
	ident = strings.TrimSpace(ident)
	if len(ident) < 2 {
		return ident
	}
	inner := ident[1 : len(ident)-1]
	switch q := ident[:1]; q {
	case `"`, "`":
		return strings.ReplaceAll(inner, q+q, q)
	case "[":
		return inner
	}
	return ident
}

var quotedName = pattern(`^(` + quotedIdent + `)(?:\.(` + quotedIdent + `))?$`)

// quotedParts returns the parts of a name that has quotes around each of them, nil of any
// other name.
func quotedParts(name string) []string {
	m := quotedName().FindStringSubmatch(name)
	switch {
	case m == nil:
		return nil
	case m[2] == "":
		return []string{unquote(m[1])}
	}
	return []string{unquote(m[1]), unquote(m[2])}
}

// errNoTable is a dialect's answer where the catalog has no such table.
var errNoTable = errors.New("no such table")

// errTemporary is the answer where the catalog tells of another table than is read.
var errTemporary = errors.New("it is a TEMPORARY table, of which the catalog does not tell; read it with OpenQuery")

// near returns the names that are most like a name, for an error message.
func near(name string, names []string) string {
	const most = 5
	if len(names) == 0 {
		return "there are none"
	}
	names = slices.Clone(names)
	name = strings.ToLower(name)
	slices.SortStableFunc(names, func(a, b string) int {
		return distance(name, strings.ToLower(a)) - distance(name, strings.ToLower(b))
	})
	if len(names) > most {
		return "the nearest are " + strings.Join(names[:most], ", ") + ", …"
	}
	return "there are " + strings.Join(names, ", ")
}

// distance is the edit distance of Levenshtein (1965), by bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
